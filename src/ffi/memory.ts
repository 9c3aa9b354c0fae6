/**
 * Memory mappings: guest RAM as an anonymous file (memfd), and views of what other processes share.
 *
 * @module
 */
import { checked, SyscallError } from "./errno.ts";
import { cString, syscalls } from "./syscall.ts";
import { closeFd, truncateFile } from "./file.ts";

/** Protection bits of mmap(2). */
export const Protection = { READ: 1, WRITE: 2 } as const;

const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;

const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;

/** What can be ruled out for a memory file, for good (fcntl(2), "File sealing"). */
export const Seal = {
  /** Further seals. */
  SEAL: 0x1,
  /** A smaller size: whoever maps the file can rely on every page. */
  SHRINK: 0x2,
  /** A larger size. */
  GROW: 0x4,
  /** Writing, but through mappings that are there already (Linux 5.1). */
  FUTURE_WRITE: 0x10,
} as const;

export const PAGE_SIZE = 4096;

/** A mapped range. It stays mapped until {@linkcode Mapping.unmap}; no view of it may be used after that. */
export interface Mapping {
  /** Where it is in this process. */
  readonly address: bigint;
  /** The mapping as bytes, and as the buffer behind them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Gives the range back. Calling it again does nothing. */
  unmap(): void;
}

function map(call: string, length: number, protection: number, flags: number, fd: number, offset: number): Mapping {
  if (!Number.isSafeInteger(length) || length <= 0) throw new RangeError(`${call}: ${length} bytes cannot be mapped`);
  const address = syscalls().mmap(0n, BigInt(length), protection, flags, fd, BigInt(offset));
  if (address < 0n && address > -4096n) throw new SyscallError(call, Number(-address));
  let mapped = true;
  return {
    address,
    bytes: bytesAt(address, length),
    unmap() {
      if (!mapped) return;
      mapped = false;
      checked("munmap", syscalls().munmap(address, BigInt(length)));
    },
  };
}

/**
 * Maps `length` bytes of a descriptor, shared with everyone who maps it.
 *
 * @param offset A multiple of 4096.
 * @param protection {@linkcode Protection} bits. @default {READ | WRITE}
 */
export function mapFile(
  fd: number,
  offset: number,
  length: number,
  protection: number = Protection.READ | Protection.WRITE,
): Mapping {
  return map(`mmap(${fd})`, length, protection, MAP_SHARED | MAP_NORESERVE, fd, offset);
}

/** Maps `length` bytes of zeroed memory of this process's own, page-aligned (as O_DIRECT and ioctl structures want it). */
export function mapAnonymous(length: number): Mapping {
  return map("mmap", length, Protection.READ | Protection.WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/**
 * The bytes of a range that another thread of this process has mapped.
 *
 * @param address What the other thread's {@linkcode Mapping.address} is; it must outlive every use of the result.
 */
export function bytesAt(address: bigint, length: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(BigInt.asUintN(64, address))!;
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}

/** Gives back a range that another thread of this process has mapped; no view of it may be used after that. */
export function unmapAt(address: bigint, length: number): void {
  checked("munmap", syscalls().munmap(address, BigInt(length)));
}

/**
 * Makes an anonymous file of `size` bytes.
 *
 * @param name Shown in /proc as `memfd:name`.
 * @param seal Whether its size can never change, so that a process that maps it can rely on every page.
 * @returns the descriptor.
 */
export function createMemoryFile(name: string, size: number, seal = true): number {
  if (!Number.isSafeInteger(size) || size <= 0 || size % PAGE_SIZE !== 0) {
    throw new RangeError(`A memory file cannot have ${size} bytes`);
  }
  const call = `memfd_create(${name})`;
  const fd = checked(call, syscalls().memfd_create(cString(name), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  try {
    truncateFile(fd, size);
    if (seal) addSeals(fd, Seal.SHRINK | Seal.GROW);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}

/** Adds {@linkcode Seal} bits to a memory file. */
export function addSeals(fd: number, seals: number): void {
  checked("fcntl(F_ADD_SEALS)", syscalls().fcntl(fd, F_ADD_SEALS, seals));
}

/**
 * The {@linkcode Seal} bits of a memory file.
 *
 * @throws {SyscallError} when the descriptor is not one of a file in memory.
 */
export function sealsOf(fd: number): number {
  return checked("fcntl(F_GET_SEALS)", syscalls().fcntl(fd, F_GET_SEALS, 0));
}

/** The address of a buffer's first byte, for structures that hold pointers. Slow (about 0.6 µs): cache it with the buffer. */
export function addressOf(buffer: BufferSource): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
}

const addresses = new WeakMap<ArrayBufferLike, number>();

/**
 * The address of a view's first byte, as a number, for system calls that outlast the call that starts them. It is looked up once for each
 * buffer; contents of buffers are never moved, and the view must be kept reachable for as long as the kernel uses them.
 */
export function lastingAddress(bytes: Uint8Array): number {
  // A small view may keep its bytes within itself until its buffer is asked for.
  const { buffer, byteOffset } = bytes;
  let address = addresses.get(buffer);
  if (address === undefined) {
    address = Number(addressOf(new Uint8Array(buffer) as Uint8Array<ArrayBuffer>));
    addresses.set(buffer, address);
  }
  return address + byteOffset;
}
