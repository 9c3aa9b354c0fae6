/**
 * All device processes of a machine that may be started again.
 *
 * @module
 */
import { log } from "../log.ts";
import type { Watcher } from "../qmp/connection.ts";
import { DeviceCustody } from "./device_custody.ts";
import { DeviceRestart, type RestartHost, type RestartReport } from "./device_restart.ts";
import type { Machine } from "./machine.ts";
import type { MachineHandle } from "./machine_handle.ts";
import { SpawnerClient } from "./spawner_client.ts";

/** By number of a device, for those whose process this machine has started. */
export type DeviceRestarts = ReadonlyMap<number, DeviceRestart>;

/** What becomes of devices, by number, whose processes were lost. */
export interface RestartOutcome {
  /** The process was started again, and the guest finds the device. */
  readonly onRestarted: (device: number, report: RestartReport) => void;
  /** It was to be started again, and is not after all. */
  readonly onGivenUp: (device: number, why: string) => void;
}

/** Makes them, on the thread with the event loop. */
export function makeRestarts(
  machine: Machine,
  { restarts: { spawner, custody: memory }, deviceControls, proxies }: MachineHandle,
  watcher: Watcher,
  outcome: RestartOutcome,
): DeviceRestarts {
  const custody = new DeviceCustody(memory);
  const host: RestartHost = {
    watcher,
    custody,
    spawner: spawner === undefined ? undefined : new SpawnerClient({ spawner, watcher, custody, log }),
    guestState: (device) => machine.guestState(device),
    renew: (device, state, ring) => machine.renewDevice(device, state, ring),
    log,
  };
  return new Map(deviceControls.map(({ device, restarts }) => {
    const { handle, process } = proxies[device];
    const proxy = machine.proxies[device];
    const onRestarted = (report: RestartReport) => outcome.onRestarted(device, report);
    const onGivenUp = (why: string) => outcome.onGivenUp(device, why);
    const options = { device, handle, proxy, process: process!, restarts, host, onRestarted, onGivenUp };
    return [device, new DeviceRestart(options)];
  }));
}
