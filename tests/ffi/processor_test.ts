import { assert, assertEquals } from "@std/assert";
import { checked } from "../../src/ffi/errno.ts";
import { leaveProcessor } from "../../src/ffi/processor.ts";
import { syscalls } from "../../src/ffi/syscall.ts";
import { readProc } from "../support/process_tree.ts";

/** Room for as many processors as the kernel can have (NR_CPUS, 8192). */
const SET_BYTES = 1024;

/** The processors that this thread may use, as the kernel has them: a bit for each. */
function allowedSet(): Uint8Array<ArrayBuffer> {
  const set = new Uint8Array(SET_BYTES);
  return set.slice(0, checked("sched_getaffinity", syscalls().sched_getaffinity(0, SET_BYTES, set)));
}

function allow(set: Uint8Array<ArrayBuffer>): void {
  checked("sched_setaffinity", syscalls().sched_setaffinity(0, set.length, set));
}

/** The processor that this thread was on a moment ago (proc(5), /proc/pid/stat, field 39). */
function processor(): number {
  return Number(readProc("/proc/thread-self/stat").split(") ")[1].split(" ")[36]);
}

/** The numbers of the processors in a set. */
function members(set: Uint8Array): number[] {
  return Array.from({ length: 8 * set.length }, (_, n) => n).filter((n) => set[n >>> 3] & (1 << (n & 7)));
}

function only(numbers: readonly number[], length: number): Uint8Array<ArrayBuffer> {
  const set = new Uint8Array(length);
  for (const n of numbers) set[n >>> 3] |= 1 << (n & 7);
  return set;
}

/** A test body after which this thread may use the processors that it could use before. */
function keepingAllowed(body: (allowed: Uint8Array<ArrayBuffer>) => void): () => void {
  return () => {
    const allowed = allowedSet();
    try {
      body(allowed);
    } finally {
      allow(allowed);
    }
  };
}

const hasOthers = members(allowedSet()).length > 1;

Deno.test({
  name: "a thread that leaves its processor goes on on another, and may use those that it could use before",
  ignore: !hasOthers,
  fn: keepingAllowed((allowed) => {
    const TRIES = 100;
    let moves = 0;
    for (let i = 0; i < TRIES; i++) {
      const before = processor();
      assertEquals(leaveProcessor(), true);
      if (processor() !== before) moves++;
      assertEquals(allowedSet(), allowed);
    }
    // The kernel may move it at any time by itself, also back; it hardly ever does so just now.
    assert(moves > TRIES / 2, `${moves} moves`);
  }),
});

Deno.test({
  name: "a thread that leaves its processor goes to none that it may not use",
  ignore: !hasOthers,
  fn: keepingAllowed((allowed) => {
    const pair = members(allowed).slice(-2);
    allow(only(pair, allowed.length));
    for (let i = 0; i < 10; i++) {
      assertEquals(leaveProcessor(), true);
      assert(pair.includes(processor()));
      assertEquals(members(allowedSet()), pair);
    }
  }),
});

Deno.test(
  "a thread that may use one processor stays there, and so does what it may use",
  keepingAllowed((allowed) => {
    for (const number of members(allowed)) {
      allow(only([number], allowed.length));
      assertEquals(leaveProcessor(), false);
      assertEquals([processor(), members(allowedSet())], [number, [number]]);
    }
  }),
);
