/**
 * Which offsets, lengths and addresses direct I/O takes.
 *
 * @module
 */
import { type DirectAlignment, directAlignment } from "../ffi/direct_io.ts";
import { SyscallError } from "../ffi/errno.ts";
import { blockDeviceSectorSize, readAt } from "../ffi/file.ts";
import { alignedBuffer } from "./aligned_buffers.ts";
import type { HostFile } from "./host_file.ts";

const SMALLEST = 512;
const LARGEST = 4096;

/**
 * Finds out what an open descriptor with O_DIRECT needs. Where the kernel does not say, a device goes by its sectors, and a file by what lies
 * below its file system: so the smallest size that can be read with is taken.
 *
 * @throws {SyscallError} when no reading works.
 */
export function probeAlignment(fd: number, kind: HostFile["kind"], size: number): DirectAlignment {
  const stated = directAlignment(fd);
  if (stated !== undefined) return stated;
  if (kind === "device") return both(blockDeviceSectorSize(fd));
  // Too small to try with.
  if (size < LARGEST) return both(LARGEST);
  const probe = alignedBuffer(LARGEST);
  for (let alignment = SMALLEST; alignment < LARGEST; alignment *= 2) {
    if (canRead(fd, probe.subarray(0, alignment))) return both(alignment);
  }
  readAt(fd, 0, probe);
  return both(LARGEST);
}

function both(alignment: number): DirectAlignment {
  return { offset: alignment, memory: alignment };
}

function canRead(fd: number, into: Uint8Array): boolean {
  try {
    readAt(fd, 0, into);
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "EINVAL") return false;
    throw error;
  }
}
