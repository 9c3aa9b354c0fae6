/**
 * The smallest guest, for measuring how long a machine takes to start.
 *
 * @module
 */

import { buildPvhGuest } from "../pvh_guest.ts";
import source from "./hello.asm" with { type: "text" };

/** What the guest prints, without the line end. */
export const HELLO_LINE = "hello from the guest";

/** The guest as a PVH ELF file. */
export function buildHelloKernel(): Uint8Array<ArrayBuffer> {
  return buildPvhGuest(source);
}
