/**
 * Raw images: regular files and block devices whose bytes are the disk's.
 *
 * Requests are carried out at once, by system calls that wait. A file whose size is no multiple of 512 is padded with zeroes to
 * the next one; it grows that far, and no further, when the padding is written.
 *
 * @module
 */
import {
  allocateRange,
  blockDeviceDiscard,
  blockDeviceSectorSize,
  blockDeviceSize,
  blockDeviceZero,
  closeFd,
  Fallocate,
  fileStatus,
  FileType,
  openFile,
  OpenFlags,
  setNonblocking,
  statusFlags,
  syncData,
} from "../ffi/file.ts";
import { setDirectIo } from "../ffi/direct_io.ts";
import { SyscallError } from "../ffi/errno.ts";
import { CACHE_POLICIES, type CacheMode, type CachePolicy } from "../options/storage.ts";
import type { BlockCompletion, BlockDevice } from "./block_device.ts";
import { lockImage } from "./image_lock.ts";
import { bufferedIo, directAlignment, directIo, type RawIo } from "./raw_io.ts";

/** How an image is opened. */
export interface RawOptions {
  /** @default {false} */
  readonly readOnly?: boolean;
  /** QEMU's `cache=`. @default {"writeback"} */
  readonly cache?: CacheMode;
  /** Whether what the guest unmaps is given back to the host. @default {false} */
  readonly discard?: boolean;
}

const SECTOR = 512;

/** How many zeroes are written at once where the host cannot zero by itself. */
const ZEROES = new Uint8Array(256 * 1024);

/** What a user can make of the errors of open(2). */
const OPEN_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a directory",
  EROFS: "it is on a read-only file system (readonly=on opens it)",
  ENXIO: "there is no such device",
  ENODEV: "there is no such device",
  EBUSY: "the device is in use",
  ETXTBSY: "it is a program that is running",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
};

/** Where the image is, once opened. */
interface OpenImage {
  readonly fd: number;
  /** For messages: the path, or the descriptor. */
  readonly name: string;
  readonly kind: "file" | "device";
  /** Bytes that are there; see {@linkcode BlockDevice.size} for the rounded number. */
  readonly end: number;
  readonly readOnly: boolean;
}

/**
 * Opens a raw image and locks it against other programs, QEMU included.
 *
 * @param target A path, or an open descriptor, which then belongs to the image.
 * @throws {Error} naming the image and what is wrong with it; a descriptor then stays open.
 */
export function openRaw(target: string | number, options: RawOptions = {}): BlockDevice {
  const { readOnly = false, cache = "writeback", discard = false } = options;
  const policy = CACHE_POLICIES[cache];
  const name = typeof target === "string" ? target : `descriptor ${target}`;
  const fd = typeof target === "string" ? openPath(target, readOnly) : target;
  try {
    const image = identify(fd, name, readOnly);
    checkAccess(fd, name, readOnly);
    switchDirectIo(fd, name, policy.direct);
    if (!lockImage(fd, readOnly)) {
      throw new Error(`Cannot open ${name}: it is in use already, by this or another program`);
    }
    const io = policy.direct ? directIo(fd, alignmentOf(image), image.end) : bufferedIo(fd);
    return new RawImage(image, io, policy, discard);
  } catch (error) {
    if (typeof target === "string") closeFd(fd);
    if (error instanceof SyscallError) throw new Error(`Cannot open ${name}: ${error.message}`, { cause: error });
    throw error;
  }
}

function openPath(path: string, readOnly: boolean): number {
  const access = readOnly ? OpenFlags.O_RDONLY : OpenFlags.O_RDWR;
  try {
    // O_NONBLOCK: opening a FIFO would wait for its other end. It means nothing for files and block devices.
    return openFile(path, access | OpenFlags.O_NONBLOCK | OpenFlags.O_NOCTTY);
  } catch (error) {
    const code = error instanceof SyscallError ? error.code : "";
    throw new Error(`Cannot open ${path}: ${OPEN_ERRORS[code] ?? (error as Error).message}`, { cause: error });
  }
}

/** Whether a descriptor is open in the way that it will be used. */
function checkAccess(fd: number, name: string, readOnly: boolean): void {
  const flags = statusFlags(fd);
  const access = flags & 3;
  if (access === OpenFlags.O_WRONLY || (!readOnly && access !== OpenFlags.O_RDWR)) {
    throw new Error(`Cannot open ${name}: it is not open for ${readOnly ? "reading" : "reading and writing"}`);
  }
  if ((flags & OpenFlags.O_APPEND) !== 0) throw new Error(`Cannot open ${name}: O_APPEND would misplace every write`);
}

function switchDirectIo(fd: number, name: string, direct: boolean): void {
  if (((statusFlags(fd) & OpenFlags.O_DIRECT) !== 0) === direct) return;
  try {
    setDirectIo(fd, direct);
  } catch (cause) {
    const why = "its file system does not support O_DIRECT, which cache=none and cache=directsync need";
    throw new Error(`Cannot open ${name}: ${why}`, { cause });
  }
}

/** What kinds of file are not images. */
const OTHER_TYPES: ReadonlyMap<number, string> = new Map([
  [FileType.DIRECTORY, "a directory"],
  [FileType.CHARACTER_DEVICE, "a character device"],
  [FileType.FIFO, "a FIFO"],
  [FileType.SOCKET, "a socket"],
]);

function identify(fd: number, name: string, readOnly: boolean): OpenImage {
  const status = fileStatus(fd);
  const type = status.mode & FileType.MASK;
  if (type !== FileType.REGULAR && type !== FileType.BLOCK_DEVICE) {
    const what = OTHER_TYPES.get(type) ?? "of an unknown type";
    throw new Error(`Cannot open ${name}: it is ${what}, not a regular file or block device`);
  }
  setNonblocking(fd, false);
  return type === FileType.REGULAR
    ? { fd, name, readOnly, kind: "file", end: status.size }
    : { fd, name, readOnly, kind: "device", end: blockDeviceSize(fd) };
}

function alignmentOf({ fd, kind, end }: OpenImage): number {
  return kind === "device" ? blockDeviceSectorSize(fd) : directAlignment(fd, end);
}

/** Whether the host says that it has no such operation, or none for this range. */
function isUnsupported(error: unknown): boolean {
  return error instanceof SyscallError && ["EOPNOTSUPP", "ENOSYS", "EINVAL", "ENOTTY"].includes(error.code);
}

/** A raw image. */
class RawImage implements BlockDevice {
  readonly size: number;
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly #image: OpenImage;
  readonly #io: RawIo;
  readonly #ignoreFlush: boolean;
  /** Whether what the guest discards is given back to the host. */
  readonly #mayDiscard: boolean;
  #closed = false;

  constructor(image: OpenImage, io: RawIo, policy: CachePolicy, discard: boolean) {
    this.#image = image;
    this.#io = io;
    this.#ignoreFlush = policy.ignoreFlush;
    this.size = Math.ceil(image.end / SECTOR) * SECTOR;
    this.readOnly = image.readOnly;
    this.writeCache = policy.writeCache;
    this.#mayDiscard = discard && !image.readOnly;
  }

  read(offset: number, into: Uint8Array, done: BlockCompletion): void {
    this.#check(offset, into.length);
    this.#attempt("read", offset, into.length, done, () => this.#io.read(offset, into));
  }

  write(offset: number, from: Uint8Array, fua: boolean, done: BlockCompletion): void {
    this.#check(offset, from.length);
    this.#change("write", offset, from.length, done, () => {
      this.#io.write(offset, from);
      if (fua && this.writeCache) this.#sync();
    });
  }

  flush(done: BlockCompletion): void {
    if (this.readOnly) return done();
    this.#attempt("flush", 0, this.size, done, () => this.#sync());
  }

  discard(offset: number, length: number, done: BlockCompletion): void {
    this.#check(offset, length);
    if (!this.#mayDiscard || length === 0) return done();
    this.#change("discard", offset, length, done, () => this.#giveBack(offset, length));
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: BlockCompletion): void {
    this.#check(offset, length);
    if (length === 0) return done();
    this.#change("zero", offset, length, done, () => {
      if (!this.#zeroByHost(offset, length, unmap && this.#mayDiscard)) this.#zeroByWriting(offset, length);
    });
  }

  close(done: BlockCompletion): void {
    if (!this.#closed) {
      this.#closed = true;
      this.#io.close();
      closeFd(this.#image.fd);
    }
    done();
  }

  /** @throws {RangeError} when the range does not lie on the image. */
  #check(offset: number, length: number): void {
    if (
      !Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 ||
      offset + length > this.size
    ) {
      throw new RangeError(`${length} bytes at ${offset} do not lie on ${this.#image.name} of ${this.size} bytes`);
    }
  }

  /** Runs `work` and reports how it went. `done` is called outside of it: its own errors are not the image's. */
  #attempt(what: string, offset: number, length: number, done: BlockCompletion, work: () => void): void {
    let failure: Error | undefined;
    try {
      work();
    } catch (cause) {
      failure = new Error(`Cannot ${what} ${length} bytes at ${offset} of ${this.#image.name}`, { cause });
    }
    done(failure);
  }

  /** A request that changes the image: durable at once where there is no write cache. */
  #change(what: string, offset: number, length: number, done: BlockCompletion, work: () => void): void {
    if (this.readOnly) return done(new Error(`Cannot ${what} ${this.#image.name}: it is open read-only`));
    this.#attempt(what, offset, length, done, () => {
      work();
      if (!this.writeCache) this.#sync();
    });
  }

  #sync(): void {
    if (!this.#ignoreFlush) syncData(this.#image.fd);
  }

  /** Advice: a host that cannot follow it is no error. */
  #giveBack(offset: number, length: number): void {
    const { fd, kind } = this.#image;
    try {
      if (kind === "file") allocateRange(fd, Fallocate.PUNCH_HOLE | Fallocate.KEEP_SIZE, offset, length);
      else this.#discardSectors(offset, length);
    } catch (error) {
      if (!isUnsupported(error)) throw error;
    }
  }

  /** Discards the whole sectors of the host device in the range. */
  #discardSectors(offset: number, length: number): void {
    const { fd } = this.#image;
    const sector = blockDeviceSectorSize(fd);
    const start = Math.ceil(offset / sector) * sector;
    const end = Math.floor((offset + length) / sector) * sector;
    if (start < end) blockDeviceDiscard(fd, start, end - start);
  }

  /** Has the host zero a range. @returns Whether it could. */
  #zeroByHost(offset: number, length: number, unmap: boolean): boolean {
    const { fd, kind } = this.#image;
    // With KEEP_SIZE a file does not grow into its padding, which reads as zeroes anyway.
    const mode = (unmap ? Fallocate.PUNCH_HOLE : Fallocate.ZERO_RANGE) | Fallocate.KEEP_SIZE;
    try {
      if (kind === "file") allocateRange(fd, mode, offset, length);
      else blockDeviceZero(fd, offset, length);
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
