/**
 * Picks the few inputs of a corpus that together reach most: those that are worth a file.
 *
 * @module
 */
import { Features } from "./features.ts";
import type { Target } from "./target.ts";

/** Longer ones are left out. */
const LONGEST = 512;

/** Of two inputs that add as much the shorter one is taken. @param most How many are wanted. */
export function distil(target: Target, corpus: readonly Uint8Array[], most: number): Uint8Array[] {
  if (most === 0) return [];
  const features = new Features();
  let candidates = corpus.filter(({ length }) => length <= LONGEST)
    .toSorted((a, b) => a.length - b.length)
    .map((input) => ({ input, reached: reached(target, input, features) }));
  const kept: Uint8Array[] = [];
  const covered = new Set<number>();
  for (const { bytes } of target.seeds) for (const feature of reached(target, bytes, features)) covered.add(feature);
  while (kept.length < most && candidates.length > 0) {
    const gain = ({ reached }: typeof candidates[number]) =>
      reached.reduce((sum, one) => sum + (covered.has(one) ? 0 : 1), 0);
    const gains = candidates.map((candidate) => gain(candidate));
    const best = gains.indexOf(Math.max(...gains));
    if (gains[best] === 0) break;
    kept.push(candidates[best].input);
    for (const feature of candidates[best].reached) covered.add(feature);
    candidates = candidates.filter((_, i) => i !== best && gains[i] > 0);
  }
  return kept;
}

function reached(target: Target, input: Uint8Array, features: Features): readonly number[] {
  try {
    target.run(input, features);
    return features.current();
  } catch {
    return []; // a finding, which is kept as such
  } finally {
    features.discard();
  }
}
