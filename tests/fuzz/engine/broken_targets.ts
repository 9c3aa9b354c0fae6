/**
 * Targets that are broken in ways that a fuzzer cannot catch in its own process, for the tests of what watches it.
 *
 * @module
 */
import type { Target } from "./target.ts";

/** A target that does this with an input that begins with an x. */
function brokenTarget(name: string, act: () => void): () => Target {
  const target: Target = {
    name,
    maxLength: 8,
    dictionary: [],
    seeds: [{ name: "harmless", bytes: new Uint8Array(1) }, { name: "harmful", bytes: Uint8Array.of(0x78, 0x79) }],
    run: ([first]) => first === 0x78 && act(),
  };
  return () => target;
}

export const TARGETS: Readonly<Record<string, () => Target>> = {
  "hangs": brokenTarget("hangs", () => {
    for (;;);
  }),
  "dies": brokenTarget("dies", () => Deno.exit(3)),
  "sound": brokenTarget("sound", () => {}),
};
