/**
 * KVM: the system, virtual machine and vCPU descriptors, as thin typed objects.
 *
 * Objects hold nothing but the descriptor (and, for a vCPU, the mapped `kvm_run`), so another thread of the process attaches to the
 * same machine by constructing its own object over the same number.
 *
 * Structures whose layout matters to no one above are handed through as bytes.
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";
import { closeFd, openFile, OpenFlags } from "./file.ts";
import { mapFile, type Mapping } from "./memory.ts";
import {
  KVM_API_VERSION,
  KVM_IRQ_ROUTING_IRQCHIP,
  KVM_PIT_SPEAKER_DUMMY,
  KvmIrqfdFlags,
  KvmRequest,
  KvmRunOffset,
  KvmSize,
} from "./kvm_abi.ts";

/** One leaf of CPUID (struct kvm_cpuid_entry2); registers are unsigned 32-bit. */
export interface CpuidEntry {
  function: number;
  index: number;
  flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** Where a GSI leads: a pin of a chip of the in-kernel irqchip. A GSI may have several. */
export interface IrqRoute {
  readonly gsi: number;
  /** One of `KvmIrqchip`. */
  readonly irqchip: number;
  readonly pin: number;
}

/** An eventfd wired to an interrupt line. */
export interface Irqfd {
  readonly gsi: number;
  /** Writing it raises the line. */
  readonly eventfd: number;
  /** KVM lowers the line and writes this one when the guest acknowledges: the line is level-triggered. */
  readonly resamplefd?: number;
}

function ioctl(fd: number, name: keyof typeof KvmRequest, argument: number | BufferSource): number {
  const result = typeof argument === "number"
    ? syscalls().ioctl_value(fd, KvmRequest[name], argument)
    : syscalls().ioctl_buffer(fd, KvmRequest[name], argument);
  return checked(`ioctl(KVM_${name})`, result);
}

/** What a person can do about each way in which /dev/kvm fails to open. */
function openAdvice(error: SyscallError): string {
  if (error.errno === Errno.ENOENT || error.errno === Errno.ENXIO || error.errno === Errno.ENODEV) {
    return "this machine has no KVM (load kvm_intel or kvm_amd, or enable virtualization in the firmware)";
  }
  if (error.errno === Errno.EACCES || error.errno === Errno.EPERM) {
    return "no permission on /dev/kvm (join the group that owns it, usually kvm, or run as root)";
  }
  return "it cannot be opened";
}

/** /dev/kvm. */
export class Kvm {
  private constructor(readonly fd: number) {}

  /** @throws {Error} saying what is wrong with /dev/kvm and what to do about it. */
  static open(): Kvm {
    let fd: number;
    try {
      fd = openFile("/dev/kvm", OpenFlags.O_RDWR);
    } catch (cause) {
      const advice = cause instanceof SyscallError ? openAdvice(cause) : "it cannot be opened";
      throw new Error(`KVM is not available: ${advice}`, { cause });
    }
    const version = syscalls().ioctl_value(fd, KvmRequest.GET_API_VERSION, 0);
    if (version === KVM_API_VERSION) return new Kvm(fd);
    closeFd(fd);
    const problem = version < 0
      ? "/dev/kvm is not KVM's device"
      : `its interface has version ${version}, not ${KVM_API_VERSION}`;
    throw new Error(`KVM is not available: ${problem}`);
  }

  /** The value of a capability (`KvmCapability`); 0 where it is missing. */
  extension(capability: number): number {
    return ioctl(this.fd, "CHECK_EXTENSION", capability);
  }

  /** Size in bytes of a vCPU's shared `kvm_run` mapping. */
  vcpuMmapSize(): number {
    return ioctl(this.fd, "GET_VCPU_MMAP_SIZE", 0);
  }

  /** The CPUID leaves that this host's KVM can give to a guest. */
  supportedCpuid(): CpuidEntry[] {
    for (let capacity = 128; capacity <= 4096; capacity *= 2) {
      const buffer = new DataView(new ArrayBuffer(8 + capacity * KvmSize.CPUID_ENTRY));
      buffer.setUint32(0, capacity, true);
      const result = syscalls().ioctl_buffer(this.fd, KvmRequest.GET_SUPPORTED_CPUID, buffer);
      if (result === -Errno.E2BIG) continue;
      checked("ioctl(KVM_GET_SUPPORTED_CPUID)", result);
      return Array.from(
        { length: buffer.getUint32(0, true) },
        (_, i) => readCpuid(buffer, 8 + i * KvmSize.CPUID_ENTRY),
      );
    }
    throw new Error("KVM reports more than 4096 CPUID leaves");
  }

  /** The model-specific registers whose values make up a vCPU's state. */
  msrIndices(): number[] {
    const buffer = new Uint32Array(1 + 4096);
    buffer[0] = 4096;
    ioctl(this.fd, "GET_MSR_INDEX_LIST", buffer);
    return [...buffer.subarray(1, 1 + buffer[0])];
  }

  /** Makes a machine without memory, interrupt chips or CPUs. */
  createVm(): KvmVm {
    return new KvmVm(ioctl(this.fd, "CREATE_VM", 0));
  }

  close(): void {
    closeFd(this.fd);
  }
}

function readCpuid(view: DataView, at: number): CpuidEntry {
  const word = (i: number) => view.getUint32(at + 4 * i, true);
  return { function: word(0), index: word(1), flags: word(2), eax: word(3), ebx: word(4), ecx: word(5), edx: word(6) };
}

/** struct kvm_cpuid2: nent @0, entries from @8 on. */
function writeCpuid(entries: readonly CpuidEntry[]): DataView<ArrayBuffer> {
  const buffer = new DataView(new ArrayBuffer(8 + entries.length * KvmSize.CPUID_ENTRY));
  buffer.setUint32(0, entries.length, true);
  entries.forEach((entry, i) => {
    const at = 8 + i * KvmSize.CPUID_ENTRY;
    const words = [entry.function, entry.index, entry.flags, entry.eax, entry.ebx, entry.ecx, entry.edx];
    words.forEach((word, j) => buffer.setUint32(at + 4 * j, word, true));
  });
  return buffer;
}

/** A virtual machine. */
export class KvmVm {
  readonly #irqLevel = new Uint32Array(2);

  /** @param fd What KVM_CREATE_VM returned. */
  constructor(readonly fd: number) {}

  /**
   * Sets, moves or (with `size` 0) removes a memory slot.
   *
   * @param flags `KvmMemoryFlags`.
   * @param address Where the memory is in this process; page-aligned like `gpa` and `size`.
   */
  setMemoryRegion(slot: number, flags: number, gpa: number, size: number, address: bigint): void {
    const region = new DataView(new ArrayBuffer(32));
    region.setUint32(0, slot, true);
    region.setUint32(4, flags, true);
    region.setBigUint64(8, BigInt(gpa), true);
    region.setBigUint64(16, BigInt(size), true);
    region.setBigUint64(24, address, true);
    ioctl(this.fd, "SET_USER_MEMORY_REGION", region);
  }

  /** Names three pages (VMX task state) and one page (identity map) below 4 GiB that Intel hosts need for themselves. */
  setReservedPages(tssAddress: number, identityMapAddress: number): void {
    ioctl(this.fd, "SET_TSS_ADDR", tssAddress);
    ioctl(this.fd, "SET_IDENTITY_MAP_ADDR", BigUint64Array.of(BigInt(identityMapAddress)));
  }

  /** Makes the PICs, the IOAPIC and, for each CPU, a local APIC. Before the first vCPU. */
  createIrqchip(): void {
    ioctl(this.fd, "CREATE_IRQCHIP", 0);
  }

  /** Makes the 8254 timer, with port 0x61. */
  createPit(): void {
    const config = new Uint32Array(16);
    config[0] = KVM_PIT_SPEAKER_DUMMY;
    ioctl(this.fd, "CREATE_PIT2", config);
  }

  /** Drives an interrupt line. */
  setIrqLine(gsi: number, asserted: boolean): void {
    this.#irqLevel[0] = gsi;
    this.#irqLevel[1] = asserted ? 1 : 0;
    ioctl(this.fd, "IRQ_LINE", this.#irqLevel);
  }

  /** Replaces the whole GSI routing table. */
  setGsiRouting(routes: readonly IrqRoute[]): void {
    const table = new DataView(new ArrayBuffer(8 + routes.length * KvmSize.ROUTING_ENTRY));
    table.setUint32(0, routes.length, true);
    routes.forEach((route, i) => {
      const at = 8 + i * KvmSize.ROUTING_ENTRY; // gsi @0, type @4, flags @8, irqchip @16, pin @20
      table.setUint32(at, route.gsi, true);
      table.setUint32(at + 4, KVM_IRQ_ROUTING_IRQCHIP, true);
      table.setUint32(at + 16, route.irqchip, true);
      table.setUint32(at + 20, route.pin, true);
    });
    ioctl(this.fd, "SET_GSI_ROUTING", table);
  }

  /** Wires an eventfd to a line. */
  attachIrqfd(irqfd: Irqfd): void {
    this.#irqfd(irqfd, irqfd.resamplefd === undefined ? 0 : KvmIrqfdFlags.RESAMPLE);
  }

  /** Takes the wire off again. */
  detachIrqfd(irqfd: Irqfd): void {
    this.#irqfd(irqfd, KvmIrqfdFlags.DEASSIGN);
  }

  #irqfd(irqfd: Irqfd, flags: number): void {
    const argument = new Uint32Array(8); // fd, gsi, flags, resamplefd, pad
    argument.set([irqfd.eventfd, irqfd.gsi, flags, irqfd.resamplefd ?? 0]);
    ioctl(this.fd, "IRQFD", argument);
  }

  /**
   * Makes a vCPU.
   *
   * @param id Its APIC id.
   * @param cpuid What CPUID shows its guest.
   * @returns its descriptor, for {@linkcode KvmVcpu}.
   */
  createVcpu(id: number, cpuid: readonly CpuidEntry[]): number {
    const fd = ioctl(this.fd, "CREATE_VCPU", id);
    ioctl(fd, "SET_CPUID2", writeCpuid(cpuid));
    return fd;
  }

  /** The state of an interrupt chip (`KvmIrqchip`), as the kernel lays it out. */
  irqchip(chip: number): Uint8Array<ArrayBuffer> {
    const state = new Uint8Array(KvmSize.IRQCHIP);
    state[0] = chip;
    ioctl(this.fd, "GET_IRQCHIP", state);
    return state;
  }

  /** Puts back what {@linkcode irqchip} returned. */
  setIrqchip(state: Uint8Array<ArrayBuffer>): void {
    ioctl(this.fd, "SET_IRQCHIP", state);
  }

  /** The state of the 8254, as the kernel lays it out. */
  pit(): Uint8Array<ArrayBuffer> {
    const state = new Uint8Array(KvmSize.PIT_STATE2);
    ioctl(this.fd, "GET_PIT2", state);
    return state;
  }

  /** Puts back what {@linkcode pit} returned. */
  setPit(state: Uint8Array<ArrayBuffer>): void {
    ioctl(this.fd, "SET_PIT2", state);
  }

  /** What the guest's kvm-clock shows, in nanoseconds. */
  clock(): bigint {
    const data = new DataView(new ArrayBuffer(KvmSize.CLOCK_DATA)); // struct kvm_clock_data: clock @0, flags @8
    ioctl(this.fd, "GET_CLOCK", data);
    return data.getBigUint64(0, true);
  }

  /** Has the guest's kvm-clock go on from a value of {@linkcode clock}. */
  setClock(nanoseconds: bigint): void {
    const data = new DataView(new ArrayBuffer(KvmSize.CLOCK_DATA));
    data.setBigUint64(0, nanoseconds, true);
    ioctl(this.fd, "SET_CLOCK", data);
  }

  close(): void {
    closeFd(this.fd);
  }
}

/** The parts of a vCPU's state that are read and written as whole structures. */
export const VCPU_STATES = {
  regs: ["GET_REGS", "SET_REGS", KvmSize.REGS],
  sregs: ["GET_SREGS", "SET_SREGS", KvmSize.SREGS],
  fpu: ["GET_FPU", "SET_FPU", KvmSize.FPU],
  lapic: ["GET_LAPIC", "SET_LAPIC", KvmSize.LAPIC],
  mpState: ["GET_MP_STATE", "SET_MP_STATE", KvmSize.MP_STATE],
  events: ["GET_VCPU_EVENTS", "SET_VCPU_EVENTS", KvmSize.VCPU_EVENTS],
  debugRegs: ["GET_DEBUGREGS", "SET_DEBUGREGS", KvmSize.DEBUGREGS],
} as const satisfies Record<string, readonly [keyof typeof KvmRequest, keyof typeof KvmRequest, number]>;

/** Names one of the {@linkcode VCPU_STATES}. */
export type VcpuStateName = keyof typeof VCPU_STATES;

/** A vCPU, and the page that it shares with the kernel. */
export class KvmVcpu {
  readonly #mapping: Mapping;
  /** struct kvm_run and what follows it (`KvmRunOffset`). */
  readonly run: DataView<ArrayBuffer>;
  readonly #words: Uint32Array;

  /**
   * @param fd What {@linkcode KvmVm.createVcpu} returned.
   * @param mmapSize What {@linkcode Kvm.vcpuMmapSize} returned.
   */
  constructor(readonly fd: number, mmapSize: number) {
    this.#mapping = mapFile(fd, 0, mmapSize);
    this.run = new DataView(this.#mapping.bytes.buffer);
    this.#words = new Uint32Array(this.#mapping.bytes.buffer);
  }

  /**
   * Runs the guest until it needs something.
   *
   * @returns false when a signal or {@linkcode requestExit} ended the run; else {@linkcode exitReason} says why.
   */
  enter(): boolean {
    const result = syscalls().ioctl_value(this.fd, KvmRequest.RUN, 0);
    if (result >= 0) return true;
    if (result === -Errno.EINTR || result === -Errno.EAGAIN) return false;
    throw new SyscallError("ioctl(KVM_RUN)", -result);
  }

  /** Why the last {@linkcode enter} returned (`KvmExit`). */
  get exitReason(): number {
    return this.#words[KvmRunOffset.EXIT_REASON / 4];
  }

  /** Makes the next (or, with a signal, the current) {@linkcode enter} return at once, from any thread; `false` takes it back. */
  requestExit(wanted: boolean): void {
    this.run.setUint8(KvmRunOffset.IMMEDIATE_EXIT, wanted ? 1 : 0);
  }

  /**
   * Tells the guest, by a flag beside its kvm-clock, that it stood still, so that its watchdogs do not count the time. A guest that has not
   * set the clock up is not told.
   */
  notePause(): void {
    const result = syscalls().ioctl_value(this.fd, KvmRequest.KVMCLOCK_CTRL, 0);
    if (result !== -Errno.EINVAL) checked("ioctl(KVM_KVMCLOCK_CTRL)", result);
  }

  /** Reads one part of the state. */
  get(name: VcpuStateName): DataView<ArrayBuffer> {
    const [get, , size] = VCPU_STATES[name];
    const state = new DataView(new ArrayBuffer(size));
    ioctl(this.fd, get, state);
    return state;
  }

  /** Writes one part of the state. */
  set(name: VcpuStateName, state: DataView<ArrayBuffer>): void {
    ioctl(this.fd, VCPU_STATES[name][1], state);
  }

  /** Reads a model-specific register. @returns `undefined` where KVM does not have it. */
  msr(index: number): bigint | undefined {
    const request = msrRequest(index, 0n);
    return syscalls().ioctl_buffer(this.fd, KvmRequest.GET_MSRS, request) === 1
      ? request.getBigUint64(16, true)
      : undefined;
  }

  /** Writes a model-specific register. @returns false where KVM refuses. */
  setMsr(index: number, value: bigint): boolean {
    return syscalls().ioctl_buffer(this.fd, KvmRequest.SET_MSRS, msrRequest(index, value)) === 1;
  }

  /** Reads the extended control registers. @returns `undefined` where KVM's processors have none, for want of XSAVE. */
  xcrs(): DataView<ArrayBuffer> | undefined {
    const state = new DataView(new ArrayBuffer(KvmSize.XCRS));
    const result = syscalls().ioctl_buffer(this.fd, KvmRequest.GET_XCRS, state);
    if (result === -Errno.EINVAL) return undefined;
    checked("ioctl(KVM_GET_XCRS)", result);
    // struct kvm_xcrs begins with their number. Where it is 0, KVM_SET_XCRS fails.
    return state.getUint32(0, true) === 0 ? undefined : state;
  }

  /** Puts back what {@linkcode xcrs} returned. */
  setXcrs(state: DataView<ArrayBuffer>): void {
    ioctl(this.fd, "SET_XCRS", state);
  }

  /** Unmaps and closes. */
  close(): void {
    this.#mapping.unmap();
    closeFd(this.fd);
  }
}

/** struct kvm_msrs with one entry: nmsrs @0; index @8, data @16. */
function msrRequest(index: number, value: bigint): DataView<ArrayBuffer> {
  const request = new DataView(new ArrayBuffer(8 + KvmSize.MSR_ENTRY));
  request.setUint32(0, 1, true);
  request.setUint32(8, index, true);
  request.setBigUint64(16, value, true);
  return request;
}
