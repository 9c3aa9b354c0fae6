/**
 * vCPU state as a whole: what it is at power-on, how to go back to that, and how a kernel booted without firmware finds it.
 *
 * @module
 */
import { type KvmVcpu, type KvmVm, VCPU_STATES, type VcpuStateName } from "../ffi/kvm.ts";
import { KVM_REGS, KvmIrqchip, KvmSregsOffset } from "../ffi/kvm_abi.ts";
import type { InitialCpuState, SegmentState, TableState } from "./boot/cpu_state.ts";
import { MTRR_MSRS } from "./mtrr.ts";

/** What is needed of a machine to keep the state of its interrupt chips and timer. */
export type ChipHost = Pick<KvmVm, "irqchip" | "setIrqchip" | "pit" | "setPit">;

/** What is needed of a vCPU to keep its state. */
export type StatefulVcpu = Pick<KvmVcpu, "get" | "set" | "msr" | "setMsr" | "xcrs" | "setXcrs">;

/** The order in which KVM wants parts of the state: the APIC base in SREGS before the LAPIC's registers. */
const RESTORE_ORDER = ["sregs", "lapic", "mpState", "fpu", "events", "debugRegs", "regs"] as const;

/** The model-specific registers that tick: going back to their power-on value would be a jump in time. */
const TIME_MSRS = new Set([0x10, /* TSC */ 0x3b /* TSC_ADJUST */]);

/** Everything about a vCPU that a reset puts back. */
interface VcpuSnapshot {
  readonly parts: ReadonlyMap<VcpuStateName, DataView<ArrayBuffer>>;
  readonly msrs: ReadonlyMap<number, bigint>;
  /** `undefined` where processors have no XSAVE. */
  readonly xcrs: DataView<ArrayBuffer> | undefined;
}

/** The power-on state of a machine's CPUs, interrupt chips and timer: read once when all are new. */
export class PowerOnState {
  readonly #vm: ChipHost;
  readonly #vcpus: readonly StatefulVcpu[];
  readonly #snapshots: readonly VcpuSnapshot[];
  readonly #irqchips: readonly Uint8Array<ArrayBuffer>[];
  readonly #pit: Uint8Array<ArrayBuffer>;

  /** @param msrs The registers that KVM counts to a vCPU's state (`Kvm.msrIndices`). */
  constructor(vm: ChipHost, vcpus: readonly StatefulVcpu[], msrs: readonly number[]) {
    this.#vm = vm;
    this.#vcpus = vcpus;
    const kept = [...new Set([...msrs, ...MTRR_MSRS])].filter((index) => !TIME_MSRS.has(index));
    this.#snapshots = vcpus.map((vcpu) => snapshot(vcpu, kept));
    this.#irqchips = Object.values(KvmIrqchip).map((chip) => vm.irqchip(chip));
    this.#pit = vm.pit();
  }

  /** Puts all of it back. No vCPU may be running. */
  restore(): void {
    for (const state of this.#irqchips) this.#vm.setIrqchip(state);
    this.#vm.setPit(this.#pit);
    this.#vcpus.forEach((vcpu, i) => {
      const { parts, msrs, xcrs } = this.#snapshots[i];
      for (const name of RESTORE_ORDER) vcpu.set(name, parts.get(name)!);
      for (const [index, value] of msrs) {
        if (vcpu.msr(index) !== value) vcpu.setMsr(index, value);
      }
      if (xcrs !== undefined) vcpu.setXcrs(xcrs);
    });
  }
}

function snapshot(vcpu: StatefulVcpu, msrs: readonly number[]): VcpuSnapshot {
  const names = Object.keys(VCPU_STATES) as VcpuStateName[];
  const values = msrs.map((index) => [index, vcpu.msr(index)] as const);
  return {
    parts: new Map(names.map((name) => [name, vcpu.get(name)])),
    msrs: new Map(values.filter((entry): entry is readonly [number, bigint] => entry[1] !== undefined)),
    xcrs: vcpu.xcrs(),
  };
}

/** Gives a vCPU the registers that a boot loader asks for. */
export function setInitialState(vcpu: Pick<KvmVcpu, "get" | "set">, state: InitialCpuState): void {
  const sregs = vcpu.get("sregs");
  const { SEGMENTS } = KvmSregsOffset;
  setSegment(sregs, SEGMENTS.cs, state.cs);
  for (const name of ["ds", "es", "fs", "gs", "ss"] as const) setSegment(sregs, SEGMENTS[name], state.data);
  setSegment(sregs, SEGMENTS.tr, state.tr);
  setTable(sregs, KvmSregsOffset.GDT, state.gdt);
  setTable(sregs, KvmSregsOffset.IDT, state.idt);
  const { CR0, CR3, CR4, EFER } = KvmSregsOffset;
  const registers = [[CR0, state.cr0], [CR3, state.cr3], [CR4, state.cr4], [EFER, state.efer]] as const;
  for (const [offset, value] of registers) sregs.setBigUint64(offset, BigInt(value), true);
  vcpu.set("sregs", sregs);

  const regs = new DataView(new ArrayBuffer(VCPU_STATES.regs[2]));
  for (const name of ["rip", "rsp", "rbx", "rsi", "rflags"] as const) {
    regs.setBigUint64(8 * KVM_REGS.indexOf(name), BigInt(state[name]), true);
  }
  vcpu.set("regs", regs);
}

/** struct kvm_segment: base @0, limit @8, selector @12, then bytes: type, present, dpl, db, s, l, g, avl, unusable. */
function setSegment(sregs: DataView, at: number, segment: SegmentState): void {
  sregs.setBigUint64(at, BigInt(segment.base), true);
  sregs.setUint32(at + 8, segment.limit, true);
  sregs.setUint16(at + 12, segment.selector, true);
  const { type, present, dpl, db, s, l, g } = segment;
  [type, present, dpl, db, s, l, g, 0, !present].forEach((value, i) => sregs.setUint8(at + 14 + i, Number(value)));
}

/** struct kvm_dtable: base @0, limit @8. */
function setTable(sregs: DataView, at: number, table: TableState): void {
  sregs.setBigUint64(at, BigInt(table.base), true);
  sregs.setUint16(at + 8, table.limit, true);
}
