/**
 * Targets that are broken in ways that a fuzzer cannot catch in its own process, for the tests of what watches it.
 *
 * @module
 */
import { invariant, type Target } from "./target.ts";

/** A target whose second seed is `xy`, and its third `yy`. */
function brokenTarget(name: string, run: Target["run"]): () => Target {
  const seeds = [
    { name: "harmless", bytes: new Uint8Array(1) },
    { name: "harmful", bytes: new TextEncoder().encode("xy") },
    { name: "also-harmful", bytes: new TextEncoder().encode("yy") },
  ];
  return () => ({ name, maxLength: 8, dictionary: [], seeds, run });
}

const [X, Y] = new TextEncoder().encode("xy");

function hang(): void {
  for (;;);
}

/** With x it fails in a way that can be caught, with y in this one. */
function failing(act: () => void): Target["run"] {
  return ([first]) => {
    invariant(first !== X, "an x");
    if (first === Y) act();
  };
}

/** With x it fails in this way. */
function ruined(act: () => void): Target["run"] {
  return ([first]) => first === X && act();
}

export const TARGETS: Readonly<Record<string, () => Target>> = {
  "hangs": brokenTarget("hangs", ruined(hang)),
  "dies": brokenTarget("dies", ruined(() => Deno.exit(3))),
  "fails-and-hangs": brokenTarget("fails-and-hangs", failing(hang)),
  "fails-and-dies": brokenTarget("fails-and-dies", failing(() => Deno.exit(3))),
  "sound": brokenTarget("sound", () => {}),
  // Reaches as much as there are different bytes.
  "numbers": brokenTarget("numbers", (bytes, features) => bytes.forEach((byte) => features.hit(byte))),
};
