/**
 * The images that the crash tests write to, and what qemu-img says of them afterwards.
 *
 * @module
 */
import { findProgram } from "../support/requirements.ts";
import { runTool } from "../support/tool.ts";
import { fillSector, ORIGINAL, SECTOR, ZERO } from "./sector.ts";

/** Size of every disk, in bytes. */
export const DISK_SIZE = 8 * 1024 * 1024;

/** A kind of image. */
export interface ImageKind {
  readonly name: string;
  readonly format: "raw" | "qcow2";
  /** What `qemu-img create -o` gets. */
  readonly options?: string;
  /** Whether the first half of the disk comes from a backing file. */
  readonly backed?: boolean;
  /** Whether an internal snapshot shares the first clusters. */
  readonly snapshot?: boolean;
  /** Whether refcounts are only right once the image was closed, or repaired. */
  readonly lazy?: boolean;
  /** Whether a guest in a machine of its own writes to it too, and not only a driver without a guest. */
  readonly inMachine?: boolean;
}

/** All kinds. */
export const IMAGE_KINDS: readonly ImageKind[] = [
  { name: "raw", format: "raw", inMachine: true },
  { name: "qcow2 with the default options", format: "qcow2", inMachine: true },
  { name: "qcow2 version 2", format: "qcow2", options: "compat=0.10" },
  { name: "qcow2 with clusters of 512 bytes", format: "qcow2", options: "cluster_size=512", inMachine: true },
  {
    name: "qcow2 with clusters of 4 KiB and a backing file",
    format: "qcow2",
    options: "cluster_size=4k",
    backed: true,
    inMachine: true,
  },
  { name: "qcow2 version 2 with a backing file", format: "qcow2", options: "compat=0.10", backed: true },
  { name: "qcow2 with lazy refcounts", format: "qcow2", options: "lazy_refcounts=on", lazy: true, inMachine: true },
  {
    name: "qcow2 with lazy refcounts, clusters of 1 KiB and a backing file",
    format: "qcow2",
    options: "lazy_refcounts=on,cluster_size=1k",
    lazy: true,
    backed: true,
  },
  { name: "qcow2 with refcounts of 1 bit", format: "qcow2", options: "refcount_bits=1,cluster_size=2k" },
  { name: "qcow2 with extended L2 entries", format: "qcow2", options: "extended_l2=on,cluster_size=16k" },
  { name: "qcow2 with a snapshot", format: "qcow2", options: "cluster_size=4k", snapshot: true },
];

/** An image and what is beside it. */
export interface CrashImage {
  readonly kind: ImageKind;
  readonly path: string;
  /** What each sector holds at first. */
  readonly initial: readonly number[];
}

const SNAPSHOT = "before";

/** A disk whose first half holds {@linkcode ORIGINAL}, and its second half nothing. */
const HALF_FULL: readonly number[] = Array.from(
  { length: DISK_SIZE / SECTOR },
  (_, sector) => sector < DISK_SIZE / SECTOR / 2 ? ORIGINAL : ZERO,
);

function originalBytes(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(DISK_SIZE);
  HALF_FULL.forEach((value, i) => fillSector(bytes.subarray(i * SECTOR, (i + 1) * SECTOR), i, value));
  return bytes;
}

/** Makes an image in `folder`. */
export function createImage(kind: ImageKind, folder: string): CrashImage {
  const path = `${folder}/disk.${kind.format}`;
  const options = kind.options === undefined ? [] : ["-o", kind.options];
  if (!kind.backed && !kind.snapshot) {
    runTool("qemu-img", "create", "-q", "-f", kind.format, ...options, path, `${DISK_SIZE}`);
    return { kind, path, initial: HALF_FULL.map(() => ZERO) };
  }
  const original = `${folder}/original.raw`;
  // A backing file may be shorter than what is laid over it.
  Deno.writeFileSync(original, originalBytes().subarray(0, kind.backed ? DISK_SIZE / 2 : DISK_SIZE));
  if (kind.backed) {
    const backing = ["-b", original, "-F", "raw"];
    runTool("qemu-img", "create", "-q", "-f", kind.format, ...options, ...backing, path, `${DISK_SIZE}`);
  } else {
    runTool("qemu-img", "convert", "-f", "raw", "-O", kind.format, ...options, original, path);
    runTool("qemu-img", "snapshot", "-q", "-c", SNAPSHOT, path);
  }
  return { kind, path, initial: HALF_FULL };
}

/** @throws {Error} when a backing file or a snapshot is not what it was. */
export function checkBystanders({ kind, path }: CrashImage, folder: string): void {
  if (kind.snapshot) {
    const taken = `${folder}/snapshot.raw`;
    runTool("qemu-img", "convert", "-f", kind.format, "-O", "raw", "-l", SNAPSHOT, path, taken);
    requireOriginal("the snapshot", Deno.readFileSync(taken));
  }
  if (kind.backed) requireOriginal("the backing file", Deno.readFileSync(`${folder}/original.raw`));
}

function requireOriginal(what: string, bytes: Uint8Array): void {
  const original = originalBytes().subarray(0, bytes.length);
  if (bytes.length === 0 || bytes.some((byte, i) => byte !== original[i])) throw new Error(`${what} has changed`);
}

/** How long a killed process's requests may keep the image locked, in milliseconds. */
const LOCK_PATIENCE = 10_000;

/** Runs qemu-img on an image whose last user may have requests with the kernel still. */
function runUnlocked(...args: string[]): { code: number; output: string; errors: string } {
  const deadline = performance.now() + LOCK_PATIENCE;
  for (;;) {
    const { code, stdout, stderr } = new Deno.Command(findProgram("qemu-img")!, { args }).outputSync();
    const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (!/lock/.test(errors) || performance.now() > deadline) return { code, output, errors };
  }
}

/** Exit codes of `qemu-img check` (qemu-img(1)). */
const CLEAN = 0;
const LEAKS = 3;

/**
 * @returns what is wrong with an image, if anything is: leaks are allowed.
 */
export function findErrors(path: string): string | undefined {
  const { code, output, errors } = runUnlocked("check", "-f", "qcow2", path);
  return code === CLEAN || code === LEAKS ? undefined : `qemu-img check says ${code}: ${output}${errors}`;
}

/** More than what can be allocated behind the end of an image's file and not be written yet, in bytes. */
const UNWRITTEN = 2 * DISK_SIZE;

/**
 * Whether clusters of an image are in use by its refcounts, but not by anything else; or its refcounts are not right yet.
 *
 * `qemu-img check` looks at clusters within the file. Refcounts reach it before the clusters that they are for, so that a kill may
 * leave leaks behind its end, which would show as soon as something else makes the file longer. A longer copy shows them at once.
 */
export function hasLeaks({ kind, path }: CrashImage, folder: string): boolean {
  if (kind.format !== "qcow2") return false;
  const longer = `${folder}/longer.qcow2`;
  Deno.copyFileSync(path, longer);
  Deno.truncateSync(longer, Deno.statSync(longer).size + UNWRITTEN);
  return runUnlocked("check", "-f", "qcow2", longer).code !== CLEAN;
}

/** Repairs leaks, or everything. */
export function repair(path: string, what: "leaks" | "all"): void {
  const { code, output, errors } = runUnlocked("check", "-f", "qcow2", "-r", what, path);
  if (code !== 0) throw new Error(`qemu-img check -r ${what} says ${code}: ${output}${errors}`);
}

/** The disk's content as QEMU sees it. */
export function contentByQemu({ kind, path }: CrashImage, folder: string): Uint8Array<ArrayBuffer> {
  const raw = `${folder}/content.raw`;
  const { code, errors } = runUnlocked("convert", "-f", kind.format, "-O", "raw", path, raw);
  if (code !== 0) throw new Error(`qemu-img convert failed: ${errors}`);
  return Deno.readFileSync(raw);
}
