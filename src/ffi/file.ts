/**
 * Descriptors and files: open, positioned I/O, size, allocation, durability.
 *
 * Offsets and lengths are bytes, as safe integers. Every function throws a {@linkcode SyscallError} that names the call;
 * functions that name a path or descriptor put it into the message.
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { createEventFd } from "./event.ts";
import { cString, retrying, syscalls } from "./syscall.ts";

/** Flags of open(2) (asm-generic/fcntl.h; O_DIRECT and O_DIRECTORY as x86 has them). */
export const OpenFlags = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DSYNC: 0o10000,
  O_DIRECT: 0o40000,
  O_NOFOLLOW: 0o400000,
  O_CLOEXEC: 0o2000000,
  O_PATH: 0o10000000,
} as const;

/** File types in the `st_mode` of stat(2) (linux/stat.h). */
export const FileType = {
  MASK: 0o170000,
  SOCKET: 0o140000,
  REGULAR: 0o100000,
  BLOCK_DEVICE: 0o060000,
  DIRECTORY: 0o040000,
  CHARACTER_DEVICE: 0o020000,
  FIFO: 0o010000,
} as const;

/** Modes of fallocate(2) (linux/falloc.h). */
export const Fallocate = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const;

/** Requests of the block layer (linux/fs.h). */
const BLKSSZGET = 0x1268;
const BLKGETSIZE64 = 0x80081272;
const BLKDISCARD = 0x1277;
const BLKZEROOUT = 0x127f;

const F_DUPFD_CLOEXEC = 1030;
const F_GETFD = 1;
const FD_CLOEXEC = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BTIME = 0x800;
/** The kernel moves at most 2 GiB - 4 KiB in a call; a smaller step keeps results in an i32 with room to spare. */
const MAX_TRANSFER = 1 << 30;

/** What fstat(2) says, as far as splitvm asks. */
export interface FileStatus {
  /** Identifies the file together with {@linkcode inode}. */
  readonly device: bigint;
  readonly inode: bigint;
  /** `st_mode`: compare `mode & FileType.MASK` with {@linkcode FileType}. */
  readonly mode: number;
  /** `st_rdev`: which device a device node stands for. */
  readonly deviceNumber: bigint;
  /** Size in bytes of a regular file; 0 for a block device. */
  readonly size: number;
  /** Bytes that the file takes on its file system. */
  readonly allocated: number;
}

/** Opens a file; O_CLOEXEC is always added. @returns the descriptor. */
export function openFile(path: string, flags: number, mode = 0o600): number {
  const name = cString(path);
  return retrying(
    `open(${path})`,
    () => syscalls().openat(AT_FDCWD, name, flags | OpenFlags.O_CLOEXEC, mode),
  );
}

/** linux/openat2.h */
const RESOLVE_NO_MAGICLINKS = 2;

/**
 * {@linkcode openFile} for a path that somebody else has made up: links below /proc that lead to what a process has open are not followed,
 * on kernels that can tell (5.6).
 *
 * @throws {SyscallError} ELOOP for such a link.
 */
export function openForeignPath(path: string, flags: number): number {
  const name = cString(path);
  // struct open_how: u64 flags, mode, resolve
  const how = BigUint64Array.of(BigInt(flags | OpenFlags.O_CLOEXEC), 0n, BigInt(RESOLVE_NO_MAGICLINKS));
  try {
    return retrying(`open(${path})`, () => syscalls().openat2(AT_FDCWD, name, how, BigInt(how.byteLength)));
  } catch (error) {
    // Filters of containers answer EPERM for calls that they do not know.
    if (!(error instanceof SyscallError) || (error.code !== "ENOSYS" && error.code !== "EPERM")) throw error;
    return openFile(path, flags);
  }
}

/** Closes a descriptor. Errors are dropped: the descriptor is gone in any case (close(2), "Dealing with errors"). */
export function closeFd(fd: number): void {
  syscalls().close(fd);
}

/** Takes a file's name off its folder. */
export function unlinkFile(path: string): void {
  const name = cString(path);
  checked(`unlink(${path})`, syscalls().unlinkat(AT_FDCWD, name, 0));
}

/** Duplicates a descriptor, close-on-exec, to the lowest free number not below `atLeast`. */
export function duplicateFd(fd: number, atLeast = 3): number {
  return checked(`fcntl(${fd}, F_DUPFD_CLOEXEC)`, syscalls().fcntl(fd, F_DUPFD_CLOEXEC, atLeast));
}

/**
 * Makes sure that this process may open so many descriptors more.
 *
 * @throws {SyscallError} EMFILE when it may not (RLIMIT_NOFILE); ENFILE when the host has no more.
 */
export function requireDescriptors(count: number): void {
  const taken = [createEventFd()];
  try {
    while (taken.length < count) taken.push(duplicateFd(taken[0], 0));
  } finally {
    taken.forEach(closeFd);
  }
}

/**
 * Makes `number` lead to where `fd` does, close-on-exec. That is one step for every thread of this process: a call that uses the number
 * reaches either the old file or the new one.
 */
export function redirectFd(fd: number, number: number): void {
  retrying(`dup3(${fd}, ${number})`, () => syscalls().dup3(fd, number, OpenFlags.O_CLOEXEC));
}

/** Makes a pipe, close-on-exec. @returns its reading and its writing end. */
export function createPipe(): [number, number] {
  const ends = new Int32Array(2);
  checked("pipe2", syscalls().pipe2(ends, OpenFlags.O_CLOEXEC));
  return [ends[0], ends[1]];
}

/** Whether `fd` is an open descriptor of this process. */
export function isOpenFd(fd: number): boolean {
  return syscalls().fcntl(fd, F_GETFL, 0) >= 0;
}

/**
 * Whether `fd` is open and came from whoever started this process: what is inherited was not close-on-exec, and what a process opens for
 * itself here always is.
 */
export function isInheritedFd(fd: number): boolean {
  const flags = syscalls().fcntl(fd, F_GETFD, 0);
  return flags >= 0 && (flags & FD_CLOEXEC) === 0;
}

/** The status flags of an open descriptor ({@linkcode OpenFlags}; access mode in the low two bits). */
export function statusFlags(fd: number): number {
  return checked(`fcntl(${fd}, F_GETFL)`, syscalls().fcntl(fd, F_GETFL, 0));
}

/** Switches O_NONBLOCK. It belongs to the open file, so every duplicate of the descriptor changes with it. */
export function setNonblocking(fd: number, nonblocking: boolean): void {
  const flags = statusFlags(fd) & ~OpenFlags.O_NONBLOCK;
  const wanted = nonblocking ? flags | OpenFlags.O_NONBLOCK : flags;
  checked(`fcntl(${fd}, F_SETFL)`, syscalls().fcntl(fd, F_SETFL, wanted));
}

/** The status of an open file. */
export function fileStatus(fd: number): FileStatus {
  // struct stat, asm/stat.h (x86-64): st_dev @0, st_ino @8, st_mode @24, st_rdev @40, st_size @48,
  // st_blocks @64, in units of 512 bytes; 144 bytes.
  const stat = new DataView(new ArrayBuffer(144));
  checked(`fstat(${fd})`, syscalls().fstat(fd, stat));
  return {
    device: stat.getBigUint64(0, true),
    inode: stat.getBigUint64(8, true),
    mode: stat.getUint32(24, true),
    deviceNumber: stat.getBigUint64(40, true),
    size: Number(stat.getBigInt64(48, true)),
    allocated: Number(stat.getBigInt64(64, true)) * 512,
  };
}

/**
 * When an open file was made, in nanoseconds since 1970, where its file system keeps that (statx(2), STATX_BTIME). It tells two files apart of
 * which one was given the other's inode.
 */
export function birthTime(fd: number): bigint | undefined {
  // struct statx: stx_mask @0, stx_btime.tv_sec @80, stx_btime.tv_nsec @88; 256 bytes.
  const status = new DataView(new ArrayBuffer(256));
  if (syscalls().statx(fd, cString(""), AT_EMPTY_PATH, STATX_BTIME, status) < 0) return undefined;
  if ((status.getUint32(0, true) & STATX_BTIME) === 0) return undefined;
  return status.getBigInt64(80, true) * 1_000_000_000n + BigInt(status.getUint32(88, true));
}

/** The type of the file system that an open file is on (linux/magic.h). */
export function fileSystemType(fd: number): number {
  const statfs = new DataView(new ArrayBuffer(120)); // struct statfs, asm-generic/statfs.h: f_type @0
  checked(`fstatfs(${fd})`, syscalls().fstatfs(fd, statfs));
  return Number(statfs.getBigInt64(0, true));
}

/** Reads once. @returns bytes read; 0 at the end; `-1` when a non-blocking descriptor has nothing. */
export function readFd(fd: number, into: Uint8Array<ArrayBuffer>): number {
  return orWouldBlock(
    `read(${fd})`,
    () => syscalls().read(fd, into, Math.min(into.length, MAX_TRANSFER)),
  );
}

/** Writes once. @returns bytes written; `-1` when a non-blocking descriptor is full. */
export function writeFd(fd: number, from: Uint8Array<ArrayBuffer>): number {
  return orWouldBlock(
    `write(${fd})`,
    () => syscalls().write(fd, from, Math.min(from.length, MAX_TRANSFER)),
  );
}

function orWouldBlock(call: string, attempt: () => number): number {
  for (;;) {
    const result = attempt();
    if (result >= 0) return result;
    if (result === -Errno.EAGAIN) return -1;
    if (result !== -Errno.EINTR) throw new SyscallError(call, -result);
  }
}

/** Reads at an offset until `into` is full or the file ends. @returns bytes read. */
export function readAt(fd: number, offset: number, into: Uint8Array): number {
  return transferAt(`pread(${fd})`, offset, into, (part, at) => syscalls().pread(fd, part, part.length, at));
}

/** Writes all of `from` at an offset. */
export function writeAt(fd: number, offset: number, from: Uint8Array): void {
  const written = transferAt(
    `pwrite(${fd})`,
    offset,
    from,
    (part, at) => syscalls().pwrite(fd, part, part.length, at),
  );
  if (written < from.length) throw new SyscallError(`pwrite(${fd})`, Errno.EIO);
}

function transferAt(
  call: string,
  offset: number,
  buffer: Uint8Array,
  step: (part: Uint8Array<ArrayBuffer>, at: bigint) => number,
): number {
  let done = 0;
  while (done < buffer.length) {
    const end = Math.min(buffer.length, done + MAX_TRANSFER);
    const part = buffer.subarray(done, end) as Uint8Array<ArrayBuffer>;
    const moved = retrying(call, () => step(part, BigInt(offset + done)));
    if (moved === 0) break;
    done += moved;
  }
  return done;
}

/** Waits until the file's data, and the metadata needed to find them, are on stable storage. */
export function syncData(fd: number): void {
  retrying(`fdatasync(${fd})`, () => syscalls().fdatasync(fd));
}

/**
 * The names in a directory, without `.` and `..`, in the order in which the kernel gives them.
 *
 * Deno's own `readDirSync` asks for every permission before it lists anything below /proc.
 */
export function listDirectory(path: string): string[] {
  const fd = openFile(path, OpenFlags.O_RDONLY);
  const entries = new DataView(new ArrayBuffer(32768));
  const names: string[] = [];
  try {
    for (;;) {
      const length = checked(`getdents64(${path})`, syscalls().getdents64(fd, entries, entries.byteLength));
      if (length === 0) return names;
      // struct linux_dirent64: u64 d_ino @0, s64 d_off @8, u16 d_reclen @16, u8 d_type @18, char d_name[] @19
      for (let at = 0; at < length; at += entries.getUint16(at + 16, true)) {
        const text = new Uint8Array(entries.buffer, at + 19, entries.getUint16(at + 16, true) - 19);
        const name = new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
        if (name !== "." && name !== "..") names.push(name);
      }
    }
  } finally {
    closeFd(fd);
  }
}

/** The text of a file, also below /proc and /sys, where Deno's own functions ask for every permission. */
export function readTextFile(path: string): string {
  const fd = openFile(path, OpenFlags.O_RDONLY);
  try {
    const decoder = new TextDecoder();
    const piece = new Uint8Array(65536);
    let text = "";
    for (let length; (length = readFd(fd, piece)) > 0;) {
      text += decoder.decode(piece.subarray(0, length), { stream: true });
    }
    return text;
  } finally {
    closeFd(fd);
  }
}

/** What a symbolic link points to, cut off at 4096 bytes; below /proc, which Deno's own `readLinkSync` does not read. */
export function readLink(path: string): string {
  const target = new Uint8Array(4096);
  const name = cString(path);
  const call = `readlink(${path})`;
  const length = checked(call, syscalls().readlinkat(AT_FDCWD, name, target, target.length));
  return new TextDecoder().decode(target.subarray(0, length));
}

/** Sets a file's size. */
export function truncateFile(fd: number, size: number): void {
  retrying(`ftruncate(${fd})`, () => syscalls().ftruncate(fd, BigInt(size)));
}

/** Allocates, punches or zeroes a range: see {@linkcode Fallocate}. EOPNOTSUPP where the file system cannot. */
export function allocateRange(fd: number, mode: number, offset: number, length: number): void {
  retrying(`fallocate(${fd})`, () => syscalls().fallocate(fd, mode, BigInt(offset), BigInt(length)));
}

/** Size in bytes of an open block device. */
export function blockDeviceSize(fd: number): number {
  const size = new BigUint64Array(1);
  checked(`ioctl(${fd}, BLKGETSIZE64)`, syscalls().ioctl_buffer(fd, BLKGETSIZE64, size));
  return Number(size[0]);
}

/** Logical sector size in bytes of an open block device: the alignment that O_DIRECT needs there. */
export function blockDeviceSectorSize(fd: number): number {
  const size = new Int32Array(1);
  checked(`ioctl(${fd}, BLKSSZGET)`, syscalls().ioctl_buffer(fd, BLKSSZGET, size));
  return size[0];
}

/** Tells a block device that a range's contents are not needed. */
export function blockDeviceDiscard(fd: number, offset: number, length: number): void {
  blockDeviceRange(fd, "BLKDISCARD", BLKDISCARD, offset, length);
}

/** Makes a range of a block device read as zeroes. */
export function blockDeviceZero(fd: number, offset: number, length: number): void {
  blockDeviceRange(fd, "BLKZEROOUT", BLKZEROOUT, offset, length);
}

function blockDeviceRange(fd: number, name: string, request: number, offset: number, length: number): void {
  const range = BigUint64Array.of(BigInt(offset), BigInt(length));
  retrying(`ioctl(${fd}, ${name})`, () => syscalls().ioctl_buffer(fd, request, range));
}
