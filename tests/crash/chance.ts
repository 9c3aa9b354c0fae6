/**
 * What crash tests leave to chance.
 *
 * @module
 */

/** One of several. */
export function pick<T>(values: readonly T[]): T {
  return values[Math.floor(Math.random() * values.length)];
}

/** Whether something of a certain probability is the case. */
export function happens(probability: number): boolean {
  return Math.random() < probability;
}

/** A delay in milliseconds; short ones are as likely as long ones. */
export function delay(most: number): number {
  return 0.2 * (most / 0.2) ** Math.random();
}
