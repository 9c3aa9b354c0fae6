/**
 * The compressed cluster that was read last. Guests read on where they left off, mostly in pieces of a cluster; each would have the whole of it
 * decompressed again.
 *
 * @module
 */

/** One cluster, decompressed. */
export class DecompressedCluster {
  #hi = 0;
  #lo = 0;
  #bytes: Uint8Array | undefined;

  /** @param hi,lo The halves of the L2 entry. @returns the whole cluster; `undefined` when it is another one that is kept. */
  get(hi: number, lo: number): Uint8Array | undefined {
    return hi === this.#hi && lo === this.#lo ? this.#bytes : undefined;
  }

  /** Keeps a cluster in place of the last one. */
  set(hi: number, lo: number, bytes: Uint8Array): void {
    this.#hi = hi;
    this.#lo = lo;
    this.#bytes = bytes;
  }

  /** Something compressed is written: the same entry may soon stand for other data. */
  clear(): void {
    this.#bytes = undefined;
  }
}
