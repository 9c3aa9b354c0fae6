import { assertEquals } from "@std/assert";
import { complete } from "../../src/hmp/completion.ts";

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "": ["cont", "info", "stop", "system_powerdown", "system_reset"],
  "info": ["kvm", "name"],
};

const tab = (before: string) => complete(before, (words) => NAMES[words.join(" ")] ?? []);

Deno.test("the beginning of one name becomes that name and a space", () => {
  assertEquals(tab("st"), { insert: "op ", choices: [] });
});

Deno.test("the beginning of several becomes what they have in common", () => {
  assertEquals(tab("sy"), { insert: "stem_", choices: [] });
});

Deno.test("where they have no more in common, they are the choices", () => {
  assertEquals(tab("system_"), { insert: "", choices: ["system_powerdown", "system_reset"] });
  assertEquals(tab(""), { insert: "", choices: NAMES[""] });
});

Deno.test("the beginning of none stays as it is", () => {
  assertEquals(tab("x"), { insert: "", choices: [] });
  assertEquals(tab("stop "), { insert: "", choices: [] });
});

Deno.test("what can follow depends on the words before, however many blanks there are", () => {
  assertEquals(tab("  info   k"), { insert: "vm ", choices: [] });
});
