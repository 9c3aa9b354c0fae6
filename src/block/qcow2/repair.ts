/**
 * Repairs a qcow2 image: its refcounts, and the flags and bits that depend on them.
 *
 * Each step leaves the image no worse than it was if the host goes down after it: refcounts go up before they go down, both before
 * the flags that allow writing in place, and the header's dirty and corrupt bits are cleared when all else is on stable storage.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { type CheckOptions, inspectAndCompare, summary } from "./check.ts";
import { adjustRefcounts } from "./compare.ts";
import { repairCopiedFlags, repairEntries } from "./entry_repair.ts";
import { syncFile, writeBytes } from "./file_io.ts";
import type { CheckResult } from "./findings.ts";
import { inspectForFreshRefcounts, writeFreshRefcounts } from "./fresh_refcounts.ts";
import { HeaderField, Incompatible, type Qcow2Header, readHeader } from "./header.ts";
import { inspect, type Inspection } from "./inspection.ts";

/** What is repaired: refcounts that are too high, or everything that can be (`qemu-img check -r`). */
export type RepairScope = "leaks" | "all";

/**
 * Rounds of repairs, each of which reads all tables. Only an image made for it takes more than two or three: there, every table lies
 * under an entry of the table before it.
 */
const MOST_PASSES = 16;

/** What was repaired so far. */
interface Fixed {
  corruptions: number;
  leaks: number;
}

/**
 * Checks an image, repairs it, and checks it again, until there is nothing left to repair: what is repaired may take away what lay
 * over a table, whose entries can be repaired from then on.
 *
 * Entries that lead nowhere, or to the wrong place, cannot be repaired. As long as there are any, nothing that may be what they once
 * led to is freed.
 *
 * @returns what the last check found, and how much was repaired.
 * @throws {Error} when the header makes no sense, or the file cannot be read or written.
 */
export function* repairQcow2(file: HostFile, scope: RepairScope, options: CheckOptions = {}): Coroutine<CheckResult> {
  if (file.readOnly) throw new Error(`Cannot repair ${file.name}: it is open for reading only`);
  const fixed = { corruptions: 0, leaks: 0 };
  let checked = yield* inspectAndCompare(file, yield* readHeader(file), part(options, 0, 0.4));
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const before = fixed.corruptions;
    yield* repairAll(checked.inspection, scope, fixed);
    const { progress } = pass === 0 ? part(options, 0.6, 0.4) : {};
    checked = yield* inspectAndCompare(file, yield* readHeader(file), { progress });
    if (fixed.corruptions <= before) break;
  }
  const { inspection, end } = checked;
  const { corruptions, checkErrors } = inspection.findings;
  if (corruptions === 0 && checkErrors === 0) yield* clearBits(file, inspection.header);
  options.progress?.(1);
  return { ...summary(inspection, end), corruptionsFixed: fixed.corruptions, leaksFixed: fixed.leaks };
}

/**
 * Makes the refcounts of an image right that was not closed: its dirty bit is set.
 *
 * @throws {Error} when errors are left that cannot be repaired.
 */
export function* rebuildRefcounts(file: HostFile): Coroutine<void> {
  let last = "";
  const { corruptions, checkErrors } = yield* repairQcow2(file, "all", { report: (line) => last = line });
  const left = corruptions + checkErrors;
  if (left > 0) {
    throw new Error(
      `Cannot open ${file.name}: it was not closed, and ${left} errors are left after a repair (${last})`,
    );
  }
}

/** A part of the whole work, for progress. */
function part({ report, progress }: CheckOptions, start: number, share: number): CheckOptions {
  return { report, progress: (fraction) => progress?.(start + share * fraction) };
}

function* repairAll(before: Inspection, scope: RepairScope, fixed: Fixed): Coroutine<void> {
  const { file, header, findings } = before;
  let inspection = before;
  if (scope === "all") {
    const entries = yield* repairEntries(inspection);
    fixed.corruptions += entries;
    // What the entries referred to is not in use any more.
    if (entries > 0) inspection = (yield* inspectAndCompare(file, header, {})).inspection;
  }
  if (inspection.brokenRefcounts) {
    if (scope === "leaks" || inspection.incomplete) {
      const why = scope === "leaks" ? "only leaks are to be repaired" : "there are tables that cannot be followed";
      findings.say(`The refcounts have to be built anew, which is not done: ${why}`);
      return;
    }
    const left = yield* buildAnew(inspection);
    if (left === undefined) {
      findings.say("The refcounts have to be built anew, which is not done: too much leads behind the end of the file");
      return;
    }
    fixed.corruptions += refcountErrors(inspection) - refcountErrors(left);
    fixed.leaks += inspection.findings.leaks;
  } else {
    if (scope === "all") fixed.corruptions += yield* adjustRefcounts(inspection, "up");
    if (!inspection.incomplete) fixed.leaks += yield* adjustRefcounts(inspection, "down");
    else findings.say("Leaks are left alone, because there are tables that cannot be followed");
  }
  if (scope === "all" || (refcountErrors(before) === 0 && findings.checkErrors === 0)) {
    fixed.corruptions += yield* repairCopiedFlags(yield* inspect(file, yield* readHeader(file)));
  }
}

/** Errors but for copied flags, which are repaired, and counted, after the refcounts. */
function refcountErrors({ findings, wrongCopiedFlags }: Inspection): number {
  return findings.corruptions - wrongCopiedFlags;
}

/** Writes the refcount table anew. @returns what is wrong then; `undefined` if there is no place for it. */
function* buildAnew({ file, header }: Inspection): Coroutine<Inspection | undefined> {
  const inspection = yield* inspectForFreshRefcounts(file, header);
  if (inspection === undefined) return undefined;
  yield* writeFreshRefcounts(inspection);
  return (yield* inspectAndCompare(file, yield* readHeader(file), {})).inspection;
}

/** Clears the dirty and the corrupt bit. */
function* clearBits(file: HostFile, { version, incompatibleFeatures }: Qcow2Header): Coroutine<void> {
  const cleared = incompatibleFeatures & ~(Incompatible.DIRTY | Incompatible.CORRUPT);
  if (version === 2 || cleared === incompatibleFeatures) return;
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, cleared);
  yield* syncFile(file);
  yield* writeBytes(file, HeaderField.INCOMPATIBLE_FEATURES, new Uint8Array(bytes.buffer));
  yield* syncFile(file);
}
