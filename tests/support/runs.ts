/**
 * How much tests do of what has no natural end: random sequences, spoilt images, combinations of options. By default it is enough to find
 * most mistakes at once; `SPLITVM_TEST_RUNS=thorough`, as in CI, takes several times as long.
 *
 * @module
 */
const THOROUGH = Deno.env.get("SPLITVM_TEST_RUNS") === "thorough";

/** One of two amounts. */
export function runs(quick: number, thorough: number): number {
  return THOROUGH ? thorough : quick;
}
