/**
 * Matches: repetitions of output that is there already, which all formats of Lempel and Ziv's kind are made of.
 *
 * @module
 */

/** From this length on, the call of a built-in function costs less than a loop. */
const LONG = 24;

/**
 * Repeats `length` bytes from `distance` bytes before `to`, as far as the buffer goes. Where the two overlap, what is copied has
 * just been written.
 *
 * @param distance 1 to `to`.
 * @returns the end of what was written.
 */
export function copyMatch(into: Uint8Array, to: number, distance: number, length: number): number {
  const end = Math.min(to + length, into.length);
  const from = to - distance;
  if (distance === 1) {
    into.fill(into[from], to, end);
  } else if (length >= LONG && distance >= length) {
    into.copyWithin(to, from, from + end - to);
  } else {
    for (let at = to; at < end; at++) into[at] = into[at - distance];
  }
  return end;
}
