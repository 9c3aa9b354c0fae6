/**
 * An open file or block device, whose requests an engine carries out.
 *
 * @module
 */
import { FileOperation } from "../ffi/blocking_io.ts";
import { Errno } from "../ffi/errno.ts";
import type { Extent } from "./block_device.ts";
import type { ByteIo } from "./byte_io.ts";
import { type Completion, type Coroutine, type Wait, waitFor } from "./coroutine.ts";
import type { FileCall, FileIo } from "./file_io.ts";
import type { HostFile } from "./host_file.ts";
import { Zeroing } from "./zeroing.ts";

/** What an {@linkcode EngineFile} is made of. */
export interface EngineFileOptions {
  readonly kind: HostFile["kind"];
  readonly readOnly: boolean;
  /** Bytes there are when it is opened. */
  readonly size: number;
  /** See `ZeroingTarget`. */
  readonly granularity: number;
  /** Whether {@linkcode HostFile.sync} does nothing. */
  readonly ignoreSync: boolean;
  /** Whether its bytes pass through the host's page cache. */
  readonly cached: boolean;
  readonly io: FileIo;
  /** Makes what moves its bytes. @param size The size that the file has now. */
  readonly bytes: (io: FileIo, size: () => number) => ByteIo;
}

/** An open file. */
export class EngineFile implements HostFile {
  readonly name: string;
  readonly kind: HostFile["kind"];
  readonly readOnly: boolean;
  readonly alignment: number;
  readonly #io: FileIo;
  readonly #bytes: ByteIo;
  readonly #zeroing: Zeroing;
  readonly #ignoreSync: boolean;
  readonly #cached: boolean;
  /** Why it is not known any more what is on stable storage. */
  #lost: Error | undefined;
  #size: number;
  /** Whether the file system can tell holes from data. */
  #knowsHoles: boolean;

  constructor({ kind, readOnly, size, granularity, ignoreSync, cached, io, bytes }: EngineFileOptions) {
    this.name = io.name;
    this.kind = kind;
    this.readOnly = readOnly;
    this.#size = size;
    this.#io = io;
    this.#bytes = bytes(io, () => this.#size);
    this.alignment = this.#bytes.alignment;
    this.#zeroing = new Zeroing({ kind, granularity, io, bytes: this.#bytes });
    this.#ignoreSync = ignoreSync;
    this.#cached = cached;
    this.#knowsHoles = kind === "file";
  }

  get size(): number {
    return this.#size;
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    if (into.length === 0) return done();
    this.#bytes.read(offset, into, done);
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    if (from.length === 0) return done();
    this.#bytes.write(offset, from, (error) => {
      if (error === undefined) this.#size = Math.max(this.#size, offset + from.length);
      done(error);
    });
  }

  sync(done: Completion): void {
    if (this.#ignoreSync) return done();
    if (this.#lost !== undefined) return done(this.#lost);
    this.#call({ operation: FileOperation.SYNC_DATA, offset: 0, length: 0 })((error) => {
      // Linux takes pages that it could not write for written, and would say that all is well the next time (fsync(2), "NOTES"): what the
      // file holds is known only if it is opened anew, when what was lost is read.
      if (this.#cached) this.#lost ??= error;
      done(error);
    });
  }

  discard(offset: number, length: number, done: Completion): void {
    const inside = Math.min(length, this.#size - offset);
    if (inside <= 0) return done();
    this.#io.run(this.#zeroing.discard(offset, inside), done);
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: Completion): void {
    const inside = Math.min(length, this.#size - offset);
    if (inside <= 0) return done();
    this.#io.run(this.#zeroing.writeZeroes(offset, inside, unmap), done);
  }

  status(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void {
    this.#io.run(this.#findExtent(offset, length), done);
  }

  truncate(size: number, done: Completion): void {
    const truncation = this.#call({ operation: FileOperation.TRUNCATE, offset: size, length: 0 });
    this.#bytes.change(Math.min(size, this.#size), Infinity, truncation, (error) => {
      if (error === undefined) this.#size = size;
      done(error);
    });
  }

  close(): void {
    this.#io.close();
  }

  #call(call: FileCall): Wait {
    return (done) =>
      this.#io.call(call, (result) => done(result < 0 ? this.#io.failure(call.operation, result) : undefined));
  }

  *#findExtent(offset: number, length: number): Coroutine<Extent> {
    if (offset >= this.#size) return { length, zero: true };
    const data = yield* this.#seek(FileOperation.SEEK_DATA, offset);
    if (data === undefined) return { length, zero: false };
    if (data > offset) return { length: Math.min(length, data - offset), zero: true };
    const hole = yield* this.#seek(FileOperation.SEEK_HOLE, offset);
    // A file that changes meanwhile may have none left after `offset`.
    return { length: hole === undefined || hole <= offset ? length : Math.min(length, hole - offset), zero: false };
  }

  /** Where data or a hole next begin, at `offset` or after it; `undefined` where the file system cannot tell. */
  *#seek(operation: FileOperation, offset: number): Coroutine<number | undefined> {
    if (!this.#knowsHoles) return undefined;
    let result = 0;
    yield* waitFor((done) =>
      this.#io.call({ operation, offset, length: 0 }, (value) => {
        result = value;
        done();
      })
    );
    if (result >= 0) return result;
    if (result === -Errno.ENXIO) return Infinity; // no data up to the end
    if (result !== -Errno.EINVAL && result !== -Errno.EOPNOTSUPP) throw this.#io.failure(operation, result);
    this.#knowsHoles = false;
    return undefined;
  }
}
