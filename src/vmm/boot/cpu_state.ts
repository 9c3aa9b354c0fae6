/**
 * The registers that a vCPU starts with when a kernel is booted without firmware.
 *
 * Plain data, in the terms of the Intel SDM, volume 3: the machine turns it into KVM_SET_SREGS and KVM_SET_REGS.
 * Registers that are not named here are zero.
 *
 * @module
 */

/** A segment register with its hidden part (SDM volume 3, sections 3.4.3 and 3.4.5). */
export interface SegmentState {
  readonly base: number;
  /** In bytes, granularity already applied. */
  readonly limit: number;
  readonly selector: number;
  /** The descriptor's four type bits (tables 3-1 and 3-2). */
  readonly type: number;
  readonly present: boolean;
  /** Privilege level. */
  readonly dpl: number;
  /** D/B: 32-bit default. */
  readonly db: boolean;
  /** S: code or data, rather than a system descriptor. */
  readonly s: boolean;
  /** L: 64-bit code. */
  readonly l: boolean;
  /** G: the limit counts in 4 KiB pages. */
  readonly g: boolean;
}

/** A descriptor table register. */
export interface TableState {
  readonly base: number;
  /** Offset of the last byte. */
  readonly limit: number;
}

/** How a vCPU starts. */
export interface InitialCpuState {
  readonly rip: number;
  readonly rsp: number;
  readonly rbx: number;
  readonly rsi: number;
  readonly rflags: number;
  readonly cs: SegmentState;
  /** DS, ES, FS, GS and SS alike. */
  readonly data: SegmentState;
  readonly tr: SegmentState;
  readonly gdt: TableState;
  readonly idt: TableState;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
}

/** Control register bits (SDM volume 3, sections 2.5 and 2.2.1). */
export const CpuBit = {
  CR0_PE: 0x1,
  CR0_ET: 0x10,
  CR0_PG: 0x8000_0000,
  CR4_PAE: 0x20,
  EFER_LME: 0x100,
  EFER_LMA: 0x400,
  /** The bit of RFLAGS that is always set. */
  RFLAGS_FIXED: 0x2,
} as const;

/** Descriptor types (SDM volume 3, tables 3-1 and 3-2). */
const DescriptorType = { DATA_READ_WRITE: 0x3, CODE_EXECUTE_READ: 0xb, TSS_BUSY: 0xb } as const;

/** A code segment over all of the address space, of 32 or 64 bits. */
export function flatCode(selector: number, bits: 32 | 64): SegmentState {
  return {
    base: 0,
    limit: 0xffff_ffff,
    selector,
    type: DescriptorType.CODE_EXECUTE_READ,
    present: true,
    dpl: 0,
    db: bits === 32,
    s: true,
    l: bits === 64,
    g: true,
  };
}

/** A writable data segment over all of the 32-bit address space. */
export function flatData(selector: number): SegmentState {
  return { ...flatCode(selector, 32), type: DescriptorType.DATA_READ_WRITE };
}

/** A task state segment that nothing uses, but processors insist on (SDM volume 3, section 26.3.1.2). */
export function idleTask(selector: number): SegmentState {
  return {
    base: 0,
    limit: 0x67,
    selector,
    type: DescriptorType.TSS_BUSY,
    present: true,
    dpl: 0,
    db: false,
    s: false,
    l: false,
    g: false,
  };
}

/** The eight bytes of a segment's descriptor, as the GDT holds it (SDM volume 3, figure 3-8). */
export function encodeDescriptor(segment: SegmentState): bigint {
  const limit = BigInt(segment.g ? Math.floor(segment.limit / 0x1000) : segment.limit);
  const base = BigInt(segment.base);
  const bit = (set: boolean, position: number) => set ? 1n << BigInt(position) : 0n;
  return (limit & 0xffffn) | ((limit >> 16n) & 0xfn) << 48n |
    (base & 0xff_ffffn) << 16n | (base >> 24n) << 56n |
    BigInt(segment.type) << 40n | bit(segment.s, 44) | BigInt(segment.dpl) << 45n | bit(segment.present, 47) |
    bit(segment.l, 53) | bit(segment.db, 54) | bit(segment.g, 55);
}
