/**
 * A shadow for devices in tests: memory of this process.
 *
 * @module
 */
import type { AccessSize } from "../../src/device/config_space.ts";
import type { DeviceHost, ShadowedRegisters } from "../../src/device/pci_device.ts";

/** What a device has asked its host for; `shadow` is the host's method. */
export class PlainShadow implements Pick<DeviceHost, "shadow"> {
  /** The bytes, none before the device has asked. */
  bytes = new Uint8Array(0);
  ranges: readonly ShadowedRegisters[] = [];
  /** How often the device has asked. */
  asked = 0;

  readonly shadow = (size: number, ranges: readonly ShadowedRegisters[]): Uint8Array => {
    this.asked++;
    this.bytes = new Uint8Array(size);
    this.ranges = ranges;
    return this.bytes;
  };

  /** What a host would answer out of it, zero-extended. @returns `undefined` where it has to ask the device. */
  load(bar: number | "config", offset: number, size: AccessSize): number | undefined {
    const range = this.ranges.find((one) =>
      one.bar === bar && offset >= one.offset && offset + size <= one.offset + one.length
    );
    if (range === undefined) return undefined;
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 0x100 + this.bytes[range.at + offset - range.offset + i];
    return value;
  }
}
