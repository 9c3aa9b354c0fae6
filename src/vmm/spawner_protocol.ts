/**
 * What a VMM and its spawner say to each other, over a socketpair: requests of two bytes, answered in order by messages of a fixed size.
 *
 * A request is an action and the number of a device among those of the command line, which both have. So nothing that a VMM says decides
 * what is executed, or which files are opened.
 *
 * | answer | |
 * | --- | --- |
 * | 0 | `uint32` number of the process, 0 for none |
 * | 4 | `uint32` length of the text in bytes |
 * | 8 | `uint8` 1 when there is none since its images are still locked, which may be over in a moment |
 * | 9 | why there is none, UTF-8 |
 *
 * With the number of a process come its link, its control socket and its pidfd, and with any answer the pidfds of those that have failed
 * before their program began, for the VMM to wait for.
 *
 * @module
 */

/** The numbers of the spawner's socket in its own process, and of a file that holds the images that it may hand out. */
export const SPAWNER_FD = 3;
export const KNOWN_IMAGES_FD = 4;

/** What is asked for. */
export const SpawnerAction = {
  /** A new process for the device. */
  START: 0,
  /** Its newest process has all open that it needs: its root is to be emptied. */
  EMPTY_ROOT: 1,
} as const;

/** Sizes in bytes. */
export const REQUEST_SIZE = 2;
export const ANSWER_SIZE = 512;

const LOCKED_AT = 8;
const TEXT_AT = 9;
const LONGEST_TEXT = ANSWER_SIZE - TEXT_AT;

/** How many descriptors come with a process. */
export const PROCESS_FDS = 3;

/** An answer without its descriptors. */
export interface SpawnerAnswer {
  readonly pid: number;
  /** Empty when all went well. */
  readonly problem: string;
  /** Whether the problem is that something still has an image locked. */
  readonly isLocked: boolean;
}

/** Something still has an image locked. */
export class LockedImageError extends Error {}

/** @param action One of {@linkcode SpawnerAction}. @param device Below 256. */
export function encodeRequest(action: number, device: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(action, device);
}

/** An answer as bytes; what is too long of a text is left out. */
export function encodeAnswer({ pid, problem, isLocked }: SpawnerAnswer): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ANSWER_SIZE);
  const view = new DataView(bytes.buffer);
  const { written } = new TextEncoder().encodeInto(problem, bytes.subarray(TEXT_AT));
  view.setUint32(0, pid, true);
  view.setUint32(4, written, true);
  bytes[LOCKED_AT] = isLocked ? 1 : 0;
  return bytes;
}

/** An answer from its bytes. */
export function decodeAnswer(bytes: Uint8Array<ArrayBuffer>): SpawnerAnswer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, ANSWER_SIZE);
  const length = Math.min(view.getUint32(4, true), LONGEST_TEXT);
  return {
    pid: view.getUint32(0, true),
    isLocked: bytes[LOCKED_AT] !== 0,
    problem: new TextDecoder().decode(bytes.slice(TEXT_AT, TEXT_AT + length)),
  };
}
