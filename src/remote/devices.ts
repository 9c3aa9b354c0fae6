/**
 * The device types that a device process can host, by the name that `-device` has for them.
 *
 * @module
 */
import type { DeviceHost, PciDevice } from "../device/pci_device.ts";
import type { EventLoop } from "../event_loop.ts";
import type { RunState } from "./run_state.ts";

/** What every device's configuration has. */
export interface DeviceConfig {
  /** The type: `lsi53c895a`. */
  readonly driver: string;
  /** The user's name for this one. */
  readonly id: string;
}

/** What a device is made with. */
export interface DeviceResources {
  /** Guest RAM, the interrupt pin and the clock. */
  readonly host: DeviceHost;
  /** For devices that wait for descriptors of their own: disks, network interfaces. */
  readonly loop: EventLoop;
  /** Where drives and their errors are made known, and requests wait for the user to resume the machine. */
  readonly runState: RunState;
  /**
   * Has `release` called once the device is closed, or could not be made after all: last come, first released. It may
   * take turns of the loop.
   */
  onClose(release: () => void): void;
}

/** Makes a device. @throws {Error} one line that says what could not be had. */
export type DeviceFactory<Config extends DeviceConfig = DeviceConfig> = (
  config: Config,
  resources: DeviceResources,
) => PciDevice;

const factories = new Map<string, DeviceFactory>();

/**
 * Makes a device type known.
 *
 * @param driver Its name.
 * @param factory Gets the configuration of devices with this name only.
 * @throws {TypeError} when the name is taken.
 */
export function registerDevice<Config extends DeviceConfig>(driver: Config["driver"], factory: DeviceFactory<Config>) {
  if (factories.has(driver)) throw new TypeError(`There is a device type ${driver} already`);
  factories.set(driver, factory as DeviceFactory<never> as DeviceFactory);
}

/** The names of the known device types, sorted. */
export function deviceTypes(): string[] {
  return [...factories.keys()].sort();
}

/** Makes the device that a configuration describes. @throws {Error} when its type is unknown or it cannot be made. */
export function createDevice(config: DeviceConfig, resources: DeviceResources): PciDevice {
  const factory = factories.get(config.driver);
  if (factory === undefined) {
    throw new Error(`device ${config.id}: unknown type ${config.driver} (known: ${deviceTypes().join(", ")})`);
  }
  return factory(config, resources);
}
