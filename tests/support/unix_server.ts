/**
 * The listening end of a UNIX socket, for tests that wait.
 *
 * @module
 */
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { setNonblocking } from "../../src/ffi/file.ts";
import { acceptClient } from "../../src/ffi/unix_socket.ts";

/** After this long without a client, something hangs. In milliseconds. */
const PATIENCE = 60_000;

/** Waits for a client. @returns a descriptor that blocks. */
export function waitForClient(listener: number): number {
  if (pollFd(listener, Ready.IN, PATIENCE) === 0) throw new Error("Nobody connects");
  const client = acceptClient(listener);
  if (client === undefined) throw new Error("The client has gone again");
  setNonblocking(client, false);
  return client;
}
