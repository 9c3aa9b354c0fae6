/**
 * Where the bytes of a serial port or debug console go.
 *
 * @module
 */
import { SyscallError } from "../ffi/errno.ts";
import { pollFd, Ready } from "../ffi/event.ts";
import { openFile, OpenFlags, writeFd } from "../ffi/file.ts";
import type { CharacterBackend } from "./config.ts";

const STDOUT = 1;

/**
 * How long the machine waits for whoever reads its output, in milliseconds. The machine's lock is held meanwhile, so that no vCPU gets far,
 * and somebody who wants to end the machine waits, too.
 */
const PATIENCE = 1000;

/** Takes one byte of output. */
export type ByteSink = (byte: number) => void;

/**
 * Opens a backend's output. @returns its descriptor, which any thread can write to, or `undefined` where output is dropped.
 *
 * @throws {Error} when a file cannot be made.
 */
export function openOutput(backend: CharacterBackend): number | undefined {
  switch (backend.kind) {
    case "null":
      return undefined;
    case "stdio":
      return STDOUT;
    case "file":
      return createFile(backend.path);
  }
}

function createFile(path: string): number {
  try {
    return openFile(path, OpenFlags.O_WRONLY | OpenFlags.O_CREAT | OpenFlags.O_TRUNC, 0o666);
  } catch (cause) {
    throw new Error(`Cannot write a console's output to ${path}`, { cause });
  }
}

/**
 * Writes bytes to a descriptor as they come. Output that nobody takes is dropped, as that of a serial line without a peer is: a guest
 * must not stop because its console was closed, or because nobody reads it. After one wait in vain, output is dropped without
 * another until somebody reads again.
 */
export function sinkTo(fd: number | undefined, patience = PATIENCE): ByteSink {
  if (fd === undefined) return () => {};
  const buffer = new Uint8Array(1);
  let closed = false;
  let read = true;
  return (byte) => {
    if (closed) return;
    buffer[0] = byte;
    try {
      // A look before each write, because the descriptor may be a blocking one that others share, and stays as they want it.
      // One that hangs up or fails is ready, too, and the write says why.
      read = pollFd(fd, Ready.OUT, read ? patience : 0) !== 0;
      if (read) writeFd(fd, buffer);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      closed = true;
    }
  };
}
