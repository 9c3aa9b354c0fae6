/**
 * Moving bytes between memory and a raw image, through the host's page cache or around it.
 *
 * @module
 */
import { setDirectIo } from "../ffi/direct_io.ts";
import { SyscallError } from "../ffi/errno.ts";
import { readAt, writeAt } from "../ffi/file.ts";
import { mapAnonymous } from "../ffi/memory.ts";

/** Positioned I/O. Faults of the host are thrown. */
export interface RawIo {
  /** Fills `into`; what lies beyond the end of the file reads as zeroes. */
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  /** Gives memory back; the descriptor stays open. */
  close(): void;
}

function readPadded(fd: number, offset: number, into: Uint8Array): void {
  into.fill(0, readAt(fd, offset, into));
}

/** Through the page cache: any offset, length and buffer. */
export function bufferedIo(fd: number): RawIo {
  return {
    read: (offset, into) => readPadded(fd, offset, into),
    write: (offset, from) => writeAt(fd, offset, from),
    close() {},
  };
}

/** One step of direct I/O, and the size of the aligned buffer for it. */
const BOUNCE = 256 * 1024;

/**
 * Around the page cache, on a descriptor with O_DIRECT.
 *
 * The kernel wants offset, length and address aligned (open(2), "O_DIRECT"). Addresses of JavaScript's buffers never are,
 * so data pass through a mapped one. A request whose offset or length is not aligned, or that touches the end of a file
 * that is not, goes through the page cache instead; the kernel keeps the two coherent.
 *
 * @param alignment Bytes: see {@linkcode directAlignment}.
 * @param end Size of the file; beyond it, an aligned write would make the file longer than it should be.
 */
export function directIo(fd: number, alignment: number, end: () => number): RawIo {
  const bounce = mapAnonymous(BOUNCE);

  function isDirect(offset: number, length: number): boolean {
    return offset % alignment === 0 && length % alignment === 0 && offset + length <= end();
  }

  function steps(offset: number, buffer: Uint8Array, step: (at: number, part: Uint8Array) => void): void {
    for (let done = 0; done < buffer.length; done += BOUNCE) {
      step(offset + done, buffer.subarray(done, done + BOUNCE));
    }
  }

  function buffered(work: () => void): void {
    setDirectIo(fd, false);
    try {
      work();
    } finally {
      setDirectIo(fd, true);
    }
  }

  return {
    read(offset, into) {
      if (!isDirect(offset, into.length)) return buffered(() => readPadded(fd, offset, into));
      steps(offset, into, (at, part) => {
        const aligned = bounce.bytes.subarray(0, part.length);
        readPadded(fd, at, aligned);
        part.set(aligned);
      });
    },
    write(offset, from) {
      if (!isDirect(offset, from.length)) return buffered(() => writeAt(fd, offset, from));
      steps(offset, from, (at, part) => {
        const aligned = bounce.bytes.subarray(0, part.length);
        aligned.set(part);
        writeAt(fd, at, aligned);
      });
    },
    close: () => bounce.unmap(),
  };
}

const LARGEST_ALIGNMENT = 4096;

/**
 * The alignment of offsets and lengths that direct I/O on a regular file needs: the smallest with which it reads. File systems
 * go by the sector size of what lies below them, which nothing else tells reliably.
 *
 * @throws {SyscallError} when no reading works.
 */
export function directAlignment(fd: number, size: number): number {
  // Too small to try with; and all of its requests touch its end.
  if (size < LARGEST_ALIGNMENT) return LARGEST_ALIGNMENT;
  const probe = mapAnonymous(LARGEST_ALIGNMENT);
  try {
    for (let alignment = 512;; alignment *= 2) {
      try {
        readAt(fd, 0, probe.bytes.subarray(0, alignment));
        return alignment;
      } catch (error) {
        const misaligned = error instanceof SyscallError && error.code === "EINVAL";
        if (!misaligned || alignment === LARGEST_ALIGNMENT) throw error;
      }
    }
  } finally {
    probe.unmap();
  }
}
