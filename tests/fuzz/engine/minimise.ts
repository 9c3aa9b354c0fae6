/**
 * Makes an input that fails as short and as plain as it gets.
 *
 * @module
 */

/** Most tries for one input. */
const TRIES = 3000;

/**
 * Takes away runs of bytes, long ones first, and then makes bytes zero, as long as the input fails in the same way.
 *
 * @param fails Tries an input.
 */
export function minimise(input: Uint8Array, fails: (candidate: Uint8Array) => boolean): Uint8Array {
  let tries = 0;
  let best = input;
  const attempt = (candidate: Uint8Array): boolean => {
    if (tries++ >= TRIES || !fails(candidate)) return false;
    best = candidate;
    return true;
  };
  for (let length = Math.ceil(best.length / 2);; length = Math.ceil(length / 2)) {
    for (let at = best.length - length; at >= 0 && tries < TRIES; at -= length) {
      attempt(Uint8Array.of(...best.subarray(0, at), ...best.subarray(at + length)));
    }
    if (length <= 1) break;
  }
  for (let at = 0; at < best.length && tries < TRIES; at++) {
    if (best[at] !== 0) attempt(best.map((byte, i) => i === at ? 0 : byte));
  }
  return best;
}
