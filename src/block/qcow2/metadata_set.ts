/**
 * The clusters of an image that hold metadata, where no guest data may be read from or written to.
 *
 * @module
 */

/**
 * A set of cluster numbers. What is there at the opening is a sorted array, 8 bytes a cluster however many an image has; what
 * comes and goes later are two small sets.
 */
export class MetadataSet {
  readonly #initial: Float64Array;
  readonly #added = new Set<number>();
  readonly #removed = new Set<number>();

  constructor(clusters: Float64Array) {
    this.#initial = clusters.sort();
  }

  has(cluster: number): boolean {
    if (this.#added.has(cluster)) return true;
    return this.#wasInitial(cluster) && !this.#removed.has(cluster);
  }

  add(cluster: number): void {
    this.#removed.delete(cluster);
    if (!this.#wasInitial(cluster)) this.#added.add(cluster);
  }

  delete(cluster: number): void {
    this.#added.delete(cluster);
    if (this.#wasInitial(cluster)) this.#removed.add(cluster);
  }

  #wasInitial(cluster: number): boolean {
    let low = 0;
    let high = this.#initial.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#initial[middle] < cluster) low = middle + 1;
      else high = middle;
    }
    return low < this.#initial.length && this.#initial[low] === cluster;
  }
}
