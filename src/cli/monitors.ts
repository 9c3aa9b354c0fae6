/**
 * From `-qmp`, `-monitor` and `-mon` to the QMP servers of a process, and its monitors for people.
 *
 * @module
 */
import type { MonitorConfig, MonitorTransport } from "../options/monitor.ts";
import { OptionError } from "../options/option_error.ts";
import type { Arguments } from "./arguments.ts";
import type { ChardevPool } from "./chardev_pool.ts";

/**
 * Resolves every QMP server. Those of `-qmp` come first, under names as QEMU makes them up.
 *
 * @throws {OptionError} when a character device or descriptor is missing or has a user already.
 */
export function resolveMonitors({ qmp, mon }: Pick<Arguments, "qmp" | "mon">, chardevs: ChardevPool): MonitorConfig[] {
  const monitors: MonitorConfig[] = [];
  const add = (id: string, transport: MonitorTransport, pretty: boolean) => monitors.push({ id, transport, pretty });
  for (const [i, { where, value }] of qmp.entries()) {
    if (value.kind === "chardev") {
      add(value.id, chardevs.resolveMonitor(where, value.id), false);
    } else {
      chardevs.takeTransport(where, value.transport);
      add(`compat_monitor${i}`, value.transport, false);
    }
  }
  for (const { where, value: { chardev, mode, pretty } } of mon) {
    if (mode === "control") add(chardev, chardevs.resolveMonitor(where, chardev), pretty);
    else if (pretty) throw new OptionError(where, "'pretty' is for mode=control");
  }
  return monitors;
}

/**
 * Puts the monitors for people of `-monitor` and `-mon` on their character devices.
 *
 * @throws {OptionError} as {@linkcode resolveMonitors}.
 */
export function resolveHumanMonitors(
  { qmp, monitor, mon }: Pick<Arguments, "qmp" | "monitor" | "mon">,
  chardevs: ChardevPool,
): void {
  for (const [i, { where, value }] of monitor.entries()) {
    chardevs.addHumanMonitor(where, value, `compat_monitor${qmp.length + i}`);
  }
  for (const { where, value: { chardev, mode } } of mon) {
    if (mode === "readline") chardevs.addHumanMonitor(where, { kind: "chardev", id: chardev }, chardev);
  }
}
