/**
 * The vCPU loop: runs the guest, and carries out the port and memory accesses that KVM hands out.
 *
 * @module
 */
import type { KvmVcpu } from "../ffi/kvm.ts";
import { KvmExit, KvmRunOffset, KvmSystemEvent } from "../ffi/kvm_abi.ts";
import { type AddressSpace, type Bus, loadBytes, readItem, storeBytes, writeItem } from "./bus.ts";
import type { SharedLock } from "./shared_lock.ts";

/** Why {@linkcode Vcpu.run} returned. */
export type VcpuStop =
  /** Somebody asked for the vCPU's attention. */
  | "attention"
  /** A signal took the vCPU out of the guest, and the leader wants to know. */
  | "interruption"
  /** The guest reset itself by a triple fault, or through KVM. */
  | "reset"
  /** The guest switched itself off through KVM. */
  | "shutdown";

/** What the loop needs of a vCPU. */
export type RunnableVcpu = Pick<KvmVcpu, "run" | "enter" | "exitReason" | "requestExit" | "get">;

/** What a {@linkcode Vcpu} works with. */
export interface VcpuOptions {
  readonly kvm: RunnableVcpu;
  readonly ports: Bus;
  readonly memory: Bus;
  /** Held during every access to a device, but for those that need no lock. */
  readonly lock: SharedLock;
  /** One word of shared memory: while it is not zero, {@linkcode Vcpu.run} returns as soon as it can. */
  readonly attention: Int32Array;
  /** Asked when a signal took the vCPU out of the guest: whether {@linkcode Vcpu.run} returns. @default {never} */
  readonly heedsSignals?: () => boolean;
}

/** One vCPU on the thread that runs it. */
export class Vcpu {
  readonly #kvm: RunnableVcpu;
  readonly #ports: Bus;
  readonly #memory: Bus;
  readonly #lock: SharedLock;
  readonly #attention: Int32Array;
  readonly #heedsSignals: () => boolean;
  readonly #run: DataView<ArrayBuffer>;
  readonly #mmioData: DataView<ArrayBuffer>;

  constructor({ kvm, ports, memory, lock, attention, heedsSignals = () => false }: VcpuOptions) {
    this.#kvm = kvm;
    this.#ports = ports;
    this.#memory = memory;
    this.#lock = lock;
    this.#attention = attention;
    this.#heedsSignals = heedsSignals;
    this.#run = kvm.run;
    this.#mmioData = new DataView(kvm.run.buffer, kvm.run.byteOffset + KvmRunOffset.MMIO_DATA, 8);
  }

  /**
   * Runs the guest.
   *
   * @throws {Error} when KVM cannot go on with this guest: that is a fault of the host or of the guest kernel, with the
   * details that KVM gives.
   */
  run(): VcpuStop {
    const kvm = this.#kvm;
    while (Atomics.load(this.#attention, 0) === 0) {
      if (!kvm.enter()) {
        if (this.#heedsSignals()) return "interruption";
        continue;
      }
      switch (kvm.exitReason) {
        case KvmExit.IO:
        case KvmExit.MMIO:
          this.#access();
          break;
        case KvmExit.INTR:
        case KvmExit.IRQ_WINDOW_OPEN:
          break;
        case KvmExit.SHUTDOWN:
          return "reset";
        case KvmExit.SYSTEM_EVENT:
          return this.#systemEvent();
        default:
          throw this.#failure();
      }
    }
    this.#completeAccess();
    return "attention";
  }

  /**
   * Finishes the instruction whose access KVM handed out last. Its effect on registers is only there after another entry (api.rst, KVM_RUN),
   * and would otherwise fall upon whatever state is set meanwhile. It may have further accesses: the rest of a wide one, or those
   * of a repeated string instruction, of which KVM carries out a bounded number before it lets itself be interrupted.
   */
  #completeAccess(): void {
    const kvm = this.#kvm;
    kvm.requestExit(true);
    while (kvm.enter() && (kvm.exitReason === KvmExit.IO || kvm.exitReason === KvmExit.MMIO)) this.#access();
    kvm.requestExit(false);
  }

  /** Under the lock, but for a device that needs none. */
  #access(): void {
    const isPort = this.#kvm.exitReason === KvmExit.IO;
    const bus = isPort ? this.#ports : this.#memory;
    const concurrent = isPort
      ? bus.concurrentAt(this.#port, this.#portSize)
      : bus.concurrentAt(this.#memoryAddress, this.#memoryLength);
    if (concurrent !== undefined) this.#move(isPort, concurrent);
    else this.#lock.with(() => this.#move(isPort, bus));
  }

  #move(isPort: boolean, space: AddressSpace): void {
    if (isPort) this.#movePort(space);
    else this.#moveMemory(space);
  }

  get #port(): number {
    return this.#run.getUint16(KvmRunOffset.IO_PORT, true);
  }

  get #portSize(): number {
    return this.#run.getUint8(KvmRunOffset.IO_SIZE);
  }

  get #memoryAddress(): number {
    const run = this.#run;
    return run.getUint32(KvmRunOffset.MMIO_ADDRESS, true) +
      run.getUint32(KvmRunOffset.MMIO_ADDRESS + 4, true) * 0x100000000;
  }

  get #memoryLength(): number {
    return this.#run.getUint32(KvmRunOffset.MMIO_LENGTH, true);
  }

  #movePort(space: AddressSpace): void {
    const run = this.#run;
    const [port, size] = [this.#port, this.#portSize];
    const outward = run.getUint8(KvmRunOffset.IO_DIRECTION) !== 0;
    const start = run.getUint32(KvmRunOffset.IO_DATA_OFFSET, true);
    // A string instruction moves several items through one port; they lie one behind the other.
    const end = start + size * run.getUint32(KvmRunOffset.IO_COUNT, true);
    for (let at = start; at < end; at += size) {
      if (outward) space.write(port, size, readItem(run, at, size));
      else writeItem(run, at, size, space.read(port, size));
    }
  }

  #moveMemory(space: AddressSpace): void {
    const move = this.#run.getUint8(KvmRunOffset.MMIO_IS_WRITE) !== 0 ? storeBytes : loadBytes;
    move(space, this.#memoryAddress, this.#mmioData, this.#memoryLength);
  }

  #systemEvent(): VcpuStop {
    const type = this.#run.getUint32(KvmRunOffset.SYSTEM_EVENT_TYPE, true);
    return type === KvmSystemEvent.RESET ? "reset" : "shutdown";
  }

  #failure(): Error {
    const run = this.#run;
    const rip = `at rip 0x${this.#kvm.get("regs").getBigUint64(16 * 8, true).toString(16)}`;
    const reason = this.#kvm.exitReason;
    if (reason === KvmExit.FAIL_ENTRY) {
      const code = run.getBigUint64(KvmRunOffset.FAIL_ENTRY_REASON, true);
      return new Error(`KVM could not enter the guest ${rip}: hardware reason 0x${code.toString(16)}`);
    }
    if (reason === KvmExit.INTERNAL_ERROR) {
      const suberror = run.getUint32(KvmRunOffset.INTERNAL_SUBERROR, true);
      const what = suberror === 1 ? "an instruction that it cannot emulate" : `suberror ${suberror}`;
      return new Error(`KVM gave up on the guest ${rip}: ${what}${suberror === 1 ? this.#instruction() : ""}`);
    }
    return new Error(`KVM stopped the guest ${rip} for an unexpected reason: exit ${reason}`);
  }

  /** The bytes of the instruction that emulation failed on: flags @40, then size and bytes (api.rst, emulation_failure). */
  #instruction(): string {
    const run = this.#run;
    const hasBytes = run.getUint32(KvmRunOffset.INTERNAL_NDATA, true) >= 3 &&
      (run.getUint8(KvmRunOffset.INTERNAL_DATA) & 1) !== 0;
    if (!hasBytes) return "";
    const at = KvmRunOffset.INTERNAL_DATA + 8;
    const bytes = new Uint8Array(run.buffer, run.byteOffset + at + 1, Math.min(15, run.getUint8(at)));
    return bytes.length === 0 ? "" : ` (${bytes.toHex()})`;
  }
}
