/**
 * How a proxy's accesses get to its device.
 *
 * @module
 */
import type { AccessSize, BarDescription } from "../device/config_space.ts";
import type { SystemMemoryRegion } from "../link/message.ts";

/**
 * Accesses to a device in another process, in the order in which they are made.
 *
 * Every method throws a `LinkError` when the link can no longer be used, because the peer is gone, is too slow or breaks its rules.
 */
export interface DeviceAccess {
  /** Reads configuration space. @returns the value, zero-extended. */
  readConfig(offset: number, size: AccessSize): number;
  /** Writes configuration space, and waits until that is done: a driver that switches bus mastering off relies on it. */
  writeConfig(offset: number, size: AccessSize, value: number): void;
  /** Reads a BAR that the guest has enabled; all-ones where the device does not answer. @returns the value, zero-extended. */
  readBar(bar: BarDescription, offset: number, size: AccessSize): number;
  /**
   * Writes a BAR that the guest has enabled. In memory space the device may have it later, but before anything that is asked for after it; in
   * I/O space it has it.
   */
  writeBar(bar: BarDescription, offset: number, size: AccessSize, value: number): void;
  /** Resets the device, and waits until that is done. */
  reset(): void;
  /** Tells the device process what RAM the guest has, between what was asked for before and what will be. @param fd Holds all regions. */
  syncMemory(regions: readonly SystemMemoryRegion[], fd: number): void;
}
