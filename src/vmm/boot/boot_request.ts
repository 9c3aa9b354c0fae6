/**
 * What boot loaders are given, and what they share: where their own data goes, and where a kernel may go.
 *
 * @module
 */

import type { GuestMemory } from "../../device/guest_memory.ts";
import { type E820Entry, E820Type } from "../e820.ts";

/** A kernel, initrd or firmware image that cannot be used. The message goes on after the file's name: `has …`, `is …`. */
export class BootImageError extends Error {
  override name = "BootImageError";
}

/** Everything but the kernel itself. */
export interface BootRequest {
  /** Guest RAM. */
  readonly memory: GuestMemory;
  /** The map that the guest is told. All that is loaded goes into its usable ranges. See `kernelE820`. */
  readonly e820: readonly E820Entry[];
  /** The kernel's command line. */
  readonly commandLine: string;
  /** The initial RAM disk. */
  readonly initrd?: Uint8Array;
  /** Guest-physical address of ACPI's RSDP. @default {0} for none */
  readonly rsdpAddress?: number;
}

/** A half-open range of guest-physical addresses. */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Where boot loaders put their own data: in conventional memory, above the real-mode vectors and the BIOS data area,
 * and below any kernel. Guests are told through pointers, so the choice is free.
 */
export const BootLayout = {
  GDT: 0x500,
  /** PVH's start info, then its module list and memory map: one page. */
  START_INFO: 0x1000,
  START_INFO_SIZE: 0x1000,
  /** Linux's `struct boot_params`: one page. */
  BOOT_PARAMS: 0x2000,
  /** One PML4, one page directory pointer table, four page directories. */
  PAGE_TABLES: 0x3000,
  COMMAND_LINE: 0x1_0000,
  COMMAND_LINE_SIZE: 0x1_0000,
  /** Kernels begin here or above. */
  END: 0x2_0000,
} as const;

/** Kernels and initrds are placed below this: what 32-bit entry code and the identity map reach. */
export const LOAD_LIMIT = 0x1_0000_0000;

const PAGE_SIZE = 0x1000;

/** Text for an address range in messages. */
export function showRange({ start, end }: AddressRange): string {
  return `0x${start.toString(16)}-0x${(end - 1).toString(16)}`;
}

/** The ranges that a kernel or initrd may occupy, by ascending address: usable, below 4 GiB, not taken by the loaders. */
export function loadableRanges(e820: readonly E820Entry[]): AddressRange[] {
  return e820.filter((entry) => entry.type === E820Type.USABLE)
    .map(({ base, size }) => ({
      start: Math.max(base, BootLayout.END),
      end: Math.min(base + size, LOAD_LIMIT),
    }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start);
}

/** Whether one of `ranges` holds all of `wanted`. */
export function holds(ranges: readonly AddressRange[], wanted: AddressRange): boolean {
  return ranges.some(({ start, end }) => wanted.start >= start && wanted.end <= end);
}

/** Takes `taken` out of `ranges`. */
export function without(ranges: readonly AddressRange[], taken: AddressRange): AddressRange[] {
  return ranges.flatMap((
    { start, end },
  ) => [{ start, end: Math.min(end, taken.start) }, { start: Math.max(start, taken.end), end }]).filter((
    { start, end },
  ) => start < end);
}

/**
 * Writes the command line, NUL-terminated, as UTF-8.
 *
 * @param maxLength The kernel's own limit in bytes, without the NUL.
 * @returns Its length in bytes, without the NUL.
 */
export function writeCommandLine(request: BootRequest, maxLength = Infinity): number {
  const text = new TextEncoder().encode(request.commandLine);
  const limit = Math.min(maxLength, BootLayout.COMMAND_LINE_SIZE - 1);
  if (text.length > limit) {
    throw new BootImageError(`takes a command line of at most ${limit} bytes, and this one has ${text.length}`);
  }
  if (text.includes(0)) throw new BootImageError("cannot be given a command line with a NUL in it");
  const bytes = new Uint8Array(text.length + 1);
  bytes.set(text);
  writeBootData(request.memory, BootLayout.COMMAND_LINE, bytes);
  return text.length;
}

/**
 * Places the initrd as high as it goes, so that it is out of the way of a kernel that unpacks itself.
 *
 * @param free Where it may go.
 * @param limit The last address that it may occupy, plus one.
 * @returns Where it is, or `undefined` when there is none.
 */
export function loadInitrd(
  request: BootRequest,
  free: readonly AddressRange[],
  limit = LOAD_LIMIT,
): AddressRange | undefined {
  const { initrd, memory } = request;
  if (initrd === undefined || initrd.length === 0) return undefined;
  for (const range of [...free].reverse()) {
    const start = Math.floor((Math.min(range.end, limit) - initrd.length) / PAGE_SIZE) * PAGE_SIZE;
    if (start < range.start) continue;
    if (!memory.write(start, initrd)) throw new BootImageError(`needs an initrd at ${hex(start)}, where no RAM is`);
    return { start, end: start + initrd.length };
  }
  throw new BootImageError(`does not fit into RAM together with its initrd of ${initrd.length} bytes`);
}

/** Writes the loaders' own data. */
export function writeBootData(memory: GuestMemory, address: number, bytes: Uint8Array): void {
  if (!memory.write(address, bytes)) throw new BootImageError(`needs RAM at ${hex(address)} for its boot data`);
}

/** An address for messages. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
