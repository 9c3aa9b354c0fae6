/**
 * `img info` for people, as qemu-img prints it.
 *
 * @module
 */
import { exactSize, humanSize } from "./human_size.ts";
import type { ImageInfo, SnapshotInfo } from "./image_info.ts";
import { printable } from "../printable.ts";

/** The lines about an image. */
export function infoText(info: ImageInfo): string {
  const lines = [
    `image: ${printable(info.filename)}`,
    `file format: ${info.format}`,
    `virtual size: ${exactSize(info["virtual-size"])}`,
    `disk size: ${humanSize(info["actual-size"])}`,
  ];
  if (info["cluster-size"] !== undefined) lines.push(`cluster_size: ${info["cluster-size"]}`);
  if (info["dirty-flag"]) lines.push("cleanly shut down: no");
  lines.push(...backingLines(info));
  if (info.snapshots !== undefined) lines.push("Snapshot list:", SNAPSHOT_HEAD, ...info.snapshots.map(snapshotLine));
  if (info["format-specific"] !== undefined) {
    lines.push("Format specific information:", ...fieldLines(info["format-specific"].data, 1));
  }
  return lines.map((line) => `${line}\n`).join("");
}

function backingLines(info: ImageInfo): string[] {
  const { "backing-filename": name, "full-backing-filename": full, "backing-filename-format": format } = info;
  if (name === undefined) return [];
  const actual = full === name
    ? ""
    : full === undefined
    ? " (cannot determine actual path)"
    : ` (actual path: ${printable(full)})`;
  const lines = [`backing file: ${printable(name)}${actual}`];
  if (format !== undefined) lines.push(`backing file format: ${printable(format)}`);
  return lines;
}

/** Columns of the list of snapshots. */
function snapshotColumns(id: string, name: string, size: string, date: string, clock: string, count: string): string {
  const left = `${id.padEnd(9)} ${name.padEnd(16)} `;
  return `${left}${size.padStart(8)}${date.padStart(20)}${clock.padStart(13)}${count.padStart(11)}`;
}

const SNAPSHOT_HEAD = snapshotColumns("ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");

function snapshotLine(snapshot: SnapshotInfo): string {
  return snapshotColumns(
    printable(snapshot.id),
    printable(snapshot.name),
    humanSize(snapshot["vm-state-size"]),
    localTime(snapshot["date-sec"]),
    clockTime(snapshot["vm-clock-sec"], snapshot["vm-clock-nsec"]),
    snapshot.icount === undefined ? "" : String(snapshot.icount),
  );
}

const twoDigits = (value: number) => String(value).padStart(2, "0");

/** A moment in the time zone of the user: `2026-11-21 14:20:23`. */
function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const day = [date.getFullYear(), twoDigits(date.getMonth() + 1), twoDigits(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":")}`;
}

/** A time that the guest had been running: `00:01:02.345`. */
function clockTime(seconds: number, nanoseconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${parts.map(twoDigits).join(":")}.${String(Math.floor(nanoseconds / 1e6)).padStart(3, "0")}`;
}

/** A field's name as people read it. The order of fields, and names with blanks for hyphens, are QEMU's. */
const FIELD_ORDER = [
  "compat",
  "compression-type",
  "lazy-refcounts",
  "bitmaps",
  "refcount-bits",
  "data-file",
  "data-file-raw",
  "corrupt",
  "extended-l2",
  "flags",
  "name",
  "granularity",
];

function fieldLines(fields: object, depth: number): string[] {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  entries.sort(([a], [b]) => FIELD_ORDER.indexOf(a) - FIELD_ORDER.indexOf(b));
  return entries.flatMap(([name, value]) => valueLines(name.replaceAll("-", " "), value, depth));
}

function valueLines(name: string, value: unknown, depth: number): string[] {
  const indent = "    ".repeat(depth);
  if (Array.isArray(value)) {
    return [`${indent}${name}:`, ...value.flatMap((element, at) => valueLines(`[${at}]`, element, depth + 1))];
  }
  if (typeof value === "object" && value !== null) return [`${indent}${name}:`, ...fieldLines(value, depth + 1)];
  return [`${indent}${name}: ${printable(String(value))}`];
}
