import { assert } from "@std/assert";
import type { BlockCompletion, BlockDevice } from "../../../src/block/block_device.ts";

/** A request that the device has carried out: `write+fua 512 @ 1024`. */
export type Trace = string;

/** How a {@linkcode MemoryDevice} behaves. */
export interface MemoryDeviceOptions {
  /** Complete when {@linkcode MemoryDevice.complete} says so, not from within the call. @default {false} */
  readonly deferred?: boolean;
  readonly readOnly?: boolean;
  /** @default {true} */
  readonly writeCache?: boolean;
  readonly discardGranularity?: number;
}

/** A request, and how it is called in the trace. */
interface Request {
  readonly operation: string;
  readonly what: string;
  readonly offset: number;
  readonly length: number;
  readonly buffer?: Uint8Array;
}

/** An image in memory, whose requests complete when a test wants them to. */
export class MemoryDevice implements BlockDevice {
  readonly size: number;
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly discardGranularity: number | undefined;
  readonly deferred: boolean;
  readonly bytes: Uint8Array;
  /** Every request, in the order of submission. */
  readonly trace: Trace[] = [];
  closed = false;
  /** The next requests of a kind, and where an offset is given only those that begin there, fail with these. */
  readonly failures: { readonly operation: string; readonly offset?: number; readonly error: Error }[] = [];
  /** Completed writes, in that order, and whether each is on stable storage. */
  readonly #writes: { readonly offset: number; readonly data: Uint8Array; stable: boolean }[] = [];
  readonly #pending: (Request & { readonly finish: () => void })[] = [];

  constructor(size: number, options: MemoryDeviceOptions = {}) {
    this.size = size;
    this.bytes = new Uint8Array(size);
    this.readOnly = options.readOnly ?? false;
    this.writeCache = options.writeCache ?? true;
    this.discardGranularity = options.discardGranularity;
    this.deferred = options.deferred ?? false;
  }

  /** What a power failure leaves of an image that was all zeroes. */
  get stable(): Uint8Array {
    const image = new Uint8Array(this.size);
    for (const { offset, data, stable } of this.#writes) if (stable) image.set(data, offset);
    return image;
  }

  /** Requests that wait for {@linkcode complete}. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Whether a request that begins at `offset` waits. */
  inFlight(offset: number): boolean {
    return this.#pending.some((request) => request.offset === offset);
  }

  /** Completes a waiting request: the oldest, or another by its place in the queue. */
  complete(place = 0): void {
    const [request] = this.#pending.splice(place, 1);
    assert(request !== undefined, "nothing is in flight");
    request!.finish();
  }

  /** Completes waiting requests until there are none, those submitted meanwhile too. */
  settle(): void {
    while (this.#pending.length > 0) this.complete();
  }

  /** The next request of this kind, where an offset is given the next that begins there, fails. */
  fail(operation: string, code: string, offset?: number): void {
    const cause = Object.assign(new Error(code), { code });
    this.failures.push({ operation, offset, error: new Error(`Cannot ${operation} the image`, { cause }) });
  }

  read(offset: number, into: Uint8Array, done: BlockCompletion): void {
    const request = { operation: "read", what: "read", offset, length: into.length, buffer: into };
    this.#submit(request, done, () => into.set(this.bytes.subarray(offset, offset + into.length)));
  }

  write(offset: number, from: Uint8Array, fua: boolean, done: BlockCompletion): void {
    const data = from.slice();
    const what = fua ? "write+fua" : "write";
    this.#submit({ operation: "write", what, offset, length: from.length, buffer: from }, done, () => {
      if (!same(from, data)) throw new Error("the buffer changed while the request was in flight");
      this.bytes.set(from, offset);
      this.#writes.push({ offset, data, stable: fua || !this.writeCache });
    });
  }

  /** Only what was completed when the flush was submitted is stable afterwards. */
  flush(done: BlockCompletion): void {
    const covered = this.#writes.length;
    this.#submit({ operation: "flush", what: "flush", offset: 0, length: 0 }, done, () => {
      for (const write of this.#writes.slice(0, covered)) write.stable = true;
    });
  }

  discard(offset: number, length: number, done: BlockCompletion): void {
    this.#submit({ operation: "discard", what: "discard", offset, length }, done, () => {
      this.bytes.fill(0xdd, offset, offset + length); // whatever; surely not what it was
    });
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: BlockCompletion): void {
    this.#submit({ operation: "write", what: unmap ? "zero+unmap" : "zero", offset, length }, done, () => {
      this.bytes.fill(0, offset, offset + length);
      this.#writes.push({ offset, data: new Uint8Array(length), stable: !this.writeCache });
    });
  }

  close(done: BlockCompletion): void {
    this.closed = true;
    done();
  }

  #submit(request: Request, done: BlockCompletion, work: () => void): void {
    const { operation, what, offset, length, buffer } = request;
    const trace = operation === "flush" ? what : `${what} ${length} @ ${offset}`;
    assert(!this.closed, "a request reached a closed image");
    assert(!this.readOnly || operation === "read" || operation === "flush", `${what} reached a read-only image`);
    assert(Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= this.size, trace);
    assert(offset % 512 === 0 && length % 512 === 0, trace);
    const shared = this.#pending.some((other) => buffer !== undefined && other.buffer?.buffer === buffer.buffer);
    assert(!shared, "a buffer is used by two requests in flight");
    this.trace.push(trace);
    const failure = this.failures.findIndex((planned) =>
      planned.operation === operation && (planned.offset ?? offset) === offset
    );
    const error = failure < 0 ? undefined : this.failures.splice(failure, 1)[0].error;
    const finish = () => {
      if (error === undefined) work();
      done(error);
    };
    if (this.deferred) this.#pending.push({ ...request, finish });
    else finish();
  }
}

/** Whether two arrays hold the same bytes: in long ones that do, much faster than assertEquals. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
