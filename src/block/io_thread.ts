/**
 * A thread that waits for disks, so that the device's thread never does.
 *
 * @module
 */
import { type IoThreadMessage, serveJobs } from "./io_jobs.ts";

/** The name that the main module knows such a thread by. */
export const IO_THREAD = "io";

/** Waits for the thread's queue, and serves it until it is closed. */
export function runWorker(): void {
  addEventListener("message", (event) => {
    serveJobs((event as MessageEvent<IoThreadMessage>).data);
    close();
  }, { once: true });
}
