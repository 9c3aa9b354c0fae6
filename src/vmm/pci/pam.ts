/**
 * Programmable attribute map: whether reads and writes between 0xc0000 and 0xfffff go to RAM or to the firmware's flash
 * (MCH, DRAM controller registers PAM0 to PAM6).
 *
 * | register | bits 5:4            | bits 1:0        |
 * | -------- | ------------------- | --------------- |
 * | PAM0     | 0xf0000 - 0xfffff   | reserved        |
 * | PAM1     | 0xc4000 - 0xc7fff   | 0xc0000 - 0xc3fff |
 * | PAM2     | 0xcc000 - 0xcffff   | 0xc8000 - 0xcbfff |
 * | PAM3     | 0xd4000 - 0xd7fff   | 0xd0000 - 0xd3fff |
 * | PAM4     | 0xdc000 - 0xdffff   | 0xd8000 - 0xdbfff |
 * | PAM5     | 0xe4000 - 0xe7fff   | 0xe0000 - 0xe3fff |
 * | PAM6     | 0xec000 - 0xeffff   | 0xe8000 - 0xebfff |
 *
 * @module
 */
import { LegacyRegion } from "../layout.ts";

/** Number of PAM registers, a byte each. */
export const PAM_COUNT = 7;

/** The bits of a PAM register that exist: PAM0 has no lower field. */
export const PAM0_MASK = 0x30;
export const PAM_MASK = 0x33;

/** Bits of an attribute field: set, the access goes to RAM. */
const Attribute = { READ_ENABLE: 1, WRITE_ENABLE: 2 } as const;

const SEGMENT_SIZE = 0x4000;

/** How accesses to a part of the legacy region are steered. */
export interface PamAccess {
  /** Reads come from RAM; otherwise from the flash. */
  readonly read: boolean;
  /** Writes go to RAM; otherwise to the flash, which drops them. */
  readonly write: boolean;
}

/** A run of the legacy region that is steered alike. */
export interface PamSegment extends PamAccess {
  /** First guest-physical address. */
  readonly start: number;
  /** Length in bytes. */
  readonly length: number;
}

function segment(start: number, length: number, field: number): PamSegment {
  const read = (field & Attribute.READ_ENABLE) !== 0;
  const write = (field & Attribute.WRITE_ENABLE) !== 0;
  return { start, length, read, write };
}

/** Decodes the seven registers into their thirteen segments, by ascending address. */
export function decodePam(registers: Uint8Array): PamSegment[] {
  const segments: PamSegment[] = [];
  for (let i = 0; i < 2 * (PAM_COUNT - 1); i++) {
    const register = registers[1 + (i >>> 1)];
    const start = LegacyRegion.PAM_BASE + i * SEGMENT_SIZE;
    segments.push(segment(start, SEGMENT_SIZE, (i & 1) === 0 ? register : register >>> 4));
  }
  segments.push(segment(LegacyRegion.BIOS_BASE, LegacyRegion.BIOS_SIZE, registers[0] >>> 4));
  return segments;
}

/** The segments in which `after` differs from `before`, neighbours that are steered alike now made one. */
export function changedPam(before: Uint8Array, after: Uint8Array): PamSegment[] {
  const old = decodePam(before);
  const changed: PamSegment[] = [];
  for (const [i, next] of decodePam(after).entries()) {
    if (next.read === old[i].read && next.write === old[i].write) continue;
    const last = changed.at(-1);
    const joins = last !== undefined && last.start + last.length === next.start && last.read === next.read &&
      last.write === next.write;
    if (joins) changed[changed.length - 1] = { ...last, length: last.length + next.length };
    else changed.push(next);
  }
  return changed;
}
