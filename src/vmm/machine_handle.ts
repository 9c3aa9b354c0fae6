/**
 * What the threads of one machine share: descriptors by number, shared memory, and plain data.
 *
 * @module
 */
import type { ScsiDiskConfig } from "../options/storage.ts";
import type { QmpEndpoint } from "../qmp/endpoint.ts";
import type { ProxyHandle } from "../proxy/pci_proxy.ts";
import type { VmmConfig } from "./config.ts";
import type { CharacterHandle } from "./console/character_devices.ts";
import type { FirmwareImage } from "./memory_map.ts";
import type { FwCfgItems } from "./platform/fw_cfg_items.ts";
import type { RamHandle } from "./ram.ts";
import type { SharedBuffers } from "./shared_records.ts";
import type { SpawnerHandle } from "./spawner_client.ts";

/** A device process that this one spawned, for threads that do not wait for its end. */
export interface DeviceProcessHandle {
  /** That of the first one: it may be started again. */
  readonly pid: number;
  /** Leads to the one in charge. Whoever spawned the first closes it, once no thread runs any more. */
  readonly pidfd: number;
  /** Whether it is in a jail. */
  readonly sandboxed: boolean;
}

/** A device behind a link, and its place on the bus. */
export interface PlacedProxy {
  readonly handle: ProxyHandle;
  /** Where it was spawned here. */
  readonly process: DeviceProcessHandle | undefined;
  /** PCI slot on bus 0. */
  readonly slot: number;
}

/** The control link to a device process that this one spawned. */
export interface DeviceControlHandle {
  /** The device's id. */
  readonly id: string;
  /** A socket, a QMP server at its other end; the control thread's. */
  readonly fd: number;
  readonly disks: readonly ScsiDiskConfig[];
  /** The device's number among {@linkcode MachineHandle.proxies}. */
  readonly device: number;
  /** How often it is started again at most when it is lost. */
  readonly restarts: number;
}

/** What it takes to start device processes again. */
export interface RestartsHandle {
  /** The spawner, where there is one. */
  readonly spawner: SpawnerHandle | undefined;
  /** See `DeviceCustody`. */
  readonly custody: SharedArrayBuffer;
}

/** A machine, as it is posted to its threads. */
export interface MachineHandle {
  readonly config: VmmConfig;
  readonly vmFd: number;
  readonly vcpuFds: readonly number[];
  /** Size in bytes of each vCPU's shared mapping. */
  readonly vcpuMmapSize: number;
  readonly ram: RamHandle;
  readonly firmware: FirmwareImage | undefined;
  readonly firmwareItems: FwCfgItems;
  readonly proxies: readonly PlacedProxy[];
  readonly deviceControls: readonly DeviceControlHandle[];
  readonly restarts: RestartsHandle;
  /** Where QMP's clients come from. */
  readonly monitors: readonly QmpEndpoint[];
  /** An eventfd: the leading thread tells the control thread to look. */
  readonly eventFd: number;
  /** Eventfds of the signals to the control thread. */
  readonly signalFds: { readonly deadlines: number; readonly inputDrained: number };
  /** By number of a character device. */
  readonly characters: readonly CharacterHandle[];
  /** When the machine was made, in nanoseconds of CLOCK_MONOTONIC. */
  readonly startedAt: number;
  readonly buffers: SharedBuffers;
}
