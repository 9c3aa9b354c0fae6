/**
 * Requests to one open descriptor, carried out whole: what the kernel does in parts is continued.
 *
 * @module
 */
import { type FileOperation, FileOperation as Operation, MOST_BYTES, OPERATION_CALLS } from "../ffi/blocking_io.ts";
import { Errno, SyscallError } from "../ffi/errno.ts";
import { closeFd } from "../ffi/file.ts";
import { type Completion, type Coroutine, run } from "./coroutine.ts";
import type { EngineLease } from "./io_engine.ts";

/** Ends a transfer: with an error, or with how many bytes were moved, fewer than asked for only at the end of the file. */
export type MoveCompletion = (error: Error | undefined, moved: number) => void;

/** How often a request is made again that the kernel says it has no resources for. */
const MOST_RETRIES = 16;

/** An operation that moves no data. */
export interface FileCall {
  readonly operation: FileOperation;
  /** See `IoRequest`. */
  readonly offset: number;
  readonly length: number;
  readonly mode?: number;
}

/** A descriptor, and the engine that serves it. */
export class FileIo {
  /** For messages. */
  readonly name: string;
  readonly fd: number;
  readonly #lease: Pick<EngineLease, "engine" | "release">;
  readonly #closed: () => void;
  #inFlight = 0;
  #closing = false;

  /**
   * @param fd Belongs to this from now on, as does the lease.
   * @param closed Called when the descriptor is closed.
   */
  constructor(name: string, fd: number, lease: Pick<EngineLease, "engine" | "release">, closed: () => void = () => {}) {
    this.name = name;
    this.fd = fd;
    this.#lease = lease;
    this.#closed = closed;
  }

  /** Makes a system call. `done` gets its result; `-errno` on failure. */
  call({ operation, offset, length, mode }: FileCall, done: (result: number) => void): void {
    this.#inFlight++;
    const ended = (result: number): void => {
      if (result === -Errno.EINTR) return submit();
      this.#leave();
      done(result);
    };
    const submit = () => this.#lease.engine.submit({ operation, fd: this.fd, offset, length, mode, done: ended });
    submit();
  }

  /**
   * Reads until `buffer` is full or the file ends, or writes all of it.
   *
   * @param granule What direct I/O aligns lengths to: a transfer that ends elsewhere has met the end of the file.
   */
  move(write: boolean, offset: number, buffer: Uint8Array, granule: number, done: MoveCompletion): void {
    const operation = write ? Operation.WRITE : Operation.READ;
    let moved = 0;
    let retries = 0;
    const finish = (error?: Error): void => {
      this.#leave();
      done(error, moved);
    };
    const step = (): void => {
      const rest = moved === 0 && buffer.length <= MOST_BYTES ? buffer : buffer.subarray(moved, moved + MOST_BYTES);
      this.#lease.engine.submit({
        operation,
        fd: this.fd,
        offset: offset + moved,
        length: rest.length,
        buffer: rest,
        done: ended,
      });
    };
    const ended = (result: number): void => {
      if (result < 0) {
        const transient = result === -Errno.EINTR || result === -Errno.EAGAIN;
        return transient && retries++ < MOST_RETRIES ? step() : finish(this.failure(operation, result));
      }
      moved += result;
      if (moved === buffer.length) return finish();
      if (result > 0 && moved % granule === 0) return step();
      // A file ends where it ends for reads; a write that moves nothing has no excuse.
      finish(write ? this.failure(operation, -Errno.EIO) : undefined);
    };
    this.#inFlight++;
    step();
  }

  /**
   * Reads all of `into`, with zeroes for what lies beyond the end of the file.
   *
   * @param granule See {@linkcode move}.
   * @param size Where the file ends, as far as is known. One that ends before has lost data, and the read fails.
   */
  read(offset: number, into: Uint8Array, granule: number, size: number, done: Completion): void {
    this.move(false, offset, into, granule, (error, moved) => {
      if (error !== undefined) return done(error);
      const end = offset + moved;
      if (moved < into.length && end < size) return done(this.#shortened(end, size));
      into.fill(0, moved);
      done();
    });
  }

  #shortened(end: number, size: number): Error {
    const cause = this.failure(Operation.READ, -Errno.EIO);
    return new Error(`${this.name} has become shorter: ${size - end} bytes are missing from ${end} on`, { cause });
  }

  /** Runs what consists of several requests. The descriptor stays open between them. */
  run<T>(steps: Coroutine<T>, done: (error: Error | undefined, value: T | undefined) => void): void {
    this.#inFlight++;
    run(steps, (error, value) => {
      this.#leave();
      done(error, value);
    });
  }

  /** The error that a failed operation's result stands for. */
  failure(operation: FileOperation, result: number): SyscallError {
    return new SyscallError(`${OPERATION_CALLS[operation]}(${this.name})`, -result);
  }

  /** Closes the descriptor; if somebody forgot to wait for a request, when that has ended. Calling it again does nothing. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#inFlight === 0) this.#release();
  }

  #leave(): void {
    if (--this.#inFlight === 0 && this.#closing) this.#release();
  }

  #release(): void {
    this.#lease.release();
    closeFd(this.fd);
    this.#closed();
  }
}
