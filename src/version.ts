/**
 * What this program is called where somebody asks.
 *
 * @module
 */

/** Released as this. */
export const VERSION = "0.1.0";

/** Name and version, for QMP's greeting. */
export const PROGRAM = `splitvm-${VERSION}`;
