/**
 * Random numbers that are the same in each run.
 *
 * @module
 */

/** @returns a function for whole numbers from 0 to below a bound of at most 2^32 (xorshift32). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
