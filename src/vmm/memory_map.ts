/**
 * What the guest finds at each physical address: RAM, read-only RAM, firmware, or nothing (an exit to the VMM).
 *
 * The map is a fixed list of KVM memory slots, so that any vCPU thread can change one without bookkeeping of its own: what each legacy
 * segment last was is kept in shared memory.
 *
 * @module
 */
import type { KvmVm } from "../ffi/kvm.ts";
import { KvmMemoryFlags } from "../ffi/kvm_abi.ts";
import { LegacyRegion, RamLayout } from "./layout.ts";
import type { GuestRam, RamRange } from "./ram.ts";

/** Firmware as the chipset decodes it: ending at 4 GiB, and its last part again below 1 MiB. */
export interface FirmwareImage {
  /** Where the image is mapped in this process; page-aligned. */
  readonly address: bigint;
  /** Bytes: a multiple of 4096. */
  readonly size: number;
  /** First guest-physical address. */
  readonly gpa: number;
  /** First guest-physical address of the alias that ends at 1 MiB. */
  readonly aliasGpa: number;
}

/** How the memory controller treats a legacy segment (MCH, PAM registers). */
export interface SegmentAccess {
  /** Reads come from RAM; otherwise from the firmware's alias, or from nowhere. */
  readonly read: boolean;
  /** Writes go to RAM; otherwise they are dropped. */
  readonly write: boolean;
}

/** Smallest unit in which a segment changes: PAM registers steer 16, 32 and 64 KiB. */
export const SEGMENT_SIZE = 0x4000;
/** Number of segments between {@linkcode LegacyRegion.PAM_BASE} and 1 MiB. */
export const SEGMENT_COUNT = (LegacyRegion.PAM_END - LegacyRegion.PAM_BASE) / SEGMENT_SIZE;

const Slot = { CONVENTIONAL: 0, EXTENDED: 1, HIGH: 2, FIRMWARE: 3, SEGMENTS: 4 } as const;

const READ = 1;
const WRITE = 2;

/** What takes memory slots. */
export type SlotHost = Pick<KvmVm, "setMemoryRegion">;

/** The guest-physical memory map of a machine, as one thread drives it. */
export class MemoryMap {
  readonly #vm: SlotHost;
  readonly #ram: GuestRam;
  readonly #firmware: FirmwareImage | undefined;
  readonly #segments: Uint8Array;

  /**
   * @param segments {@linkcode SEGMENT_COUNT} bytes that all threads share: what each legacy segment is. Zero at first.
   * @param firmware `undefined` for a machine that boots a kernel directly.
   */
  constructor(vm: SlotHost, ram: GuestRam, firmware: FirmwareImage | undefined, segments: Uint8Array) {
    this.#vm = vm;
    this.#ram = ram;
    this.#firmware = firmware;
    this.#segments = segments;
  }

  /** Sets every slot for the first time; the legacy segments read the firmware (PAM's reset value). */
  install(): void {
    const { split, handle } = this.#ram;
    const slots: [slot: number, gpa: number, size: number, address: bigint, flags: number][] = [
      [Slot.CONVENTIONAL, 0, Math.min(split.low, RamLayout.CONVENTIONAL_END), handle.address, 0],
    ];
    const extended = split.low - RamLayout.EXTENDED_BASE;
    if (extended > 0) {
      const address = handle.address + BigInt(RamLayout.EXTENDED_BASE);
      slots.push([Slot.EXTENDED, RamLayout.EXTENDED_BASE, extended, address, 0]);
    }
    if (split.high > 0) {
      slots.push([Slot.HIGH, RamLayout.HIGH_BASE, split.high, handle.address + BigInt(split.low), 0]);
    }
    const firmware = this.#firmware;
    if (firmware !== undefined) {
      slots.push([Slot.FIRMWARE, firmware.gpa, firmware.size, firmware.address, KvmMemoryFlags.READONLY]);
    }
    for (const [slot, gpa, size, address, flags] of slots) this.#vm.setMemoryRegion(slot, flags, gpa, size, address);
    for (let segment = 0; segment < SEGMENT_COUNT; segment++) this.#placeSegment(segment, 0);
  }

  /**
   * Changes how a legacy range is treated.
   *
   * @param gpa A multiple of {@linkcode SEGMENT_SIZE} from {@linkcode LegacyRegion.PAM_BASE}.
   * @param size A multiple of {@linkcode SEGMENT_SIZE}.
   * @returns whether {@linkcode ramRanges} is different now.
   */
  setSegments(gpa: number, size: number, access: SegmentAccess): boolean {
    const wanted = (access.read ? READ : 0) | (access.write ? WRITE : 0);
    const first = (gpa - LegacyRegion.PAM_BASE) / SEGMENT_SIZE;
    let ramChanged = false;
    for (let segment = first; segment < first + size / SEGMENT_SIZE; segment++) {
      const before = this.#segments[segment];
      if (before === wanted) continue;
      if (((before ^ wanted) & READ) !== 0) ramChanged = true;
      this.#removeSegment(segment, before);
      this.#placeSegment(segment, wanted);
    }
    return ramChanged;
  }

  /**
   * A guest's write to a legacy segment that has no writable slot: RAM takes it where the segment reads firmware but writes RAM,
   * which is how firmware copies itself into shadow RAM.
   */
  writeSegment(gpa: number, bytes: Uint8Array): void {
    const segment = Math.floor((gpa - LegacyRegion.PAM_BASE) / SEGMENT_SIZE);
    if ((this.#segments[segment] & WRITE) !== 0) this.#ram.memory.write(gpa, bytes);
  }

  /** What the guest reads as RAM now, and so what devices may reach: merged, by ascending address. */
  ramRanges(): RamRange[] {
    const { split } = this.#ram;
    const ranges: RamRange[] = [];
    const add = (gpa: number, size: number, offset: number) => {
      const last = ranges.at(-1);
      if (size <= 0) return;
      if (last !== undefined && last.gpa + last.size === gpa && last.offset + last.size === offset) {
        ranges[ranges.length - 1] = { ...last, size: last.size + size };
      } else {
        ranges.push({ gpa, size, offset });
      }
    };
    add(0, Math.min(split.low, RamLayout.CONVENTIONAL_END), 0);
    for (let segment = 0; segment < SEGMENT_COUNT; segment++) {
      const gpa = LegacyRegion.PAM_BASE + segment * SEGMENT_SIZE;
      if ((this.#segments[segment] & READ) !== 0) add(gpa, SEGMENT_SIZE, gpa);
    }
    add(RamLayout.EXTENDED_BASE, split.low - RamLayout.EXTENDED_BASE, RamLayout.EXTENDED_BASE);
    add(RamLayout.HIGH_BASE, split.high, split.low);
    return ranges;
  }

  #removeSegment(segment: number, access: number): void {
    // KVM changes neither the address nor the read-only flag of a slot in place.
    if (this.#segmentMemory(segment, access) !== undefined) {
      this.#vm.setMemoryRegion(Slot.SEGMENTS + segment, 0, this.#segmentGpa(segment), 0, 0n);
    }
  }

  #placeSegment(segment: number, access: number): void {
    this.#segments[segment] = access;
    const address = this.#segmentMemory(segment, access);
    if (address === undefined) return;
    const flags = (access & READ) !== 0 && (access & WRITE) !== 0 ? 0 : KvmMemoryFlags.READONLY;
    this.#vm.setMemoryRegion(Slot.SEGMENTS + segment, flags, this.#segmentGpa(segment), SEGMENT_SIZE, address);
  }

  #segmentGpa(segment: number): number {
    return LegacyRegion.PAM_BASE + segment * SEGMENT_SIZE;
  }

  /** Where a segment's bytes are in this process, or `undefined` where reads find nothing. */
  #segmentMemory(segment: number, access: number): bigint | undefined {
    const gpa = this.#segmentGpa(segment);
    if ((access & READ) !== 0) return this.#ram.handle.address + BigInt(gpa);
    const firmware = this.#firmware;
    if (firmware === undefined || gpa < firmware.aliasGpa) return undefined;
    return firmware.address + BigInt(firmware.size - (LegacyRegion.PAM_END - gpa));
  }
}
