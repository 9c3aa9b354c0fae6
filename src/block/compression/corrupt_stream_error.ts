/**
 * @module
 */

/** Thrown for compressed data that break their format, or are not as long as they should be. */
export class CorruptStreamError extends Error {
  override readonly name = "CorruptStreamError";
}
