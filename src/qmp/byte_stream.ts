/**
 * The two kinds of connection that a QMP peer can have: a UNIX stream socket, and a pair of standard streams.
 *
 * Neither call waits, whatever mode the descriptor is in: an open file may be shared with other processes, and stays as they want it.
 *
 * @module
 */
import { isReady, Ready } from "../ffi/event.ts";
import { closeFd, readFd, writeFd } from "../ffi/file.ts";
import { closeAll, MessageSocket, WOULD_BLOCK } from "../ffi/socket.ts";

/** A connection. Errors of the peer are thrown as `SyscallError`. */
export interface ByteStream {
  /** Watched for input; the same as {@linkcode output} for a socket. */
  readonly input: number;
  /** Watched for room. */
  readonly output: number;
  /** Takes what is there. @returns bytes; 0 at the end; -1 when there is nothing yet. */
  receive(into: Uint8Array<ArrayBuffer>): number;
  /** Sends what fits. @returns bytes; -1 when nothing does. */
  send(bytes: Uint8Array<ArrayBuffer>): number;
  close(): void;
}

/** A connected socket, which the stream owns. Descriptors that the peer sends along are closed. */
export function socketStream(fd: number): ByteStream {
  const socket = new MessageSocket(fd);
  return {
    input: fd,
    output: fd,
    receive(into) {
      const received = socket.receive(into, 0, into.length, false);
      closeAll(socket.descriptors);
      return received === WOULD_BLOCK ? -1 : received;
    },
    send(bytes) {
      const sent = socket.send(bytes, 0, bytes.length, [], false);
      return sent === WOULD_BLOCK ? -1 : sent;
    },
    close: () => closeFd(fd),
  };
}

const STDIN = 0;
const STDOUT = 1;

/** A pipe that is ready for output takes so many bytes without waiting (pipe(7), PIPE_BUF). */
const SURE_TO_FIT = 4096;

/** Standard input and output; they stay open. */
export function standardStream(): ByteStream {
  return {
    input: STDIN,
    output: STDOUT,
    receive: (into) => pollable(STDIN, Ready.IN) ? readFd(STDIN, into) : -1,
    send: (bytes) => pollable(STDOUT, Ready.OUT) ? writeFd(STDOUT, bytes.subarray(0, SURE_TO_FIT)) : -1,
    close() {},
  };
}

/** A hang-up or an error is ready, too: the call says which. */
function pollable(fd: number, events: number): boolean {
  return isReady(fd, events) || isReady(fd, Ready.HUP | Ready.ERR);
}
