/**
 * A map from numbers to numbers that is small and has no end.
 *
 * @module
 */

/** Entries at the beginning; a power of two. */
const LEAST_CAPACITY = 64;

/** An entry's key and value. */
const ENTRY_BYTES = 16;

/**
 * Maps safe integers from 0 on to numbers, by open addressing with linear probing.
 *
 * An entry takes 23 to 46 bytes, and there may be as many as memory holds; a `Map` takes more, and ends at 2^24 entries. Keys may
 * come from an untrusted image: places depend on a random seed, so that nobody can choose keys that collide.
 */
export class NumberMap {
  readonly #seeds = crypto.getRandomValues(new Uint32Array(2));
  /** Each key plus one; 0 where there is none, so that pages of memory nobody has touched are empty places. */
  #keys = new Float64Array(LEAST_CAPACITY);
  #values = new Float64Array(LEAST_CAPACITY);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Memory that the entries take, in bytes. */
  get bytes(): number {
    return this.#keys.length * ENTRY_BYTES;
  }

  get(key: number): number | undefined {
    const at = this.#find(key);
    return this.#keys[at] === 0 ? undefined : this.#values[at];
  }

  set(key: number, value: number): void {
    let at = this.#find(key);
    if (this.#keys[at] === 0) {
      if (this.#size * 10 >= this.#keys.length * 7) {
        this.#grow();
        at = this.#find(key);
      }
      this.#size++;
      this.#keys[at] = key + 1;
    }
    this.#values[at] = value;
  }

  /** All keys, in ascending order. */
  sortedKeys(): Float64Array {
    const keys = new Float64Array(this.#size);
    let count = 0;
    for (const key of this.#keys) if (key !== 0) keys[count++] = key - 1;
    return keys.sort();
  }

  /** Where a key is, or the empty place where it belongs. */
  #find(key: number): number {
    const keys = this.#keys;
    const mask = keys.length - 1;
    let at = this.#hash(key) & mask;
    while (keys[at] !== 0 && keys[at] !== key + 1) at = (at + 1) & mask;
    return at;
  }

  /** Both halves of the key go through the last steps of MurmurHash3 (fmix32), which spread each bit over all others. */
  #hash(key: number): number {
    const high = mix(Math.floor(key / 2 ** 32) ^ this.#seeds[1]);
    return mix((key >>> 0) ^ this.#seeds[0] ^ high);
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#keys = new Float64Array(2 * keys.length);
    this.#values = new Float64Array(2 * keys.length);
    for (let from = 0; from < keys.length; from++) {
      if (keys[from] === 0) continue;
      const at = this.#find(keys[from] - 1);
      this.#keys[at] = keys[from];
      this.#values[at] = values[from];
    }
  }
}

function mix(bits: number): number {
  let hash = bits;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
