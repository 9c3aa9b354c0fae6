/**
 * Device processes in the words of QMP: `query-device-processes`, and the event DEVICE_PROCESS_FAILED. QEMU has neither; the names follow
 * its style.
 *
 * @module
 */
import type { ExitStatus } from "../ffi/process.ts";
import type { HeartbeatFigures } from "../proxy/heartbeat.ts";
import type { JsonObject } from "../qmp/protocol.ts";
import type { DeviceProcessStatus } from "./device_process_status.ts";
import type { DeviceRestart } from "./device_restart.ts";
import type { DeviceRestarts } from "./device_restarts.ts";
import type { Machine } from "./machine.ts";
import type { MachineHandle } from "./machine_handle.ts";

/** The data of an event about the last failure of a device. @param isRestarted Whether its process is started again. */
export function describeFailure(device: string, process: DeviceProcessStatus, isRestarted: boolean): JsonObject {
  const { reason, detail, status } = process.failure!;
  const action = isRestarted ? "restart" : "none";
  return { device, reason, detail, action, ...status && { status: describeStatus(status) } };
}

function describeStatus(status: ExitStatus): JsonObject {
  return "code" in status ? { "exit-code": status.code } : { signal: status.signal };
}

/** The answer to `query-device-processes`. */
export function describeDeviceProcesses(
  { proxies, config }: Machine,
  handle: MachineHandle,
  restarts: DeviceRestarts,
): JsonObject[] {
  return proxies.map((proxy, i) => {
    const { process, handle: { ring, timeout: deadline } } = handle.proxies[i];
    const { heartbeat: interval } = config.devices[i];
    const restart = restarts.get(i);
    return {
      device: proxy.id,
      state: restart?.state === "restarting" ? "restarting" : proxy.failed ? "failed" : "running",
      ...restart?.pid !== undefined && { pid: restart.pid },
      ...process && restart && { sandboxed: process.sandboxed, ...describeRestarts(restart) },
      accelerated: ring !== undefined,
      deadline,
      ...proxy.heartbeat && { heartbeat: { interval, ...describeFigures(proxy.heartbeat.figures()) } },
    };
  });
}

function describeRestarts({ most, restarts }: DeviceRestart): JsonObject {
  return { restart: most === 0 ? "off" : most === Infinity ? "on" : most, restarts };
}

/** Times in microseconds. */
function describeFigures({ sent, answered, last, mean, longest }: HeartbeatFigures): JsonObject {
  const microseconds = (time: number | undefined) => Math.round(time! / 1000);
  if (answered === 0) return { sent, answered };
  return { sent, answered, last: microseconds(last), mean: microseconds(mean), max: microseconds(longest) };
}
