/**
 * Memory type range registers: which guest-physical addresses are memory, and which are devices.
 *
 * Source: Intel SDM volume 3, section 12.11 (AMD64 Architecture Programmer's Manual volume 2, section 7.7 has the same registers).
 *
 * @module
 */
import type { KvmVcpu } from "../ffi/kvm.ts";
import { MmioLayout } from "./layout.ts";

/** Numbers of the model-specific registers. */
export const MtrrMsr = {
  /** Base and mask of the first variable range; each further range has the next two numbers. */
  PHYS_BASE_0: 0x200,
  /** Eight ranges of 64 KiB from address 0. */
  FIX_64K: 0x250,
  /** Two times eight ranges of 16 KiB from 0x80000. */
  FIX_16K: [0x258, 0x259],
  /** Eight times eight ranges of 4 KiB from 0xc0000. */
  FIX_4K: [0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f],
  DEFAULT_TYPE: 0x2ff,
} as const;

/** The second register of 16 KiB ranges: 0xa0000 to 0xbffff, the VGA hole. */
const VGA_HOLE = MtrrMsr.FIX_16K[1];

/** KVM's guests have this many variable ranges. */
const VARIABLE_RANGES = 8;

/** All of them: a reset puts them back, though KVM does not list them among a vCPU's registers. */
export const MTRR_MSRS: readonly number[] = [
  ...Array.from({ length: 2 * VARIABLE_RANGES }, (_, i) => MtrrMsr.PHYS_BASE_0 + i),
  MtrrMsr.FIX_64K,
  ...MtrrMsr.FIX_16K,
  ...MtrrMsr.FIX_4K,
  MtrrMsr.DEFAULT_TYPE,
];

/** Table 12-8. */
const MemoryType = { UNCACHEABLE: 0x00, WRITE_BACK: 0x06 } as const;

/** IA32_MTRR_DEF_TYPE: the fixed ranges count; the registers count at all. */
const DefaultType = { FIXED_ENABLE: 0x400n, ENABLE: 0x800n } as const;
/** IA32_MTRR_PHYSMASKn: the range counts. */
const RANGE_VALID = 0x800n;

/** What is not memory below 4 GiB: sizes are powers of two, and bases are multiples of them, as variable ranges must be. */
const DEVICE_RANGES = [
  { base: MmioLayout.ECAM_BASE, size: MmioLayout.ECAM_SIZE },
  { base: MmioLayout.PCI_HOLE_BASE, size: 2 ** 32 - MmioLayout.PCI_HOLE_BASE },
];

/** The type of eight ranges that share one fixed register. */
function eightOf(type: number): bigint {
  return BigInt(type) * 0x0101_0101_0101_0101n;
}

/**
 * What firmware sets before it starts an operating system, on every processor alike: all is write-back memory, but for the VGA hole and
 * what lies between RAM and 4 GiB. Operating systems take a processor without this for a broken one, and leave its page attributes
 * alone.
 *
 * @param physicalAddressBits Width of guest-physical addresses: masks have as many bits.
 * @returns Register numbers and values, in the order in which they are to be written.
 */
export function firmwareMtrrs(physicalAddressBits: number): [index: number, value: bigint][] {
  const addressMask = (1n << BigInt(physicalAddressBits)) - 1n;
  const variable = DEVICE_RANGES.flatMap(({ base, size }, i): [number, bigint][] => [
    [MtrrMsr.PHYS_BASE_0 + 2 * i, BigInt(base) | BigInt(MemoryType.UNCACHEABLE)],
    [MtrrMsr.PHYS_BASE_0 + 2 * i + 1, addressMask & ~BigInt(size - 1) | RANGE_VALID],
  ]);
  const fixed = [MtrrMsr.FIX_64K, ...MtrrMsr.FIX_16K, ...MtrrMsr.FIX_4K].map((index): [number, bigint] => [
    index,
    eightOf(index === VGA_HOLE ? MemoryType.UNCACHEABLE : MemoryType.WRITE_BACK),
  ]);
  const defaultType = BigInt(MemoryType.WRITE_BACK) | DefaultType.FIXED_ENABLE | DefaultType.ENABLE;
  return [...variable, ...fixed, [MtrrMsr.DEFAULT_TYPE, defaultType]];
}

/** Sets them on one processor. A KVM whose guests have none takes none. */
export function setFirmwareMtrrs(vcpu: Pick<KvmVcpu, "setMsr">, physicalAddressBits: number): void {
  for (const [index, value] of firmwareMtrrs(physicalAddressBits)) vcpu.setMsr(index, value);
}
