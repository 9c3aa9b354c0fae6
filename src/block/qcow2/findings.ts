/**
 * What a check of an image finds, counted as `qemu-img check` counts it.
 *
 * @module
 */

/** The outcome of a check. */
export interface CheckResult {
  /** Parts of the image that could not be checked. */
  readonly checkErrors: number;
  /** Places where data are, or may come to be, lost. */
  readonly corruptions: number;
  /** Clusters that are in use by the refcounts, but not by anything that refers to them. */
  readonly leaks: number;
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  /** Where the last cluster in use ends, in bytes. */
  readonly imageEndOffset: number;
  /** Guest clusters of the virtual size. */
  readonly totalClusters: number;
  /** Guest clusters that have a place in the image, or in its data file. */
  readonly allocatedClusters: number;
  /** Of these, those that do not follow their predecessor. Compressed clusters count as such. */
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
}

/** `qemu-img check --output=json`. Fields that QEMU leaves out when they are zero are `undefined` then. */
export interface CheckReport {
  readonly filename: string;
  readonly format: string;
  readonly "check-errors": number;
  readonly "image-end-offset"?: number;
  readonly corruptions?: number;
  readonly leaks?: number;
  readonly "corruptions-fixed"?: number;
  readonly "leaks-fixed"?: number;
  readonly "total-clusters"?: number;
  readonly "allocated-clusters"?: number;
  readonly "fragmented-clusters"?: number;
  readonly "compressed-clusters"?: number;
}

/** A check in QEMU's words (qapi/block-core.json, "ImageCheck"). */
export function checkReport(filename: string, result: CheckResult): CheckReport {
  const some = (count: number) => (count === 0 ? undefined : count);
  return {
    "image-end-offset": some(result.imageEndOffset),
    "total-clusters": some(result.totalClusters),
    corruptions: some(result.corruptions),
    "corruptions-fixed": some(result.corruptionsFixed),
    "check-errors": result.checkErrors,
    leaks: some(result.leaks),
    "leaks-fixed": some(result.leaksFixed),
    "allocated-clusters": some(result.allocatedClusters),
    filename,
    format: "qcow2",
    "fragmented-clusters": some(result.fragmentedClusters),
    "compressed-clusters": some(result.compressedClusters),
  };
}

/** Messages that are passed on; a hostile image is good for billions. */
const MOST_MESSAGES = 10_000;

/** A line of a report, or how to make it: there may be millions, most of which are never read. */
type Line = string | (() => string);

/** Counts what is found, and says it. */
export class Findings {
  corruptions = 0;
  /**
   * Of what is found, that which the references do not tell how to put right: an entry that leads nowhere or to the wrong place, or
   * two things in one place. Not refcounts, nor flags that tell of them.
   */
  damages = 0;
  /** What was damaged first. */
  firstDamage: string | undefined;
  leaks = 0;
  checkErrors = 0;
  readonly #report: (line: string) => void;
  #messages = 0;

  /** @param report Is given one line for each finding. */
  constructor(report: (line: string) => void = () => {}) {
    this.#report = report;
  }

  /** Something that is wrong and no mere refcount, as often as it counts. */
  corruption(problem: string, times = 1): void {
    this.corruptions += times;
    this.damage(problem);
  }

  /** Damage that is counted as a corruption otherwise. */
  damage(problem: string): void {
    this.damages++;
    this.firstDamage ??= problem;
    this.say(`ERROR ${problem}`);
  }

  /** A refcount that is wrong, or cannot be read, or a flag that does not fit it; as often as it counts. */
  wrongRefcount(problem: Line, times = 1): void {
    this.corruptions += times;
    this.#say("ERROR ", problem);
  }

  /** A cluster that is lost for use. */
  leak(problem: Line): void {
    this.leaks++;
    this.#say("Leaked ", problem);
  }

  /** Something that cannot be checked. */
  unchecked(problem: string): void {
    this.checkErrors++;
    this.say(`ERROR ${problem}`);
  }

  /** A line that counts for nothing. */
  say(line: string): void {
    this.#say("", line);
  }

  #say(kind: string, line: Line): void {
    this.#messages++;
    if (this.#messages <= MOST_MESSAGES) this.#report(`${kind}${typeof line === "string" ? line : line()}`);
    else if (this.#messages === MOST_MESSAGES + 1) this.#report("Further messages are left out");
  }
}

/** A table entry, for messages. */
export function hex64(hi: number, lo: number): string {
  return `0x${(BigInt(hi) << 32n | BigInt(lo)).toString(16)}`;
}
