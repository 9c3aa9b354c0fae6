/**
 * A thread that waits for disks, so that the device's thread never does.
 *
 * @module
 */
import { type IoThreadMessage, serveJobs } from "./io_jobs.ts";

/** The name that the main module knows such a thread by. */
export const IO_THREAD = "io";

/** Serves the thread's queue until it is closed. */
export function runWorker(message: IoThreadMessage): void {
  serveJobs(message);
  close();
}
