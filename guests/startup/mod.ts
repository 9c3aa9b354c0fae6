/**
 * The guest by which the time is measured that a machine takes to start. It halts when it has said what it has to say.
 *
 * @module
 */

import { buildPvhGuest } from "../pvh_guest.ts";
import source from "./startup.asm" with { type: "text" };

/** The guest as a PVH ELF file. */
export function buildStartupKernel(): Uint8Array<ArrayBuffer> {
  return buildPvhGuest(source);
}
