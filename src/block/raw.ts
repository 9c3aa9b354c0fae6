/**
 * Raw images: files and block devices whose bytes are the disk's.
 *
 * A file whose size is no multiple of 512 is padded with zeroes to the next one; it grows that far, and no further, when the padding is
 * written.
 *
 * @module
 */
import type { BlockCompletion, BlockDevice, Extent } from "./block_device.ts";
import type { Wait } from "./coroutine.ts";
import type { HostFile } from "./host_file.ts";

/** How an image is used. */
export interface RawOptions {
  /** Whether written data may stay in a volatile cache until they are flushed. @default {true} */
  readonly writeCache?: boolean;
  /** Whether what the guest unmaps is given back to the host. @default {false} */
  readonly discard?: boolean;
}

const SECTOR = 512;

/** Takes a file as a raw image, which closes it. The image is read-only where the file is. */
export function openRaw(file: HostFile, options: RawOptions = {}): BlockDevice {
  return new RawImage(file, options);
}

/** A raw image. Its size is what it is when it is opened. */
class RawImage implements BlockDevice {
  readonly size: number;
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly #file: HostFile;
  /** Whether what the guest discards is given back to the host. */
  readonly #mayDiscard: boolean;

  constructor(file: HostFile, { writeCache = true, discard = false }: RawOptions) {
    this.#file = file;
    this.size = Math.ceil(file.size / SECTOR) * SECTOR;
    this.readOnly = file.readOnly;
    this.writeCache = writeCache;
    this.#mayDiscard = discard && !file.readOnly;
  }

  read(offset: number, into: Uint8Array, done: BlockCompletion): void {
    this.#check(offset, into.length);
    this.#file.read(offset, into, this.#naming("read", offset, into.length, done));
  }

  write(offset: number, from: Uint8Array, fua: boolean, done: BlockCompletion): void {
    this.#check(offset, from.length);
    this.#change("write", offset, from.length, fua, done, (then) => this.#file.write(offset, from, then));
  }

  flush(done: BlockCompletion): void {
    if (this.readOnly) return done();
    this.#file.sync(this.#naming("flush", 0, this.size, done));
  }

  discard(offset: number, length: number, done: BlockCompletion): void {
    this.#check(offset, length);
    if (!this.#mayDiscard || length === 0) return done();
    this.#change("discard", offset, length, false, done, (then) => this.#file.discard(offset, length, then));
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: BlockCompletion): void {
    this.#check(offset, length);
    if (length === 0) return done();
    const giveBack = unmap && this.#mayDiscard;
    this.#change("zero", offset, length, false, done, (then) => this.#file.writeZeroes(offset, length, giveBack, then));
  }

  status(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void {
    this.#check(offset, length);
    if (this.#file.status === undefined) return done(undefined, { length, zero: false });
    this.#file.status(offset, length, done);
  }

  close(done: BlockCompletion): void {
    this.#file.close();
    done();
  }

  /** @throws {RangeError} when the range does not lie on the image. */
  #check(offset: number, length: number): void {
    const isRange = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (isRange && offset + length <= this.size) return;
    throw new RangeError(`${length} bytes at ${offset} are not on an image of ${this.size} bytes`);
  }

  /** A request that changes the image; durable at once where that was asked for, or where there is no write cache. */
  #change(what: string, offset: number, length: number, fua: boolean, done: BlockCompletion, start: Wait): void {
    if (this.readOnly) return done(new Error(`Cannot ${what} ${this.#file.name}: it is open read-only`));
    const ended = this.#naming(what, offset, length, done);
    if (this.writeCache && !fua) return start(ended);
    start((error) => error === undefined ? this.#file.sync(ended) : ended(error));
  }

  /** A completion whose error names the operation, the place and the image. */
  #naming(what: string, offset: number, length: number, done: BlockCompletion): BlockCompletion {
    return (cause) => {
      if (cause === undefined) return done();
      done(new Error(`Cannot ${what} ${length} bytes at ${offset} of ${this.#file.name}`, { cause }));
    };
  }
}
