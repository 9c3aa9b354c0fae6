/**
 * What a guest knows about its disk: which writes it issued, which of them it was told are complete, and which of these it was told are on
 * stable storage.
 *
 * From that follows what each sector may hold after a crash: the newest write that is known to be durable, or any write after it, whether it
 * was acknowledged or not.
 *
 * @module
 */
import { ORIGINAL, ZERO } from "./sector.ts";

/** A change of the disk that was issued. */
export interface Change {
  /** Numbers of changes ascend in the order in which they are issued. */
  readonly id: number;
  readonly sector: number;
  readonly count: number;
  /** What each sector holds afterwards; {@linkcode ZERO} for zeroes. */
  readonly value: number;
  /** Whether the disk need not do it: a discard. */
  readonly optional: boolean;
}

/** A flush that was issued: what it makes durable when it is acknowledged. */
export type Flush = ReadonlyMap<number, number>;

/** See the module. */
export class Journal {
  /** For each sector the changes that it may be in the state of, oldest first. The first is durable. */
  readonly #possible: number[][];
  /** Value by change. The first ones are what the disk held at first. */
  readonly #values: number[];
  readonly #optional = new Set<number>();
  /** The newest acknowledged change of each sector that is not known to be durable. */
  readonly #volatile = new Map<number, number>();

  /** @param initial What each sector holds: {@linkcode ZERO} or {@linkcode ORIGINAL}. */
  constructor(initial: readonly number[]) {
    this.#values = [ZERO, ORIGINAL];
    this.#possible = initial.map((value) => [this.#values.indexOf(value)]);
  }

  /** How many sectors the disk has. */
  get sectors(): number {
    return this.#possible.length;
  }

  /** The value that the next change may have: different from all before. */
  get nextValue(): number {
    return this.#values.length;
  }

  /** A change is about to be issued. No other one that is under way may touch its sectors. */
  issue(sector: number, count: number, value: number, optional = false): Change {
    const id = this.#values.push(value) - 1;
    if (optional) this.#optional.add(id);
    for (let i = sector; i < sector + count; i++) this.#possible[i].push(id);
    return { id, sector, count, value, optional };
  }

  /** A change was acknowledged. @param durable Whether that says that it is on stable storage. */
  acknowledge({ id, sector, count, optional }: Change, durable: boolean): void {
    if (optional) return;
    for (let i = sector; i < sector + count; i++) {
      if (durable) {
        this.#possible[i] = [id];
        this.#volatile.delete(i);
      } else {
        this.#volatile.set(i, id);
      }
    }
  }

  /** A flush is about to be issued. */
  issueFlush(): Flush {
    return new Map(this.#volatile);
  }

  /** A flush was acknowledged. */
  acknowledgeFlush(flush: Flush): void {
    for (const [sector, id] of flush) {
      const changes = this.#possible[sector];
      const at = changes.indexOf(id);
      // A later change of the sector may have become durable by itself.
      if (at >= 0) this.#possible[sector] = changes.slice(at);
      if (this.#volatile.get(sector) === id) this.#volatile.delete(sector);
    }
  }

  /** The values that a sector may hold. */
  possibleValues(sector: number): number[] {
    return [...new Set(this.#possible[sector].map((id) => this.#values[id]))];
  }

  /** The values that a sector may be read with while no change of it is under way. */
  currentValues(sector: number): number[] {
    const changes = this.#possible[sector];
    const newest = changes.findLastIndex((id) => !this.#optional.has(id));
    return [...new Set(changes.slice(Math.max(newest, 0)).map((id) => this.#values[id]))];
  }

  /** The disk was read after a crash, and what it holds now is what it held then. */
  settle(sector: number, value: number): void {
    const id = this.#possible[sector].findLast((id) => this.#values[id] === value);
    if (id === undefined) throw new RangeError(`sector ${sector} cannot hold ${value}`);
    this.#possible[sector] = [id];
    this.#volatile.delete(sector);
  }
}

/** A value for people. */
export function describeValue(value: number): string {
  if (value < 0) return "something that was never written";
  return value === ZERO ? "zeroes" : `the value ${value}`;
}
