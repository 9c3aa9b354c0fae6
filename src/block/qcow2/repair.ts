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
import { type CheckedImage, type CheckOptions, inspectAndCompare, summary } from "./check.ts";
import { adjustRefcounts } from "./compare.ts";
import { repairCopiedFlags, repairEntries } from "./entry_repair.ts";
import { syncFile, writeBytes } from "./file_io.ts";
import type { CheckResult, Findings } from "./findings.ts";
import { inspectForFreshRefcounts, writeFreshRefcounts } from "./fresh_refcounts.ts";
import { HeaderField, Incompatible, type Qcow2Header, readHeader } from "./header.ts";
import type { Inspection } from "./inspection.ts";
import { Effort, OPENING_LIMITS, TooLargeError, type WalkLimits } from "./walk_limits.ts";

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
 * led to is freed; but where refcounts have to be built anew, nobody knows what was in use, and what no entry leads to is free.
 *
 * @returns what the last check found, and how much was repaired.
 * @throws {TooLargeError} when that takes more than the effort allows, by default that of `OFFLINE_LIMITS`.
 * @throws {Error} when the header makes no sense, or the file cannot be read or written.
 */
export function* repairQcow2(file: HostFile, scope: RepairScope, options: CheckOptions = {}): Coroutine<CheckResult> {
  if (file.readOnly) throw new Error(`Cannot repair ${file.name}: it is open for reading only`);
  const effort = options.effort ?? new Effort(file.name);
  const checked = yield* inspectAndCompare(file, yield* readHeader(file), { ...part(options, 0, 0.4), effort });
  return yield* repairChecked(checked, scope, { ...options, effort });
}

/**
 * Makes the refcounts of an image right that was not closed: its dirty bit is set.
 *
 * Nobody has asked for that, or looks at what is found. So an image is left as it is, for a repair by hand, if anything is wrong but
 * refcounts and the flags that tell of them: a cluster that nothing refers to is not known to be free then.
 *
 * @throws {Error} when the image has other errors, or is too large for {@linkcode OPENING_LIMITS}. Nothing is changed then.
 */
export function* rebuildRefcounts(file: HostFile, limits: WalkLimits = OPENING_LIMITS): Coroutine<void> {
  const refuse = (problem: string): never => {
    throw new Error(`Cannot open ${file.name}: it was not closed, and ${problem}`);
  };
  const effort = new Effort(file.name, limits);
  const checked = yield* checkWithin(file, effort);
  if (checked === undefined) {
    return refuse("its repair would hold up the opening for too long; run `splitvm img check -r all` first");
  }
  const { damages, checkErrors, firstDamage } = checked.inspection.findings;
  if (damages + checkErrors > 0) refuse(`it has errors beyond its refcounts, so nothing was repaired (${firstDamage})`);
  effort.lift();
  const left = yield* repairChecked(checked, "all", { effort });
  const errors = left.corruptions + left.checkErrors;
  if (errors > 0) refuse(`${errors} errors are left after a repair`);
}

/** @returns `undefined` when the effort does not allow to check the image. */
function* checkWithin(file: HostFile, effort: Effort): Coroutine<CheckedImage | undefined> {
  try {
    return yield* inspectAndCompare(file, yield* readHeader(file), { effort });
  } catch (error) {
    if (error instanceof TooLargeError) return undefined;
    throw error;
  }
}

/** A part of the whole work, for progress. */
function part({ report, progress }: CheckOptions, start: number, share: number): CheckOptions {
  return { report, progress: (fraction) => progress?.(start + share * fraction) };
}

/** Repairs an image after a check, of which `checked` is the outcome. */
function* repairChecked(
  checked: CheckedImage,
  scope: RepairScope,
  options: CheckOptions,
): Coroutine<CheckResult> {
  const { file } = checked.inspection;
  const { effort } = options;
  const fixed = { corruptions: 0, leaks: 0 };
  let { inspection, end } = checked;
  for (let pass = 0; pass < MOST_PASSES && hasFindings(inspection); pass++) {
    const before = fixed.corruptions;
    yield* repairAll(inspection, scope, fixed);
    const { progress } = pass === 0 ? part(options, 0.6, 0.4) : {};
    ({ inspection, end } = yield* inspectAndCompare(file, yield* readHeader(file), { progress, effort }));
    if (fixed.corruptions <= before) break;
  }
  const { corruptions, checkErrors } = inspection.findings;
  if (corruptions === 0 && checkErrors === 0) yield* clearBits(file, inspection.header);
  options.progress?.(1);
  return { ...summary(inspection, end), corruptionsFixed: fixed.corruptions, leaksFixed: fixed.leaks };
}

function hasFindings({ findings: { corruptions, leaks, checkErrors } }: Inspection): boolean {
  return corruptions + leaks + checkErrors > 0;
}

function* repairAll(before: Inspection, scope: RepairScope, fixed: Fixed): Coroutine<void> {
  const { file, header, findings, effort } = before;
  let inspection = before;
  if (scope === "all" && findings.damages > 0) {
    const entries = yield* repairEntries(inspection);
    fixed.corruptions += entries;
    // What the entries referred to is not in use any more.
    if (entries > 0) inspection = (yield* inspectAndCompare(file, header, { effort })).inspection;
  }
  if (inspection.brokenRefcounts) {
    const anew = yield* replaceRefcounts(inspection, scope, findings, fixed);
    if (anew === undefined) return;
    inspection = anew;
  } else {
    if (scope === "all") fixed.corruptions += yield* adjustRefcounts(inspection, "up");
    const { incomplete, lostEntries } = inspection;
    if (!incomplete && !lostEntries) fixed.leaks += yield* adjustRefcounts(inspection, "down");
    else if (inspection.findings.leaks > 0) {
      findings.say("Leaks are left alone: there are entries that lead nowhere, or tables that cannot be followed");
    }
  }
  // The references are what they were, and the refcounts are known as they were written.
  if (scope === "all" || (refcountErrors(before) === 0 && findings.checkErrors === 0)) {
    fixed.corruptions += yield* repairCopiedFlags(inspection);
  }
}

/** Writes the refcounts of an image anew if that may be done. @returns what is wrong then; `undefined` if it is not done. */
function* replaceRefcounts(
  inspection: Inspection,
  scope: RepairScope,
  findings: Findings,
  fixed: Fixed,
): Coroutine<Inspection | undefined> {
  const refuse = (why: string) => findings.say(`The refcounts have to be built anew, which is not done: ${why}`);
  if (scope === "leaks") return void refuse("only leaks are to be repaired");
  if (inspection.incomplete) return void refuse("there are tables that cannot be followed");
  const left = yield* buildAnew(inspection);
  if (left === undefined) return void refuse("too much leads behind the end of the file");
  fixed.corruptions += refcountErrors(inspection) - refcountErrors(left);
  fixed.leaks += inspection.findings.leaks;
  return left;
}

/** Errors but for copied flags, which are repaired, and counted, after the refcounts. */
function refcountErrors({ findings, wrongCopiedFlags }: Inspection): number {
  return findings.corruptions - wrongCopiedFlags;
}

/** Writes the refcount table anew. @returns what is wrong then; `undefined` if there is no place for it. */
function* buildAnew({ file, header, effort }: Inspection): Coroutine<Inspection | undefined> {
  const inspection = yield* inspectForFreshRefcounts(file, header, effort);
  if (inspection === undefined) return undefined;
  yield* writeFreshRefcounts(inspection);
  return (yield* inspectAndCompare(file, yield* readHeader(file), { effort })).inspection;
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
