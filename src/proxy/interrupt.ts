/**
 * A remote device's interrupt: two eventfds between the device process and KVM, with no way through the VMM.
 *
 * The device process writes the first when its pin rises. KVM raises the line, and at the guest's end of interrupt lowers it and writes
 * the second; a device whose pin is still high then writes the first again.
 *
 * @module
 */
import { createEventFd } from "../ffi/event.ts";
import { closeFd } from "../ffi/file.ts";
import type { KvmVm } from "../ffi/kvm.ts";
import { prepareSharedEventFds, signalSharedEventFd } from "../ffi/shared_eventfd.ts";

/** What takes irqfds. */
export type IrqfdHost = Pick<KvmVm, "attachIrqfd" | "detachIrqfd">;

/** The two eventfds, as plain data for other threads. */
export interface InterruptFds {
  readonly irq: number;
  readonly resample: number;
}

/** Makes the eventfds. They live until the process ends: KVM and the device process hold them. */
export function createInterruptFds(): InterruptFds {
  return { irq: createEventFd(), resample: createEventFd() };
}

/** Closes eventfds that nobody has been given. */
export function closeInterruptFds({ irq, resample }: InterruptFds): void {
  [irq, resample].forEach(closeFd);
}

/** The wire from a device process to a GSI, as one thread drives it. */
export class IrqfdWire {
  readonly #vm: IrqfdHost;
  readonly #fds: InterruptFds;

  constructor(vm: IrqfdHost, fds: InterruptFds) {
    this.#vm = vm;
    this.#fds = fds;
    // The guest may have its interrupts routed anew by any vCPU, when the process is locked down.
    prepareSharedEventFds();
  }

  /** Wires the device to a GSI. */
  attach(gsi: number): void {
    this.#vm.attachIrqfd({ gsi, eventfd: this.#fds.irq, resamplefd: this.#fds.resample });
    // Whatever was raised on an earlier GSI has been lowered there. A device whose pin is high says so again. Its process has
    // this eventfd, and could make a write to it wait for ever.
    signalSharedEventFd(this.#fds.resample);
  }

  /** Takes the wire off; KVM lowers the line, through the routing that is in force now. */
  detach(gsi: number): void {
    this.#vm.detachIrqfd({ gsi, eventfd: this.#fds.irq, resamplefd: this.#fds.resample });
  }
}
