/**
 * Why a device process could not start, told to the QMP clients that are there from the beginning (`-run-with start-error=qmp`): whoever starts
 * one again and again does not want each of them to say the same on standard error.
 *
 * @module
 */
import { describeError, ReportedError } from "../error_chain.ts";
import { socketStream } from "../qmp/byte_stream.ts";
import type { QmpEndpoint } from "../qmp/endpoint.ts";
import { encode, failure, QmpError } from "../qmp/protocol.ts";

/**
 * Sends an error in place of the greeting. Nothing is waited for: a socket that nobody has read from has room for it.
 *
 * @returns what to throw: the error itself, when nobody could be told of it.
 */
export function tellClients(endpoints: readonly QmpEndpoint[], error: unknown): unknown {
  const message = encode(failure(new QmpError(describeError(error)), undefined));
  const told = endpoints.filter(({ connected }) => typeof connected === "number" && isTaken(connected, message));
  return told.length === 0 ? error : new ReportedError("The device process could not start", { cause: error });
}

function isTaken(fd: number, message: Uint8Array<ArrayBuffer>): boolean {
  try {
    return socketStream(fd).send(message) === message.length;
  } catch {
    return false;
  }
}
