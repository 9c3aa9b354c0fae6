/** What a process can and cannot do once it is locked down, tried by a process that is, beside one that is not. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { SELF_ENVIRONMENT } from "../../src/vmm/self_command.ts";
import { readAll } from "../support/child.ts";
import { leakingNothing } from "../support/leaks.ts";

const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const PROGRAM = new URL("./locked_program.ts", import.meta.url).pathname;
const CACHE = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;

const EPERM = -1;
const SIGSYS = 31;

/** What a process prints that does something, locked down or not, and how it ends. */
function attempt(name: string, locked: boolean) {
  const [ours, theirs] = createSocketPair();
  const process = spawn({
    command: [
      ...[Deno.execPath(), "run", "--quiet", "--allow-ffi", "--allow-read", "--no-prompt", "--no-code-cache"],
      ...["--v8-flags=--max-old-space-size=40", `--config=${CONFIG}`, PROGRAM, name, String(locked)],
    ],
    env: { ...SELF_ENVIRONMENT, NO_COLOR: "1", HOME: "/nowhere", DENO_DIR: CACHE },
    descriptors: new Map([[0, null], [1, theirs], [2, theirs]]),
  });
  closeFd(theirs);
  const text = readAll(ours).trimEnd();
  const status = process.wait();
  process.close();
  closeFd(ours);
  return { text, status };
}

/** Answered with EPERM: harmless, and what V8 and Deno put up with. */
for (
  const name of [
    "open a file",
    "map code out of a file",
    "set up io_uring",
    "look for a file",
    "duplicate anywhere",
    "move its parent",
  ]
) {
  Deno.test(
    `a locked-down process may not ${name}, and lives on`,
    leakingNothing(() => {
      const free = attempt(name, false);
      assertEquals(free.status, { code: 0 });
      assert(Number(free.text) >= 0, free.text);
      assertEquals(attempt(name, true), { text: String(EPERM), status: { code: 0 } });
    }),
  );
}

/** Nothing in a device process does these. */
for (
  const name of [
    "open a socket",
    "signal its parent",
    "register with io_uring",
    "open a process",
    "delete a timer",
    "start asynchronous I/O",
  ]
) {
  Deno.test(
    `a locked-down process that tries to ${name} is ended`,
    leakingNothing(() => {
      assertNotEquals(attempt(name, false).status, { signal: SIGSYS });
      assertEquals(attempt(name, true), { text: "", status: { signal: SIGSYS } });
    }),
  );
}

Deno.test("a locked-down process goes on as before: heap, code, files that are open, threads that there are", () => {
  assertEquals(attempt("work", true), { text: "done", status: { code: 0 } });
});

Deno.test("a locked-down process may move to another processor, where there is one", () => {
  assertEquals(attempt("move itself", true), attempt("move itself", false));
});

Deno.test("the filter is on every thread of a locked-down process", () => {
  const counts = attempt("count filters", true).text.split(" ");
  assert(counts.length >= 3, "V8 and Deno have threads");
  assertEquals(new Set(counts), new Set(["1"]));
});

Deno.test("an uncaught error of a locked-down process is told as ever", () => {
  const { text, status } = attempt("throw", true);
  assert(text.includes("Error: what was thrown"), text);
  assertEquals(status, { code: 1 });
});

Deno.test("a locked-down process that is out of memory says so, and ends as ever", () => {
  const { text, status } = attempt("exhaust the heap", true);
  assert(text.includes("out of memory"), text);
  assertEquals(status, attempt("exhaust the heap", false).status);
});
