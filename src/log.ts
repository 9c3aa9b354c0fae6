/**
 * What a running splitvm tells the person who started it: lines on standard error.
 *
 * A machine does not depend on whether somebody reads them. Whatever is wrong with standard error, such as a full disk, a closed
 * terminal, or a pipe that nobody empties, a line that is not taken is dropped.
 *
 * It stands outside the folders because every process and thread reports errors, whatever it imports otherwise.
 *
 * @module
 */
import { PatientWriter } from "./ffi/patient_writer.ts";

const STDERR = 2;

/** The longest line that stays whole among those of other threads and processes (pipe(7), PIPE_BUF). */
const PIECE = 4096;

/** How long a thread waits for whoever reads standard error, in milliseconds. It may hold the machine's lock. */
const PATIENCE = 1000;

let writer: PatientWriter | undefined;

/** Logs a line that begins with the program's name. Never throws. */
export function log(line: string): void {
  logLine(`splitvm: ${line}`);
}

/** Logs a line as it is. Never throws. */
export function logLine(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  try {
    if (mayCall()) (writer ??= new PatientWriter({ fd: STDERR, piece: PIECE, patience: PATIENCE })).write(bytes);
    else Deno.stderr.writeSync(bytes);
  } catch {
    // There is nobody left to tell.
  }
}

/** Without permission to call the kernel, only a command line that goes no further is carried out. */
function mayCall(): boolean {
  return Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}
