/**
 * Tells the format of an image from its first bytes, as QEMU does it.
 *
 * Formats that are not served are known by name, so that an image of another program is refused instead of being served, with its
 * metadata, as a raw disk.
 *
 * @module
 */
import { type Coroutine, waitFor } from "./coroutine.ts";
import type { HostFile } from "./host_file.ts";

/** Bytes that probing looks at (QEMU, include/block/block_int-common.h, BLOCK_PROBE_BUF_SIZE). */
export const PROBE_SIZE = 512;

/** A format, by QEMU's name for it. */
export type ProbedFormat =
  | "raw"
  | "qcow2"
  | "qcow"
  | "qed"
  | "vmdk"
  | "vdi"
  | "vpc"
  | "vhdx"
  | "luks"
  | "parallels"
  | "bochs"
  | "cloop";

/** Bytes that a format has at a fixed place. */
interface Signature {
  readonly format: ProbedFormat;
  readonly bytes: Uint8Array;
  /** @default {0} */
  readonly at?: number;
}

const text = (characters: string) => Uint8Array.from(characters, (character) => character.charCodeAt(0));

/** Each from its driver in QEMU (block/*.c, the function that ends in `_probe`). */
const SIGNATURES: readonly Signature[] = [
  { format: "qcow", bytes: text("QFI\xfb\0\0\0\x01") },
  { format: "qed", bytes: text("QED\0") },
  { format: "vmdk", bytes: text("COWD") },
  { format: "vmdk", bytes: text("KDMV") },
  { format: "vdi", bytes: Uint8Array.of(0x7f, 0x10, 0xda, 0xbe), at: 0x40 },
  { format: "vpc", bytes: text("conectix") },
  { format: "vhdx", bytes: text("vhdxfile") },
  { format: "luks", bytes: text("LUKS\xba\xbe") },
  { format: "parallels", bytes: text("WithoutFreeSpace") },
  { format: "parallels", bytes: text("WithouFreSpacExt") },
  { format: "bochs", bytes: text("Bochs Virtual HD Image\0") },
  {
    format: "cloop",
    bytes: text("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"),
  },
];

function begins(start: Uint8Array, { bytes, at = 0 }: Signature): boolean {
  return start.length >= at + bytes.length && bytes.every((byte, i) => start[at + i] === byte);
}

/** qcow2's magic number is qcow's; every version from 2 on is qcow2's (block/qcow2.c, `qcow2_probe`). */
function isQcow2(start: Uint8Array): boolean {
  if (start.length < 8 || !begins(start, { format: "qcow2", bytes: text("QFI\xfb") })) return false;
  return new DataView(start.buffer, start.byteOffset).getUint32(4) >= 2;
}

/** A VMDK descriptor is text: comments and empty lines, then the version (block/vmdk.c, `vmdk_probe`). */
function isVmdkDescriptor(start: Uint8Array): boolean {
  if (start[0] !== 0x23) return false;
  const lines = String.fromCharCode(...start).split(/\r?\n/);
  const first = lines.find((line) => !line.startsWith("#") && !/^ *$/.test(line));
  return first !== undefined && /^version=[123]$/.test(first);
}

/**
 * The format that an image with these first bytes is in; `raw` where they are no known format's.
 *
 * @param start The first {@linkcode PROBE_SIZE} bytes, or all of a file that is smaller.
 */
export function detectFormat(start: Uint8Array): ProbedFormat {
  if (isQcow2(start)) return "qcow2";
  if (isVmdkDescriptor(start)) return "vmdk";
  return SIGNATURES.find((signature) => begins(start, signature))?.format ?? "raw";
}

/**
 * Probes a file.
 *
 * @throws {Error} in one line for a format that is not served.
 */
export function* probeFormat(file: HostFile): Coroutine<"raw" | "qcow2"> {
  const start = new Uint8Array(Math.min(PROBE_SIZE, file.size));
  yield* waitFor((done) => file.read(0, start, done));
  const format = detectFormat(start);
  if (format === "raw" || format === "qcow2") return format;
  throw new Error(
    `Cannot open ${file.name}: it is a ${format} image; splitvm serves raw and qcow2 (convert it with qemu-img)`,
  );
}
