/**
 * What QMP answers, in the words of the human monitor of QEMU 7.2 (monitor/hmp-cmds.c, block/monitor/block-hmp-cmds.c): programs that read
 * them exist.
 *
 * The answers are those of this process's own commands, and have the form that the QMP schema says.
 *
 * @module
 */
import { exactSize } from "../img/human_size.ts";
import { quote } from "../options/option_error.ts";
import type { BlockInfo, InsertedImage } from "../qmp/block_info.ts";

/** A drive of `query-block`, whose device process may not have told of its image. */
type Drive = Omit<BlockInfo, "inserted"> & { readonly inserted?: InsertedImage };

/** `query-status` (StatusInfo, qapi/run-state.json). */
export function statusLines(result: unknown): string[] {
  const { running, status } = result as { running: boolean; status: string };
  if (running) return ["VM status: running"];
  return [status === "paused" ? "VM status: paused" : `VM status: paused (${status})`];
}

/** `query-name` (NameInfo, qapi/misc.json). */
export function nameLines(result: unknown): string[] {
  const { name } = result as { name?: string };
  return name === undefined ? [] : [name];
}

/** `query-uuid` (UuidInfo, qapi/machine.json). */
export function uuidLines(result: unknown): string[] {
  const { UUID: uuid } = result as { UUID: string };
  return [uuid];
}

/** `query-kvm` (KvmInfo, qapi/machine.json). */
export function kvmLines(result: unknown): string[] {
  const { enabled } = result as { enabled: boolean };
  return [`kvm support: ${enabled ? "enabled" : "disabled"}`];
}

/** `query-cpus-fast`. The first is marked as the one that commands about a single vCPU would mean; there are none. */
export function cpuLines(result: unknown): string[] {
  const cpus = result as { "cpu-index": number; "thread-id": number }[];
  return cpus.map((cpu, i) => `${i === 0 ? "*" : " "} CPU #${cpu["cpu-index"]}: thread_id=${cpu["thread-id"]}`);
}

/** `query-chardev` (ChardevInfo, qapi/char.json). */
export function chardevLines(result: unknown): string[] {
  const chardevs = result as { label: string; filename: string }[];
  return chardevs.map(({ label, filename }) => `${label}: filename=${filename}`);
}

/** `query-memory-size-summary` (MemoryInfo, qapi/machine.json), in bytes. */
export function memorySizeLines(result: unknown): string[] {
  const { "base-memory": base, "plugged-memory": plugged } = result as {
    "base-memory": number;
    "plugged-memory"?: number;
  };
  return [`base memory: ${base}`, ...plugged === undefined ? [] : [`plugged memory: ${plugged}`]];
}

/** An entry of `query-device-processes`. */
interface DeviceProcess {
  readonly device: string;
  readonly state: string;
  readonly pid?: number;
  readonly sandboxed?: boolean;
  readonly restart?: "on" | "off" | number;
  readonly restarts?: number;
  readonly accelerated: boolean;
  readonly deadline: number;
  readonly heartbeat?: {
    readonly interval: number;
    readonly sent: number;
    readonly answered: number;
    readonly last?: number;
    readonly mean?: number;
    readonly max?: number;
  };
}

/** `query-device-processes`, which QEMU does not have. */
export function deviceProcessLines(result: unknown): string[] {
  return (result as DeviceProcess[]).flatMap((answer) => {
    const { device, state, pid, sandboxed, accelerated, deadline, heartbeat, restart = "off", restarts } = answer;
    const process = pid === undefined ? [] : [`process ${pid}`, sandboxed ? "sandboxed" : "not sandboxed"];
    const wire = accelerated ? "shared memory" : "messages";
    const times = restart === "off" ? [] : [`restart ${restart} (${restarts} so far)`];
    return [
      `${device}: ${[state, ...process, wire, `deadline ${deadline} ms`, ...times].join(", ")}`,
      ...heartbeat === undefined ? [] : heartbeatLines(heartbeat),
    ];
  });
}

function heartbeatLines(heartbeat: NonNullable<DeviceProcess["heartbeat"]>): string[] {
  const { interval, sent, answered, last, mean, max } = heartbeat;
  const times = answered === 0 ? "" : `; last ${last} us, mean ${mean} us, max ${max} us`;
  return [`    Heartbeat: every ${interval} ms, ${answered} of ${sent} answered${times}`];
}

/**
 * `query-block`.
 *
 * @param only A drive to leave all others out for.
 * @param isVerbose Whether to tell of the image, too.
 */
export function blockLines(result: unknown, only: string | undefined, isVerbose: boolean): string[] {
  const drives = (result as Drive[]).filter(({ device }) => only === undefined || device === only);
  if (only !== undefined && drives.length === 0) return [`there is no drive ${quote(only)}`];
  return drives.flatMap((drive, i) => [
    ...i === 0 ? [] : [""],
    ...driveLines(drive),
    ...isVerbose ? imageLines(drive) : [],
  ]);
}

function driveLines({ device, qdev, inserted, "io-status": ioStatus = "ok" }: Drive): string[] {
  const rows: [string, string][] = [];
  if (ioStatus !== "ok") rows.push(["I/O status", ioStatus]);
  if (qdev !== undefined) rows.push(["Attached to", qdev]);
  if (inserted !== undefined) rows.push(...insertedRows(inserted));
  return [
    `${device}: ${inserted === undefined ? "[its device process has not told]" : imageTitle(inserted)}`,
    ...rows.map(([what, value]) => `    ${`${what}:`.padEnd(17)} ${value}`),
  ];
}

function imageTitle({ file, drv, ro }: InsertedImage): string {
  return `${file} (${drv}${ro ? ", read-only" : ""})`;
}

function insertedRows({ cache, backing_file_depth: depth, detect_zeroes: zeroes }: InsertedImage): [string, string][] {
  const caching = [
    cache.writeback ? "writeback" : "writethrough",
    ...cache.direct ? ["direct"] : [],
    ...cache["no-flush"] ? ["ignore flushes"] : [],
  ];
  return [
    ["Cache mode", caching.join(", ")],
    ...depth === 0 ? [] : [["Backing chain", `${depth} deep`] as [string, string]],
    ...zeroes === "off" ? [] : [["Detect zeroes", zeroes] as [string, string]],
  ];
}

function imageLines({ inserted }: Drive): string[] {
  if (inserted === undefined) return [];
  const { filename, format, "virtual-size": size } = inserted.image;
  return ["", "Images:", `image: ${filename}`, `file format: ${format}`, `virtual size: ${exactSize(size)}`];
}
