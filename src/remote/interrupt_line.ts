/**
 * A device's interrupt line out of the device process: an irqfd with a resamplefd (Linux,
 * Documentation/virt/kvm/api.rst, KVM_IRQFD and KVM_IRQFD_FLAG_RESAMPLE).
 *
 * A write to the irq descriptor makes KVM assert the line. At the guest's end of interrupt KVM takes it back and writes
 * the resample descriptor; a pin that is still high is then written again. Lowering the pin writes nothing. The resample descriptor is never
 * read.
 *
 * @module
 */
import type { InterruptPin } from "../device/pci_device.ts";
import { createEventFd, EDGE_TRIGGERED, isReady, Ready, signalEventFd } from "../ffi/event.ts";
import { closeFd, fileStatus, setNonblocking } from "../ffi/file.ts";
import { closeAll } from "../ffi/socket.ts";
import { LinkError } from "../link/link_error.ts";
import type { EventLoop } from "../event_loop.ts";
import type { Watch } from "../watches.ts";

/** The descriptors that SET_IRQFD brought. */
interface Wiring {
  readonly irq: number;
  readonly resample: number;
  readonly watch: Watch;
}

/** Carries the level of one pin to KVM. */
export class InterruptLine implements InterruptPin {
  readonly #loop: EventLoop;
  #asserted = false;
  #wiring: Wiring | undefined;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  set(asserted: boolean): void {
    if (asserted === this.#asserted) return;
    this.#asserted = asserted;
    if (asserted) this.#signal();
  }

  /**
   * Takes over an irq and a resample descriptor, in place of those before. A pin that is high is signalled at once.
   *
   * @throws {LinkError} when one of them is not an eventfd; both are closed then, and the ones before stay.
   */
  connect(irq: number, resample: number): void {
    try {
      requireEventFd("the irq descriptor", irq);
      requireEventFd("the resample descriptor", resample);
      // Each end of interrupt is an event of its own: the count need not be read.
      const watch = this.#loop.watch(resample, Ready.IN | EDGE_TRIGGERED, () => this.#resampled());
      this.disconnect();
      this.#wiring = { irq, resample, watch };
    } catch (error) {
      closeAll([irq, resample]);
      if (error instanceof LinkError) throw error;
      throw new LinkError("SET_IRQFD: the descriptors cannot be used", "protocol", { cause: error });
    }
    if (this.#asserted) this.#signal();
  }

  /** Closes the descriptors. The pin's level is remembered for the next ones. */
  disconnect(): void {
    if (this.#wiring === undefined) return;
    this.#wiring.watch.cancel();
    closeAll([this.#wiring.irq, this.#wiring.resample]);
    this.#wiring = undefined;
  }

  /** The guest may have taken the cause away just before: what it posted comes first. */
  #resampled(): void {
    this.#loop.catchUp();
    if (this.#asserted) this.#signal();
  }

  #signal(): void {
    if (this.#wiring === undefined) return;
    try {
      // A count that is full is as good as one more.
      if (isReady(this.#wiring.irq, Ready.OUT)) signalEventFd(this.#wiring.irq);
    } catch {
      this.disconnect();
    }
  }
}

/**
 * Lets through what lives where eventfds live, the kernel's one anonymous inode, which files, pipes and sockets do not.
 * The few other things that live there answer reads and writes with errors.
 *
 * The descriptor is made non-blocking. The peer shares that flag and can take it back, so each use looks first whether it would wait; a
 * peer that changes the count in between can still hang a process that serves it.
 */
function requireEventFd(what: string, fd: number): void {
  const model = createEventFd();
  try {
    const [expected, found] = [fileStatus(model), fileStatus(fd)];
    if (found.device !== expected.device || found.inode !== expected.inode) {
      throw new LinkError(`SET_IRQFD: ${what} is not an eventfd`);
    }
    setNonblocking(fd, true);
  } finally {
    closeFd(model);
  }
}
