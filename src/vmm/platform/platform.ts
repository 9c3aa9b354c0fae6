/**
 * What a platform device (the parts of a PC that splitvm does not put into a process of their own) is, and what the machine
 * gives to it.
 *
 * Each vCPU thread, and the control thread, holds device objects of its own over one shared {@linkcode StateRecord}. Every
 * call into a platform device that does not say otherwise is made under the platform lock, so a device never sees two calls at once, and keeps
 * everything that matters in its state record (or in other memory that the threads share).
 *
 * @module
 */

/** A device on the port or the memory bus. */
export interface BusDevice {
  /**
   * Reads `size` bytes (1, 2 or 4) at `offset` from the start of the range; unsigned. A width or offset that the device does
   * not decode reads as all-ones.
   */
  read(offset: number, size: number): number;
  /** Writes; what the device does not decode is dropped. */
  write(offset: number, size: number, value: number): void;
  /** Whether several threads may call it at the same time, without the platform lock. @default {false} */
  readonly concurrent?: boolean;
}

/** A device that has something to do at a time of its own. Only the control thread calls {@linkcode expire}. */
export interface TimedDevice {
  /** When it next wants {@linkcode expire} to be called, in nanoseconds of the machine's clock. */
  nextDeadline(): number | undefined;
  /** The deadline has come. */
  expire(now: number): void;
}

/** What the machine does for platform devices. */
export interface PlatformHost {
  /** Drives an interrupt line of the in-kernel irqchip: GSI 0-15 reach PIC and IOAPIC, 16-23 the IOAPIC. */
  setIrq(gsi: number, asserted: boolean): void;
  /** Nanoseconds since the machine was created; the same on all threads; never goes back. */
  now(): number;
  /** Wall-clock time in milliseconds since 1970, as the host has it. */
  wallClock(): number;
  /** A {@linkcode TimedDevice.nextDeadline} may have changed: the control thread looks again. */
  deadlineChanged(): void;
  /** The guest asks for a reset of the whole machine. */
  requestReset(): void;
  /** The guest switches the machine off, or ends it through isa-debug-exit with a status. */
  requestExit(status: number): void;
  /** Reports something odd that a guest did, once for each distinct text. */
  warnOnce(what: string): void;
}
