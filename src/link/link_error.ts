/**
 * What can go wrong on a link.
 *
 * @module
 */

/**
 * Why a link cannot be used any more:
 *
 * - `closed`: the peer has gone away;
 * - `truncated`: it went away in the middle of a message;
 * - `timeout`: it did not answer, or did not take our bytes, within the time allowed;
 * - `protocol`: what it sent is not a message of the format;
 * - `system`: the operating system refused.
 */
export type LinkFailure = "closed" | "truncated" | "timeout" | "protocol" | "system";

/**
 * A link that failed. The message is one line, and names the command, the field and the value where there is one. The
 * link is to be closed: what would come next on it cannot be told apart from what went wrong.
 */
export class LinkError extends Error {
  override readonly name = "LinkError";

  /**
   * @param message What was wrong: one line.
   * @param failure The kind of failure. @default {"protocol"}
   */
  constructor(message: string, readonly failure: LinkFailure = "protocol", options?: ErrorOptions) {
    super(message, options);
  }
}
