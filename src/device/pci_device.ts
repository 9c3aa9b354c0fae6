/**
 * What a PCI device model is, and what it is given.
 *
 * A model knows nothing of processes, sockets or KVM. It sees offsets into its BARs, guest RAM through {@linkcode Dma}, one
 * interrupt pin and a clock, and is tested by calling it. Nothing that a guest does may make it throw or loop for ever.
 *
 * @module
 */
import type { AccessSize, ConfigSpace } from "./config_space.ts";
import type { Dma } from "./guest_memory.ts";
import type { SavedState } from "./state.ts";

/** A level-triggered interrupt pin (INTx#). */
export interface InterruptPin {
  /** Drives the pin. Setting the level that it has is free of effect. */
  set(asserted: boolean): void;
}

/** A one-shot timer. */
export interface Timer {
  /** Fires once, at the first moment at or after `deadline` (nanoseconds of the {@linkcode Clock}); replaces an earlier one. */
  arm(deadline: number): void;
  /** Takes back a deadline that has not fired. */
  cancel(): void;
  /** The deadline, or `undefined` when none is set. */
  readonly deadline: number | undefined;
}

/** Time, as a device sees it. */
export interface Clock {
  /** Nanoseconds since an arbitrary start; never goes back. */
  now(): number;
  /**
   * Makes a timer, not armed. Its callback runs in the device's own loop, never inside another call to the device: a
   * deadline of `now()` is how a model goes on later without holding up its host.
   */
  timer(callback: () => void): Timer;
}

/** Registers that a host may answer for: see {@linkcode DeviceHost.shadow}. All numbers are multiples of 4. */
export interface ShadowedRegisters {
  /** The BAR's index, or configuration space. */
  readonly bar: number | "config";
  /** First byte. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
  /** Where they lie in the shadow. */
  readonly at: number;
}

/** What the host of a device gives to it. */
export interface DeviceHost {
  /**
   * Memory out of which the host may answer loads of registers without a call to the device. To be called while the device is made only.
   *
   * The device keeps there what a load would return: whenever a call to it returns, before it drives its interrupt pin,
   * and before it writes to guest RAM, where the guest may look for what has happened. No load of these registers has a
   * side effect.
   *
   * @param size In bytes, a multiple of 4.
   * @param ranges Which registers lie where in it; several may lie in one place.
   * @returns zeroed bytes.
   */
  shadow(size: number, ranges: readonly ShadowedRegisters[]): Uint8Array;
  /** Guest RAM; refuses everything while the guest has not enabled bus mastering. */
  readonly dma: Dma;
  readonly interrupt: InterruptPin;
  readonly clock: Clock;
  /** Reports something odd that a guest did, once for each distinct `what`; later ones are only counted. */
  warnOnce(what: string): void;
}

/**
 * One PCI function.
 *
 * The host decodes addresses and calls with offsets that lie inside the BAR; widths are 1, 2 or 4 bytes and values are
 * unsigned. An 8-byte access arrives as two of 4 bytes, low half first.
 */
export interface PciDevice {
  /** Configuration space. The host reads and writes it for the guest, and calls {@linkcode configWritten} after a write. */
  readonly config: ConfigSpace;
  /** Reads a BAR. */
  readBar(bar: number, offset: number, size: AccessSize): number;
  /** Writes a BAR. */
  writeBar(bar: number, offset: number, size: AccessSize, value: number): void;
  /** The guest has written config space at `offset`. */
  configWritten?(offset: number, size: AccessSize): void;
  /** Power-on state, config space included. The interrupt pin falls, timers stop, requests in flight are dropped. */
  reset(): void;
  /**
   * The device stands in for one whose state was lost, all but its configuration space, which has been written by now, and it is as after
   * {@linkcode reset} otherwise. It tells the guest, which had enabled it, in a way that a driver of such devices knows, so that the driver
   * sets it up anew and repeats what was under way. A device without such a way leaves this out.
   */
  restarted?(): void;
  /** Everything that the guest can observe, by name. */
  save(): SavedState[];
  /** Takes over what {@linkcode save} returned. @throws {TypeError} when it does not fit this device. */
  restore(saved: readonly SavedState[]): void;
  /** Gives back what the device holds on the host. It is not used afterwards. */
  close?(): void;
}
