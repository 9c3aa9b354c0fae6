/**
 * From `-qmp` and `-mon` to the QMP servers of a process.
 *
 * @module
 */
import type { MonitorConfig, MonitorTransport } from "../options/monitor.ts";
import type { Arguments } from "./arguments.ts";
import type { ChardevPool } from "./chardev_pool.ts";
import type { DescriptorRegistry } from "./registries.ts";

/**
 * Resolves every QMP server. Those of `-qmp` come first, under names as QEMU makes them up.
 *
 * @throws {import("../options/option_error.ts").OptionError} when a character device or descriptor is missing or has a user already.
 */
export function resolveMonitors(
  { qmp, mon }: Pick<Arguments, "qmp" | "mon">,
  chardevs: ChardevPool,
  descriptors: DescriptorRegistry,
): MonitorConfig[] {
  const monitors: MonitorConfig[] = [];
  const add = (where: string, id: string, transport: MonitorTransport, pretty: boolean) => {
    if ("fd" in transport) descriptors.take(where, transport.fd);
    monitors.push({ id, transport, pretty });
  };
  for (const [i, { where, value }] of qmp.entries()) {
    if (value.kind === "chardev") {
      add(where, value.id, chardevs.resolveMonitor(where, value.id), false);
    } else {
      if (value.transport.kind === "stdio") chardevs.takeStdio(where);
      add(where, `compat_monitor${i}`, value.transport, false);
    }
  }
  for (const { where, value: { chardev, pretty } } of mon) {
    add(where, chardev, chardevs.resolveMonitor(where, chardev), pretty);
  }
  return monitors;
}
