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
import type { Machine } from "./machine.ts";
import type { MachineHandle } from "./machine_handle.ts";

/** The data of an event about the last failure of a device. */
export function describeFailure(device: string, process: DeviceProcessStatus): JsonObject {
  const { reason, detail, status } = process.failure!;
  return { device, reason, detail, action: "none", ...status && { status: describeStatus(status) } };
}

function describeStatus(status: ExitStatus): JsonObject {
  return "code" in status ? { "exit-code": status.code } : { signal: status.signal };
}

/** The answer to `query-device-processes`. */
export function describeDeviceProcesses({ proxies, config }: Machine, handle: MachineHandle): JsonObject[] {
  return proxies.map((proxy, i) => {
    const { process, handle: { ring, timeout: deadline } } = handle.proxies[i];
    const { heartbeat: interval } = config.devices[i];
    return {
      device: proxy.id,
      state: proxy.failed ? "failed" : "running",
      ...process && { pid: process.pid, sandboxed: process.sandboxed },
      accelerated: ring !== undefined,
      deadline,
      ...proxy.heartbeat && { heartbeat: { interval, ...describeFigures(proxy.heartbeat.figures()) } },
    };
  });
}

/** Times in microseconds. */
function describeFigures({ sent, answered, last, mean, longest }: HeartbeatFigures): JsonObject {
  const microseconds = (time: number | undefined) => Math.round(time! / 1000);
  if (answered === 0) return { sent, answered };
  return { sent, answered, last: microseconds(last), mean: microseconds(mean), max: microseconds(longest) };
}
