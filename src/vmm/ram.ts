/**
 * Guest RAM: one memfd, mapped once, that KVM, the VMM's devices and the device processes share.
 *
 * @module
 */
import { bytesAt, createMemoryFile, mapFile } from "../ffi/memory.ts";
import { closeFd } from "../ffi/file.ts";
import { GuestMemory } from "../device/guest_memory.ts";
import { RamLayout, type RamSplit, splitRam } from "./layout.ts";

/** What another thread needs to use the same RAM: plain data. */
export interface RamHandle {
  /** The memfd; guest-physical order without the gap below 4 GiB. */
  readonly fd: number;
  /** Where byte 0 of the memfd is mapped in this process. */
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
}

/** A run of guest-physical addresses that is RAM, and where it is in the memfd. */
export interface RamRange {
  readonly gpa: number;
  readonly size: number;
  readonly offset: number;
}

/** Guest RAM as one thread sees it. */
export interface GuestRam {
  readonly handle: RamHandle;
  readonly split: RamSplit;
  /** RAM by guest-physical address, whatever the chipset currently shows of it below 1 MiB. */
  readonly memory: GuestMemory;
}

/**
 * Makes guest RAM. It lives until the process ends. Whoever uses it calls {@linkcode attachRam}, once in a thread: to
 * V8 it is memory that the thread has allocated, upon which it collects garbage.
 *
 * @param size Bytes, a multiple of 4096.
 * @param name Shown in /proc.
 * @param seal Whether the memfd's size can never change.
 */
export function createRam(size: number, name: string, seal: boolean): RamHandle {
  try {
    const fd = createMemoryFile(name, size, seal);
    try {
      return { fd, address: mapFile(fd, 0, size).address, size };
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  } catch (cause) {
    throw new Error(`Cannot make ${size / 0x100000} MiB of guest RAM`, { cause });
  }
}

/** Guest RAM that another thread made. */
export function attachRam(handle: RamHandle): GuestRam {
  const split = splitRam(handle.size);
  const bytes = bytesAt(handle.address, handle.size);
  const memory = new GuestMemory([
    { gpa: 0, bytes: bytes.subarray(0, split.low) },
    { gpa: RamLayout.HIGH_BASE, bytes: bytes.subarray(split.low) },
  ]);
  return { handle, split, memory };
}
