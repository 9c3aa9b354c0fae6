/**
 * How work ends that a signal interrupts.
 *
 * @module
 */

/** The work was ended by a signal. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  /** @param status The exit status that tells a shell so: 128 and the signal's number. */
  constructor(readonly status: number) {
    super("interrupted");
  }
}
