/**
 * How much is killed.
 *
 * @module
 */
import { IMAGE_KINDS, type ImageKind } from "./images.ts";

/** `SPLITVM_CRASH_KILLS`: kills for each kind of image, as `deno task test:crash` has it. Without it, each kind has one. */
const WANTED = Deno.env.get("SPLITVM_CRASH_KILLS");

/** What a driver without a guest writes to: by default, what no guest in a machine does. */
export const DRIVER_KINDS: readonly ImageKind[] = WANTED === undefined
  ? IMAGE_KINDS.filter(({ inMachine }) => !inMachine)
  : IMAGE_KINDS;

/** Kills of the device process behind such a driver, for each kind. */
export const DRIVER_KILLS = Number(WANTED ?? 1);

/** What a guest in a machine of its own writes to. */
export const MACHINE_KINDS: readonly ImageKind[] = IMAGE_KINDS.filter(({ inMachine }) => inMachine);

/** Kills of such machines' processes, for each kind. There are half as many kinds. */
export const MACHINE_KILLS = WANTED === undefined ? 1 : 2 * Number(WANTED);
