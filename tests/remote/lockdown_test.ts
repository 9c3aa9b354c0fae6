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
const [SIGABRT, SIGSYS] = [6, 31];

/** Not locked down; locked down with devices of no class of their own; and with disks. */
type Mode = "free" | "plain" | "storage";

/** What a process prints that does something, locked down or not, and how it ends. */
function attempt(name: string, mode: Mode) {
  const [ours, theirs] = createSocketPair();
  const process = spawn({
    command: [
      ...[Deno.execPath(), "run", "--quiet", "--allow-ffi", "--allow-read", "--no-prompt", "--no-code-cache"],
      ...["--v8-flags=--max-old-space-size=40", `--config=${CONFIG}`, PROGRAM, name, mode],
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
    "signal a thread of its parent",
  ]
) {
  Deno.test(
    `a locked-down process may not ${name}, and lives on`,
    leakingNothing(() => {
      const free = attempt(name, "free");
      assertEquals(free.status, { code: 0 });
      assert(Number(free.text) >= 0, free.text);
      assertEquals(attempt(name, "storage"), { text: String(EPERM), status: { code: 0 } });
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
      assertNotEquals(attempt(name, "free").status, { signal: SIGSYS });
      assertEquals(attempt(name, "storage"), { text: "", status: { signal: SIGSYS } });
    }),
  );
}

for (const mode of ["plain", "storage"] as const) {
  Deno.test(`a locked-down process goes on as before: heap, code, memory files, threads that there are (${mode})`, () => {
    assertEquals(attempt("work", mode), { text: "done", status: { code: 0 } });
  });

  Deno.test(`an uncaught error of a locked-down process is told as ever (${mode})`, () => {
    const { text, status } = attempt("throw", mode);
    assert(text.includes("Error: what was thrown"), text);
    assertEquals(status, { code: 1 });
  });

  Deno.test(`a locked-down process that is out of memory says so, and ends as ever (${mode})`, () => {
    const { text, status } = attempt("exhaust the heap", mode);
    assert(text.includes("out of memory"), text);
    assertEquals(status, attempt("exhaust the heap", "free").status);
  });
}

Deno.test("a locked-down process may end itself by a signal, as abort(3) does", () => {
  const aborted = { text: "", status: { signal: SIGABRT } };
  assertEquals([attempt("abort", "free"), attempt("abort", "plain")], [aborted, aborted]);
});

/** What a storage device does, and what a process without one gets for it. */
const STORAGE = {
  "read an image": { signal: SIGSYS },
  "write to an image": { signal: SIGSYS },
  "enter io_uring": { signal: SIGSYS },
  "lock an image": EPERM,
  "ask a disk for its size": EPERM,
};

for (const [name, answer] of Object.entries(STORAGE)) {
  Deno.test(
    `a locked-down process may ${name} if it has a storage device, and not without`,
    leakingNothing(() => {
      const free = attempt(name, "free");
      assertEquals(free.status, { code: 0 });
      assertEquals(attempt(name, "storage"), free);
      const expected = typeof answer === "number"
        ? { text: String(answer), status: { code: 0 } }
        : { text: "", status: answer };
      assertEquals(attempt(name, "plain"), expected);
    }),
  );
}

Deno.test("a process without a storage device that tries to set up io_uring is ended", () => {
  assertEquals(attempt("set up io_uring", "plain").status, { signal: SIGSYS });
});

Deno.test("a locked-down process may move to another processor, where there is one", () => {
  assertEquals(attempt("move itself", "storage"), attempt("move itself", "free"));
});

Deno.test("the filter is on every thread of a locked-down process", () => {
  const counts = attempt("count filters", "storage").text.split(" ");
  assert(counts.length >= 3, "V8 and Deno have threads");
  assertEquals(new Set(counts), new Set(["1"]));
});
