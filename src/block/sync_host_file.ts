/**
 * Files whose requests are carried out at once, by system calls that wait.
 *
 * @module
 */
import {
  allocateRange,
  blockDeviceDiscard,
  blockDeviceSectorSize,
  blockDeviceZero,
  closeFd,
  Fallocate,
  syncData,
  truncateFile,
} from "../ffi/file.ts";
import { SyscallError } from "../ffi/errno.ts";
import type { Completion } from "./coroutine.ts";
import type { HostFile } from "./host_file.ts";
import { bufferedIo, directAlignment, directIo, type RawIo } from "./raw_io.ts";

/** How many zeroes are written at once where the host cannot zero by itself. */
const ZEROES = new Uint8Array(256 * 1024);

/** An open descriptor, and what is known of it. */
export interface OpenDescriptor {
  readonly fd: number;
  readonly name: string;
  readonly kind: HostFile["kind"];
  readonly readOnly: boolean;
  readonly size: number;
  readonly direct: boolean;
  readonly ignoreSync: boolean;
}

/** Whether the host says that it has no such operation, or none for this range. */
function isUnsupported(error: unknown): boolean {
  return error instanceof SyscallError && ["EOPNOTSUPP", "ENOSYS", "EINVAL", "ENOTTY"].includes(error.code);
}

/** A file. */
export class SyncHostFile implements HostFile {
  readonly name: string;
  readonly kind: HostFile["kind"];
  readonly readOnly: boolean;
  readonly alignment: number;
  readonly #fd: number;
  readonly #io: RawIo;
  readonly #ignoreSync: boolean;
  #size: number;
  #closed = false;

  constructor({ fd, name, kind, readOnly, size, direct, ignoreSync }: OpenDescriptor) {
    this.name = name;
    this.kind = kind;
    this.readOnly = readOnly;
    this.#fd = fd;
    this.#size = size;
    this.#ignoreSync = ignoreSync;
    this.alignment = !direct ? 1 : kind === "device" ? blockDeviceSectorSize(fd) : directAlignment(fd, size);
    this.#io = direct ? directIo(fd, this.alignment, () => this.#size) : bufferedIo(fd);
  }

  get size(): number {
    return this.#size;
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    attempt(done, () => this.#io.read(offset, into));
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    attempt(done, () => {
      this.#io.write(offset, from);
      this.#size = Math.max(this.#size, offset + from.length);
    });
  }

  sync(done: Completion): void {
    attempt(done, () => {
      if (!this.#ignoreSync) syncData(this.#fd);
    });
  }

  discard(offset: number, length: number, done: Completion): void {
    attempt(done, () => {
      try {
        this.#giveBack(offset, length);
      } catch (error) {
        if (!isUnsupported(error)) throw error;
      }
    });
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: Completion): void {
    const inside = Math.min(length, this.#size - offset);
    if (inside <= 0) return done();
    attempt(done, () => {
      if (!this.#zeroByHost(offset, inside, unmap)) this.#zeroByWriting(offset, inside);
    });
  }

  truncate(size: number, done: Completion): void {
    attempt(done, () => {
      truncateFile(this.#fd, size);
      this.#size = size;
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#io.close();
    closeFd(this.#fd);
  }

  #giveBack(offset: number, length: number): void {
    if (length === 0) return;
    if (this.kind === "file") {
      return allocateRange(this.#fd, Fallocate.PUNCH_HOLE | Fallocate.KEEP_SIZE, offset, length);
    }
    const sector = blockDeviceSectorSize(this.#fd);
    const start = Math.ceil(offset / sector) * sector;
    const end = Math.floor((offset + length) / sector) * sector;
    if (start < end) blockDeviceDiscard(this.#fd, start, end - start);
  }

  /** Has the host zero a range. @returns Whether it could. */
  #zeroByHost(offset: number, length: number, unmap: boolean): boolean {
    const mode = (unmap ? Fallocate.PUNCH_HOLE : Fallocate.ZERO_RANGE) | Fallocate.KEEP_SIZE;
    try {
      if (this.kind === "file") allocateRange(this.#fd, mode, offset, length);
      else blockDeviceZero(this.#fd, offset, length);
      return true;
    } catch (error) {
      if (isUnsupported(error)) return false;
      throw error;
    }
  }

  #zeroByWriting(offset: number, length: number): void {
    for (let done = 0; done < length; done += ZEROES.length) {
      this.#io.write(offset + done, ZEROES.subarray(0, Math.min(ZEROES.length, length - done)));
    }
  }
}

/** Carries out a request; what `done` throws is the caller's own. */
function attempt(done: Completion, work: () => void): void {
  let failure: Error | undefined;
  try {
    work();
  } catch (error) {
    failure = error as Error;
  }
  done(failure);
}
