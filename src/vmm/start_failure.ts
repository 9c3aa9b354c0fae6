/**
 * Why a device process that was started anew has not come to serve the guest.
 *
 * One that could not start says so on its control socket, in place of QMP's greeting, and ends (`-run-with start-error=qmp`). What it says is
 * for people, and not trusted: so much of it is read, and no more.
 *
 * @module
 */
import { Ready } from "../ffi/event.ts";
import { endOfChild } from "../ffi/process.ts";
import { LinkError } from "../link/link_error.ts";
import { printable } from "../printable.ts";
import { socketStream } from "../qmp/byte_stream.ts";
import type { Watcher } from "../qmp/connection.ts";
import { isObject } from "../qmp/protocol.ts";
import { describeEnd, END_PATIENCE } from "./device_process_status.ts";

/** Bytes that are read: a line with room for two of the longest paths. */
const LONGEST_MESSAGE = 16_384;

/** Characters that are told. */
const LONGEST_REASON = 1_000;

/** A process that was started. */
export interface StartedProcess {
  readonly pidfd: number;
  /** Its control socket, from which nothing has been read. */
  readonly control: number;
}

/**
 * Finds out how a process ended that has closed its link, and what it has to say. It has a quarter of a second for its end: what dies closes its
 * descriptors first.
 *
 * @param error What went wrong at the link.
 * @returns an error that tells more, or the same.
 */
export async function explainFailedStart(
  error: unknown,
  { pidfd, control }: StartedProcess,
  watcher: Watcher,
): Promise<unknown> {
  if (!(error instanceof LinkError) || !CLOSED.includes(error.failure)) return error;
  if (!await isReadableWithin(watcher, pidfd, END_PATIENCE)) return error;
  const status = endOfChild(pidfd);
  if (status === undefined) return error;
  const reason = readReason(control);
  return new Error(describeEnd(status), { cause: reason === undefined ? undefined : new Error(reason) });
}

/** Failures of a link whose peer is no more. */
const CLOSED: readonly LinkError["failure"][] = ["closed", "truncated", "system"];

/** @returns `undefined` when there is none, or something else. */
function readReason(control: number): string | undefined {
  try {
    const message: unknown = JSON.parse(readLine(control));
    if (!isObject(message) || !isObject(message.error)) return undefined;
    const { desc } = message.error;
    return typeof desc === "string" && desc !== "" ? printable(desc.slice(0, LONGEST_REASON)) : undefined;
  } catch {
    return undefined;
  }
}

/** What is there of the first line. Waits for nothing: whoever has written it has ended. */
function readLine(control: number): string {
  const stream = socketStream(control);
  const bytes = new Uint8Array(LONGEST_MESSAGE);
  let length = 0;
  while (length < bytes.length) {
    const step = stream.receive(bytes.subarray(length));
    if (step <= 0) break;
    length += step;
  }
  return new TextDecoder().decode(bytes.subarray(0, length)).split("\n", 1)[0];
}

/** Waits until a descriptor is ready for reading. @returns whether it is. @param time Milliseconds until it is no longer waited. */
export function isReadableWithin(watcher: Watcher, fd: number, time: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (ready: boolean) => {
      clearTimeout(timer);
      watch.cancel();
      resolve(ready);
    };
    const timer = setTimeout(() => end(false), Math.max(0, time));
    const watch = watcher.watch(fd, Ready.IN, () => end(true));
  });
}
