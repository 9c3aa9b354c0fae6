/**
 * How requests get to the host's kernel: by one of several engines, each of which serves all files on a loop.
 *
 * @module
 */
import type { EventLoop } from "../event_loop.ts";
import type { FileOperation } from "../ffi/blocking_io.ts";
import { SyscallError } from "../ffi/errno.ts";
import { IoUring } from "../ffi/io_uring.ts";
import type { AioMode } from "../options/storage.ts";
import { RingEngine } from "./io_uring_engine.ts";
import { ThreadEngine } from "./thread_engine.ts";

/** What the kernel is asked for. What an operation does not need is left out. */
export interface IoRequest {
  readonly operation: FileOperation;
  readonly fd: number;
  /** In bytes; the size for TRUNCATE. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
  /** For READ and WRITE: memory of `length` bytes. The engine keeps it reachable and where it is. */
  readonly buffer?: Uint8Array;
  /** For ALLOCATE: see `Fallocate`. */
  readonly mode?: number;
  /** Called once, from the loop, with what the system call returned: `-errno` on failure. */
  readonly done: (result: number) => void;
}

/** Carries out requests, any number at once and in any order, without ever waiting for one. */
export interface IoEngine {
  /** Takes a request. Its completion comes later, never from within this call. */
  submit(request: IoRequest): void;
  /**
   * Starts and opens all that it will ever need, so that it goes on in a process that gives up the right to.
   *
   * @param operations What is expected besides reads, writes, flushes and allocation.
   */
  prepare(operations: ReadonlySet<FileOperation>): void;
  /** Gives back descriptors, memory and threads. Nothing is in flight any more. Calling it again does nothing. */
  close(): void;
}

/** An engine, for as long as somebody uses it. */
export interface EngineLease {
  readonly engine: IoEngine;
  /** Tells of operations that the user may ask for: see {@linkcode IoEngine.prepare}. */
  expect(operations: readonly FileOperation[]): void;
  /** Closes the engine when nobody else uses it. Calling it again does nothing. */
  release(): void;
}

type EngineKind = "ring" | "threads";

interface SharedEngine {
  readonly engine: IoEngine;
  readonly expected: Set<FileOperation>;
  users: number;
}

const engines = new WeakMap<EventLoop, Map<EngineKind, SharedEngine>>();

/** Sets up the rings of an engine. */
export type OpenRing = (submissions: number, completions: number) => IoUring;

/**
 * The engine of a loop for an `aio=` mode. `native` (Linux AIO in QEMU) is io_uring here, which does the same and more: it never waits for the
 * disk where Linux AIO does. Where the kernel has no io_uring, or forbids it, threads take its place, unless it was asked for by name.
 *
 * @throws {Error} in one line, when `io_uring` was asked for and cannot be had.
 */
export function leaseEngine(loop: EventLoop, aio: AioMode | undefined, openRing: OpenRing = IoUring.open): EngineLease {
  if (aio === "threads") return share(loop, "threads", () => new ThreadEngine(loop));
  try {
    return share(loop, "ring", () => new RingEngine(loop, openRing));
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (aio === "io_uring") throw new Error(`aio=io_uring: ${reasonOf(error)}`, { cause: error });
    return share(loop, "threads", () => new ThreadEngine(loop));
  }
}

function reasonOf(error: SyscallError): string {
  if (error.code === "ENOSYS") return "this kernel does not have io_uring, or not all of it that is needed";
  if (error.code === "EPERM") return "io_uring is forbidden here (see the sysctl kernel.io_uring_disabled)";
  return error.message;
}

function share(loop: EventLoop, kind: EngineKind, make: () => IoEngine): EngineLease {
  const ofLoop = engines.get(loop) ?? new Map<EngineKind, SharedEngine>();
  engines.set(loop, ofLoop);
  const shared = ofLoop.get(kind) ?? { engine: make(), expected: new Set(), users: 0 };
  ofLoop.set(kind, shared);
  shared.users++;
  let released = false;
  return {
    engine: shared.engine,
    expect: (operations) => operations.forEach((operation) => shared.expected.add(operation)),
    release() {
      if (released) return;
      released = true;
      if (--shared.users > 0) return;
      ofLoop.delete(kind);
      shared.engine.close();
    },
  };
}

/** Has the engines of a loop start and open all that they will ever need. */
export function prepareEngines(loop: EventLoop): void {
  for (const { engine, expected } of engines.get(loop)?.values() ?? []) engine.prepare(expected);
}
