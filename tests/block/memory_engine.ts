/**
 * An engine whose file is memory, and whose kernel is as capricious as a real one may be.
 *
 * @module
 */
import { FileOperation } from "../../src/ffi/blocking_io.ts";
import { Errno } from "../../src/ffi/errno.ts";
import { lastingAddress } from "../../src/ffi/memory.ts";
import type { IoEngine, IoRequest } from "../../src/block/io_engine.ts";

/** How a {@linkcode MemoryEngine} behaves. */
export interface MemoryEngineOptions {
  /** What O_DIRECT asks of offsets, lengths and addresses: EINVAL for others. @default {1} */
  readonly alignment?: number;
  /** The result of a request, instead of carrying it out; or the most bytes that it moves. */
  readonly interfere?: (request: IoRequest) => { readonly result?: number; readonly most?: number } | undefined;
}

/** Carries out requests when it is told to. */
export class MemoryEngine implements IoEngine {
  contents: Uint8Array;
  /** Every request that was made. */
  readonly log: IoRequest[] = [];
  closed = false;
  readonly #queue: IoRequest[] = [];
  readonly #alignment: number;
  readonly #interfere: NonNullable<MemoryEngineOptions["interfere"]>;

  constructor(contents: Uint8Array, { alignment = 1, interfere = () => undefined }: MemoryEngineOptions = {}) {
    this.contents = contents.slice();
    this.#alignment = alignment;
    this.#interfere = interfere;
  }

  submit(request: IoRequest): void {
    this.log.push(request);
    this.#queue.push(request);
  }

  prepare(): void {}

  close(): void {
    this.closed = true;
  }

  get inFlight(): number {
    return this.#queue.length;
  }

  /** Carries out one of the requests in flight. */
  step(choice = 0): void {
    const [request] = this.#queue.splice(choice % this.#queue.length, 1);
    const interference = this.#interfere(request);
    request.done(interference?.result ?? this.#carryOut(request, interference?.most ?? Infinity));
  }

  /** Carries out all there is, in the order of the choices. */
  settle(choose: () => number = () => 0): void {
    while (this.#queue.length > 0) this.step(choose());
  }

  #carryOut(request: IoRequest, most: number): number {
    const { operation, offset, length } = request;
    switch (operation) {
      case FileOperation.READ:
        return this.#isAligned(request) ? this.#read(request, most) : -Errno.EINVAL;
      case FileOperation.WRITE:
        return this.#isAligned(request) ? this.#write(request, most) : -Errno.EINVAL;
      case FileOperation.SYNC_DATA:
        return 0;
      case FileOperation.TRUNCATE:
        this.#resize(offset);
        return 0;
      case FileOperation.ALLOCATE:
        this.contents.fill(0, offset, offset + length); // all modes that are used keep the size, and zero
        return 0;
      default:
        return -Errno.EOPNOTSUPP;
    }
  }

  #isAligned({ offset, length, buffer }: IoRequest): boolean {
    return [offset, length, lastingAddress(buffer!)].every((value) => value % this.#alignment === 0);
  }

  #read({ offset, buffer }: IoRequest, most: number): number {
    const part = this.contents.subarray(offset, offset + Math.min(buffer!.length, most));
    buffer!.set(part);
    return part.length;
  }

  #write({ offset, buffer }: IoRequest, most: number): number {
    const part = buffer!.subarray(0, most);
    if (offset + part.length > this.contents.length) this.#resize(offset + part.length);
    this.contents.set(part, offset);
    return part.length;
  }

  #resize(size: number): void {
    const resized = new Uint8Array(size);
    resized.set(this.contents.subarray(0, size));
    this.contents = resized;
  }
}
