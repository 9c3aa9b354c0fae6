/**
 * What a walk of an untrusted image may cost.
 *
 * A walk takes time and memory in proportion to the tables of an image, which may be made so that each of their bytes costs as much
 * as it can.
 *
 * @module
 */

/** The most that a walk may take. */
export interface WalkLimits {
  /** Bytes of memory for counting references. */
  readonly memory: number;
  /** Entries of tables, and refcounts, that are looked at. */
  readonly entries: number;
}

const GIB = 2 ** 30;

/**
 * For a tool that somebody waits for and can interrupt: an image in order of 64 TiB with clusters of 64 KiB takes 3 GiB. Time has no
 * limit but that of the image's tables.
 */
export const OFFLINE_LIMITS: WalkLimits = { memory: 4 * GIB, entries: Infinity };

/**
 * For the check before a repair while a virtual machine starts: enough for disks with 1 TiB of data in clusters of 64 KiB, and a matter
 * of seconds. The repair, after it, takes a few times as long.
 */
export const OPENING_LIMITS: WalkLimits = { memory: 0.5 * GIB, entries: 64 * 2 ** 20 };

/** What a table costs beside its entries, in entries: a read takes that much longer than a look at one. */
const TABLE_COST = 256;

/** Thrown when an image takes more than the limits. */
export class TooLargeError extends Error {
  override readonly name = "TooLargeError";
}

/** Counts what is done with an image, in one walk or several, and ends it at the limits. */
export class Effort {
  readonly #image: string;
  #limits: WalkLimits;
  #entries = 0;

  /** @param image The image's name, for messages. */
  constructor(image: string, limits: WalkLimits = OFFLINE_LIMITS) {
    this.#image = image;
    this.#limits = limits;
  }

  /** Ends all limits: what has been begun with an image has to come to its end. */
  lift(): void {
    this.#limits = { memory: Infinity, entries: Infinity };
  }

  /** Adds a table that is going to be read, or made, with so many entries. @throws {TooLargeError} when that is too much. */
  spendTable(entries: number): void {
    this.spend(TABLE_COST + entries);
  }

  /** Adds entries that are going to be looked at. @throws {TooLargeError} when they are too many. */
  spend(entries: number): void {
    this.#entries += entries;
    const { entries: most } = this.#limits;
    if (this.#entries > most) this.#refuse(`going through its tables takes more than ${most} steps`);
  }

  /** Checks the memory that counting takes now, in bytes. @throws {TooLargeError} when it is too much. */
  readonly checkMemory = (bytes: number): void => {
    const { memory: most } = this.#limits;
    if (bytes > most) this.#refuse(`counting what its tables lead to takes more than ${most / GIB} GiB of memory`);
  };

  #refuse(problem: string): never {
    throw new TooLargeError(`Cannot check ${this.#image}: ${problem}`);
  }
}
