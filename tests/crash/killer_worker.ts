/**
 * The thread behind a {@linkcode Killer}.
 *
 * @module
 */
import { Signal } from "../../src/ffi/process.ts";
import { syscalls } from "../../src/ffi/syscall.ts";
import { type KillerMessage, serveKills } from "./killer.ts";

self.addEventListener("message", (event) => {
  const { data } = event as MessageEvent<KillerMessage>;
  // A process that has ended by itself is none of its business: ESRCH.
  serveKills(data, (pidfd) => void syscalls().pidfd_send_signal(pidfd, Signal.KILL, null, 0));
  self.close();
});
