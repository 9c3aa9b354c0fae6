import { assertEquals } from "@std/assert";
import { History, HISTORY_LIMIT } from "../../src/hmp/history.ts";

function historyOf(...lines: string[]): History {
  const history = new History();
  for (const line of lines) history.add(line);
  return history;
}

Deno.test("going up shows lines from the newest to the oldest, and stays there", () => {
  const history = historyOf("a", "b");
  assertEquals([history.previous(""), history.previous("b"), history.previous("a")], ["b", "a", undefined]);
});

Deno.test("going down ends at what was being written", () => {
  const history = historyOf("a", "b");
  history.previous("draft");
  history.previous("b");
  assertEquals([history.next(), history.next(), history.next()], ["b", "draft", undefined]);
});

Deno.test("a line that is entered again moves to the end", () => {
  assertEquals(historyOf("a", "b", "a").lines, ["b", "a"]);
});

Deno.test("an empty line is not kept", () => {
  assertEquals(historyOf("a", "").lines, ["a"]);
});

Deno.test("beyond the limit, the oldest lines go", () => {
  const { lines } = historyOf(...Array.from({ length: HISTORY_LIMIT + 10 }, (_, i) => `line ${i}`));
  assertEquals([lines.length, lines[0], lines.at(-1)], [64, "line 10", "line 73"]);
});

Deno.test("an entered line begins at the end again", () => {
  const history = historyOf("a", "b");
  history.previous("");
  history.previous("");
  history.add("c");
  assertEquals([history.next(), history.previous("")], [undefined, "c"]);
});
