/**
 * What an input has reached: the measure by which a fuzzer knows that an input is worth keeping.
 *
 * Coverage of the code itself would be the usual measure, but V8 gives it out by way of the inspector, as a report on
 * whole scripts: too slow to ask for after each input, of which most take less than a millisecond. So a target says by
 * itself what is worth reaching: a state and the one before it, an opcode and how it ended, a kind of error. Each such
 * feature is a few numbers, hashed into a map. For some it counts how often an input has reached them, by powers of
 * two: a loop that goes round more often is something new.
 *
 * @module
 */

/** Places in the map. Two features may share one; then one of them is overlooked. */
const MAP_SIZE = 1 << 16;

/** How often features are told apart: 1, 2, 3, 4-7, 8-15, 16-31, 32-127 and 128 or more times. */
function frequencyBit(count: number): number {
  if (count < 4) return 1 << (count - 1);
  if (count < 16) return count < 8 ? 8 : 16;
  if (count < 128) return count < 32 ? 32 : 64;
  return 128;
}

function placeOf(kind: number, a: number, b: number, c: number): number {
  let hash = Math.imul(kind + 1, 0x9e3779b1);
  hash = Math.imul(hash ^ a, 0x85ebca6b) ^ hash >>> 15;
  hash = Math.imul(hash ^ b, 0xc2b2ae35) ^ hash >>> 13;
  hash = Math.imul(hash ^ c, 0x27d4eb2f) ^ hash >>> 16;
  return (hash ^ hash >>> 16) & (MAP_SIZE - 1);
}

/** Numbers in a text stand for one another: an address in an error message makes no new kind of error. */
const NUMBER = /0x[0-9a-f]+|\d+/gi;
/** So does what a message quotes of its input, quotation marks included: from the first to the last. */
const QUOTATION = /'.*'/s;

/** A message without what differs from input to input. */
export function kindOf(message: string): string {
  return message.replace(QUOTATION, "'…'").replace(NUMBER, "#");
}

/** Collects what the current input reaches, and all that has ever been reached. */
export class Features {
  readonly #counts = new Uint8Array(MAP_SIZE);
  readonly #seen = new Uint8Array(MAP_SIZE);
  readonly #touched: number[] = [];
  #total = 0;

  /** Features that any input has reached, each frequency of one by itself. */
  get total(): number {
    return this.#total;
  }

  /**
   * The input has reached something that these numbers describe.
   *
   * @param kind Tells one kind of feature from another.
   */
  hit(kind: number, a = 0, b = 0, c = 0): void {
    const place = placeOf(kind, a, b, c);
    if (this.#counts[place] !== 0) return;
    this.#counts[place] = 1;
    this.#touched.push(place);
  }

  /** The same, where it matters how often. */
  count(kind: number, a = 0, b = 0, c = 0): void {
    const place = placeOf(kind, a, b, c);
    if (this.#counts[place] === 0) this.#touched.push(place);
    if (this.#counts[place] < 0xff) this.#counts[place]++;
  }

  /** The input has led to this message, or one of its {@linkcode kindOf | kind}. */
  message(kind: number, message: string): void {
    this.text(kind, kindOf(message));
  }

  /** The input has led to this text. */
  text(kind: number, text: string): void {
    let hash = 0;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash, 31) + text.charCodeAt(i) | 0;
    this.hit(kind, hash, text.length);
  }

  /** What the current input has reached, one number for each feature and its frequency. */
  current(): number[] {
    return this.#touched.map((place) => place << 8 | frequencyBit(this.#counts[place]));
  }

  /** Ends the current input. @returns how many features it has reached that none before it had. */
  commit(): number {
    let fresh = 0;
    for (const place of this.#touched) {
      const bit = frequencyBit(this.#counts[place]);
      if ((this.#seen[place] & bit) === 0) fresh++;
      this.#seen[place] |= bit;
      this.#counts[place] = 0;
    }
    this.#touched.length = 0;
    this.#total += fresh;
    return fresh;
  }

  /** Ends the current input without taking account of what it has reached. */
  discard(): void {
    for (const place of this.#touched) this.#counts[place] = 0;
    this.#touched.length = 0;
  }
}
