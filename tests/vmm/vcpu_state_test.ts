/** Layouts are those of arch/x86/include/uapi/asm/kvm.h. */
import { assert, assertEquals } from "@std/assert";
import { VCPU_STATES, type VcpuStateName } from "../../src/ffi/kvm.ts";
import { PowerOnState, setInitialState } from "../../src/vmm/vcpu_state.ts";
import { flatCode, flatData, idleTask, type InitialCpuState } from "../../src/vmm/boot/cpu_state.ts";

const TSC = 0x10;
const TSC_ADJUST = 0x3b;
const SYSENTER_CS = 0x174;
const MTRR_DEFAULT_TYPE = 0x2ff;
/** Not among what KVM lists, nor among what it has. */
const UNKNOWN_MSR = 0x277;

const NAMES = Object.keys(VCPU_STATES) as VcpuStateName[];

/** A vCPU whose state is bytes. */
class FakeVcpu {
  readonly order: VcpuStateName[] = [];
  readonly state = new Map(NAMES.map((name) => [name, new Uint8Array(VCPU_STATES[name][2])]));
  readonly msrs = new Map([[TSC, 1n], [TSC_ADJUST, 2n], [SYSENTER_CS, 3n], [MTRR_DEFAULT_TYPE, 4n]]);

  get(name: VcpuStateName): DataView<ArrayBuffer> {
    return new DataView(this.state.get(name)!.slice().buffer);
  }
  set(name: VcpuStateName, state: DataView<ArrayBuffer>): void {
    this.order.push(name);
    this.state.set(name, new Uint8Array(state.buffer.slice(0)));
  }
  extended: DataView<ArrayBuffer> | undefined = new DataView(Uint8Array.of(1).buffer);

  xcrs(): DataView<ArrayBuffer> | undefined {
    return this.extended;
  }
  setXcrs(state: DataView<ArrayBuffer>): void {
    this.extended = state;
  }
  msr(index: number): bigint | undefined {
    return this.msrs.get(index);
  }
  setMsr(index: number, value: bigint): boolean {
    this.msrs.set(index, value);
    return true;
  }
  /** Lets a guest run all over it. */
  disturb(): void {
    for (const bytes of this.state.values()) bytes.fill(0xee);
    for (const index of this.msrs.keys()) this.msrs.set(index, 0xeen);
    if (this.extended !== undefined) this.extended = new DataView(Uint8Array.of(0xee).buffer);
  }
}

class FakeChips {
  readonly chips = new Map([0, 1, 2].map((chip) => [chip, Uint8Array.of(chip, 7)]));
  timer = Uint8Array.of(9);

  irqchip = (chip: number) => this.chips.get(chip)!.slice();
  setIrqchip(state: Uint8Array<ArrayBuffer>): void {
    this.chips.set(state[0], state.slice());
  }
  pit = () => this.timer.slice();
  setPit(state: Uint8Array<ArrayBuffer>): void {
    this.timer = state.slice();
  }
}

function restored(vcpus = [new FakeVcpu(), new FakeVcpu()]) {
  const chips = new FakeChips();
  const powerOn = new PowerOnState(chips, vcpus, [TSC, TSC_ADJUST, SYSENTER_CS, UNKNOWN_MSR]);
  vcpus.forEach((vcpu) => vcpu.disturb());
  for (const state of chips.chips.values()) state[1] = 0;
  chips.timer[0] = 0;
  powerOn.restore();
  return { chips, vcpus };
}

Deno.test("a reset puts back every part of every vCPU, the interrupt chips and the timer", () => {
  const { chips, vcpus } = restored();
  for (const vcpu of vcpus) {
    for (const bytes of vcpu.state.values()) assert(bytes.every((byte) => byte === 0));
    assertEquals([...vcpu.order].sort(), [...NAMES].sort());
  }
  assertEquals([...chips.chips.values()].map((state) => [...state]), [[0, 7], [1, 7], [2, 7]]);
  assertEquals([...chips.timer], [9]);
});

Deno.test("the APIC base in SREGS comes before the local APIC's registers, and those before what they would wake", () => {
  const { vcpus: [{ order }] } = restored();
  assert(order.indexOf("sregs") < order.indexOf("lapic"));
  assert(order.indexOf("lapic") < order.indexOf("mpState"));
});

Deno.test("a reset puts MSRs back, those that KVM does not list included, but time goes on", () => {
  const { vcpus: [{ msrs }] } = restored();
  assertEquals([msrs.get(SYSENTER_CS), msrs.get(MTRR_DEFAULT_TYPE)], [3n, 4n]);
  assertEquals([msrs.get(TSC), msrs.get(TSC_ADJUST)], [0xeen, 0xeen]);
  assertEquals(msrs.has(UNKNOWN_MSR), false);
});

Deno.test("a reset puts the extended control registers back", () => {
  const { vcpus } = restored();
  assertEquals(vcpus.map(({ extended }) => extended?.getUint8(0)), [1, 1]);
});

Deno.test("processors without extended control registers are reset without them", () => {
  const vcpu = new FakeVcpu();
  vcpu.extended = undefined;
  restored([vcpu]);
  assertEquals(vcpu.extended, undefined);
});

const STATE: InitialCpuState = {
  ...{ rip: 0x10_0000, rsp: 0x8000, rbx: 0x1000, rsi: 0x2000, rflags: 2 },
  ...{ cs: flatCode(0x10, 64), data: flatData(0x18), tr: idleTask(0x20) },
  ...{ gdt: { base: 0x500, limit: 0x27 }, idt: { base: 0, limit: 0 } },
  ...{ cr0: 0x8000_0011, cr3: 0x3000, cr4: 0x20, efer: 0x500 },
};

Deno.test("a kernel's first registers are where struct kvm_regs has them, the others zero", () => {
  const vcpu = new FakeVcpu();
  vcpu.disturb();
  setInitialState(vcpu, STATE);
  const regs = new BigUint64Array(vcpu.state.get("regs")!.buffer);
  // rax rbx rcx rdx rsi rdi rsp rbp r8-r15 rip rflags
  const expected = Array<bigint>(18).fill(0n);
  [expected[1], expected[4], expected[6], expected[16], expected[17]] = [0x1000n, 0x2000n, 0x8000n, 0x10_0000n, 2n];
  assertEquals([...regs], expected);
});

Deno.test("segments, tables and control registers are where struct kvm_sregs has them", () => {
  const vcpu = new FakeVcpu();
  setInitialState(vcpu, STATE);
  const sregs = vcpu.get("sregs");
  // struct kvm_segment: base, limit, selector; type, present, dpl, db, s, l, g, avl, unusable
  const segment = (at: number) => [
    ...[sregs.getBigUint64(at, true), sregs.getUint32(at + 8, true), sregs.getUint16(at + 12, true)],
    ...new Uint8Array(sregs.buffer, at + 14, 9),
  ];
  assertEquals(segment(0), [0n, 0xffff_ffff, 0x10, 0xb, 1, 0, 0, 1, 1, 1, 0, 0]); // cs: 64-bit code
  for (let i = 1; i <= 5; i++) {
    assertEquals(segment(24 * i), [0n, 0xffff_ffff, 0x18, 0x3, 1, 0, 1, 1, 0, 1, 0, 0]); // ds es fs gs ss: data
  }
  assertEquals(segment(144), [0n, 0x67, 0x20, 0xb, 1, 0, 0, 0, 0, 0, 0, 0]); // tr: a busy TSS
  assertEquals([sregs.getBigUint64(192, true), sregs.getUint16(200, true)], [0x500n, 0x27]);
  const control = [224, 240, 248, 264].map((at) => sregs.getBigUint64(at, true));
  assertEquals(control, [0x8000_0011n, 0x3000n, 0x20n, 0x500n]);
});

Deno.test("what a kernel's first state does not name stays as it was, the APIC base among it", () => {
  const vcpu = new FakeVcpu();
  const before = vcpu.get("sregs");
  before.setBigUint64(272, 0xfee00900n, true);
  vcpu.set("sregs", before);
  setInitialState(vcpu, STATE);
  assertEquals(vcpu.get("sregs").getBigUint64(272, true), 0xfee00900n);
});
