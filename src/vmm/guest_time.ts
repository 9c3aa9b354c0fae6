/**
 * The guest's time while its machine stands still: platform devices' and KVM's.
 *
 * | clock               | while the machine stands still                                              |
 * | ------------------- | --------------------------------------------------------------------------- |
 * | PM timer, serial    | stand still                                                                 |
 * | 8254 (KVM)          | as it was; ticks that nobody took are dropped                               |
 * | kvm-clock (KVM)     | stands still, and the guest is told that it was paused                      |
 * | time of day (CMOS)  | goes on, as the host's does                                                 |
 * | TSC, LAPIC timer    | go on: as with QEMU, a pause looks to them like one of the host             |
 *
 * @module
 */
import type { KvmVcpu, KvmVm } from "../ffi/kvm.ts";
import type { MachineClock } from "./machine_clock.ts";

/** What is stopped. */
export interface GuestTimeOptions {
  readonly vm: Pick<KvmVm, "clock" | "setClock" | "pit" | "setPit">;
  readonly vcpus: readonly Pick<KvmVcpu, "notePause">[];
  readonly clock: MachineClock;
}

/** Stops and starts the clocks. All vCPUs are at rest, and the machine's lock is held. */
export class GuestTime {
  readonly #options: GuestTimeOptions;
  #stopped: { readonly kvmClock: bigint; readonly pit: Uint8Array<ArrayBuffer> } | undefined;

  constructor(options: GuestTimeOptions) {
    this.#options = options;
  }

  /** Stops them. Calling it again does nothing. */
  stop(): void {
    if (this.#stopped !== undefined) return;
    const { vm, clock } = this.#options;
    clock.stop();
    this.#stopped = { kvmClock: vm.clock(), pit: vm.pit() };
  }

  /** Starts them. Calling it again does nothing. */
  start(): void {
    if (this.#stopped === undefined) return;
    const { vm, vcpus, clock } = this.#options;
    vm.setClock(this.#stopped.kvmClock);
    vm.setPit(this.#stopped.pit);
    for (const vcpu of vcpus) vcpu.notePause();
    this.#stopped = undefined;
    clock.start();
  }
}
