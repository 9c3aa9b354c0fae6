/**
 * Opening and making the files and block devices that images lie in: what they are, whether they may be used, and locked against
 * other programs.
 *
 * @module
 */
import {
  blockDeviceSectorSize,
  blockDeviceSize,
  closeFd,
  fileStatus,
  FileType,
  OpenFlags,
  setNonblocking,
  statusFlags,
  truncateFile,
} from "../ffi/file.ts";
import { FileOperation } from "../ffi/blocking_io.ts";
import { setDirectIo } from "../ffi/direct_io.ts";
import { SyscallError } from "../ffi/errno.ts";
import type { EventLoop } from "../event_loop.ts";
import { type AioMode, CACHE_POLICIES, type CacheMode } from "../options/storage.ts";
import type { HostFile } from "./host_file.ts";
import { type ImageUse, lockImage } from "./image_lock.ts";
import { BouncePool } from "./aligned_buffers.ts";
import { BufferedIo } from "./buffered_io.ts";
import { probeAlignment } from "./direct_alignment.ts";
import { DirectIo } from "./direct_io.ts";
import { EngineFile, type EngineFileOptions } from "./engine_file.ts";
import { FileIo } from "./file_io.ts";
import { leaseEngine } from "./io_engine.ts";
import { describeOtherType, openNamedPath, openPath } from "./open_path.ts";

/** How a file is opened. */
export interface HostFileOptions {
  /** Where its requests complete. */
  readonly loop: EventLoop;
  /** @default {false} */
  readonly readOnly?: boolean;
  /**
   * QEMU's `cache=`: whether the host's page cache is bypassed, and whether `sync` does anything. That writes go through to stable storage
   * (`writethrough`, `directsync`) is up to the image format. @default {"writeback"}
   */
  readonly cache?: CacheMode;
  /** QEMU's `aio=`: see `leaseEngine`. @default {io_uring where the kernel has it, or else threads} */
  readonly aio?: AioMode;
  /**
   * Reads beside a program that writes (`qemu-img -U`); what is read may be torn then. Only with `readOnly`.
   *
   * @default {false}
   */
  readonly forceShare?: boolean;
  /** Whether an image names the file, and not a user: see {@linkcode openNamedPath}. @default {false} */
  readonly named?: boolean;
}

/** The largest file: offsets are safe integers, up to the end of the last block of any size. */
const LARGEST = 2 ** 53 - 65536;

/** What is asked of a block device besides the operations of every file. */
const DEVICE_OPERATIONS = [FileOperation.DISCARD, FileOperation.ZERO_OUT];

/**
 * Opens a file or block device, and locks it against other programs, QEMU included.
 *
 * @param target A path, or an open descriptor, which then belongs to the result.
 * @throws {Error} naming the file and what is wrong with it; a descriptor then stays open.
 */
export function openHostFile(target: string | number, options: HostFileOptions): HostFile {
  const access = options.readOnly ? OpenFlags.O_RDONLY : OpenFlags.O_RDWR;
  const name = typeof target === "string" ? target : `descriptor ${target}`;
  const open = (path: string) => options.named ? openNamedPath(path, access) : openPath("open", path, access);
  const fd = typeof target === "string" ? open(target) : target;
  try {
    return adopt(fd, name, options);
  } catch (error) {
    if (typeof target === "string") closeFd(fd);
    if (error instanceof SyscallError) throw new Error(`Cannot open ${name}: ${error.message}`, { cause: error });
    throw error;
  }
}

/**
 * Makes an empty file, or empties one that is there, once it is locked; a block device is opened as it is.
 *
 * @throws {Error} as {@linkcode openHostFile}.
 */
export function createHostFile(
  path: string,
  options: Omit<HostFileOptions, "readOnly" | "forceShare" | "named">,
): HostFile {
  const fd = openPath("create", path, OpenFlags.O_RDWR | OpenFlags.O_CREAT, 0o644);
  try {
    return adopt(fd, path, options, true);
  } catch (error) {
    closeFd(fd);
    if (error instanceof SyscallError) throw new Error(`Cannot create ${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Makes an open descriptor, which nothing has been checked of, a {@linkcode HostFile}. */
function adopt(fd: number, name: string, options: HostFileOptions, empty = false): HostFile {
  const { readOnly = false, cache = "writeback", forceShare = false } = options;
  if (forceShare && !readOnly) throw new TypeError("A file is not shared by force to be written");
  const policy = CACHE_POLICIES[cache];
  const kind = identify(fd, name);
  checkAccess(fd, name, readOnly);
  switchDirectIo(fd, name, policy.direct);
  lock(fd, name, readOnly ? "read" : "write", forceShare);
  if (empty && kind === "file") truncateFile(fd, 0);
  const size = kind === "file" ? fileStatus(fd).size : blockDeviceSize(fd);
  if (size > LARGEST) throw new Error(`Cannot open ${name}: its size of ${size} bytes is beyond 8 PiB`);
  const granularity = kind === "file" ? 1 : blockDeviceSectorSize(fd);
  const bytes = policy.direct
    ? directBytes(fd, kind, size)
    : (io: FileIo, size: () => number) => new BufferedIo(io, size);
  const lease = leaseFor(name, options);
  if (!readOnly) lease.expect(kind === "file" ? [FileOperation.TRUNCATE] : DEVICE_OPERATIONS);
  const io = new FileIo(name, fd, lease, forceShare ? noteUnlocked(fd) : undefined);
  return new EngineFile({
    kind,
    readOnly,
    size,
    granularity,
    ignoreSync: policy.ignoreFlush,
    cached: !policy.direct,
    io,
    bytes,
  });
}

function directBytes(fd: number, kind: HostFile["kind"], fileSize: number): EngineFileOptions["bytes"] {
  const alignment = probeAlignment(fd, kind, fileSize);
  return (io, size) => new DirectIo({ io, alignment, buffers: new BouncePool(), size });
}

function leaseFor(name: string, { loop, aio }: HostFileOptions) {
  try {
    return leaseEngine(loop, aio);
  } catch (error) {
    throw new Error(`Cannot open ${name}: ${(error as Error).message}`, { cause: error });
  }
}

function identify(fd: number, name: string): HostFile["kind"] {
  const type = fileStatus(fd).mode & FileType.MASK;
  const otherType = describeOtherType(type);
  if (otherType !== undefined) throw new Error(`Cannot open ${name}: ${otherType}`);
  setNonblocking(fd, false);
  return type === FileType.REGULAR ? "file" : "device";
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

/** Files that this process reads without a lock, by identity, and how often: it must not write to one of them. */
const unlocked = new Map<string, number>();

/** What tells an open file from all others. The nodes of one block device are one. */
export function identityOf(fd: number): string {
  const { mode, device, inode, deviceNumber } = fileStatus(fd);
  return (mode & FileType.MASK) === FileType.BLOCK_DEVICE ? `device ${deviceNumber}` : `${device}:${inode}`;
}

/** @returns what ends it. */
function noteUnlocked(fd: number): () => void {
  const identity = identityOf(fd);
  const times = () => unlocked.get(identity) ?? 0;
  unlocked.set(identity, times() + 1);
  return () => {
    if (times() === 1) unlocked.delete(identity);
    else unlocked.set(identity, times() - 1);
  };
}

function lock(fd: number, name: string, use: Exclude<ImageUse, "share">, forceShare: boolean): void {
  const isReadHere = use === "write" && unlocked.has(identityOf(fd));
  if (!isReadHere && lockImage(fd, forceShare ? "share" : use)) return;
  throw new Error(`Cannot open ${name}: it is in use already, by this or another program`);
}
