/**
 * Where the bytes of a serial port or debug console go.
 *
 * @module
 */
import { openFile, OpenFlags, writeFd } from "../ffi/file.ts";
import { pollFd, Ready } from "../ffi/event.ts";
import { SyscallError } from "../ffi/errno.ts";
import type { CharacterBackend } from "./config.ts";

const STDOUT = 1;

/** How long a guest waits for whoever reads its output before a byte is dropped, in milliseconds. */
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
      return openFile(backend.path, OpenFlags.O_WRONLY | OpenFlags.O_CREAT | OpenFlags.O_TRUNC, 0o666);
  }
}

/**
 * Writes bytes to a descriptor as they come. Output that nobody takes is dropped, as that of a serial line without a peer is: a guest
 * must not stop because its console was closed.
 */
export function sinkTo(fd: number | undefined): ByteSink {
  if (fd === undefined) return () => {};
  const buffer = new Uint8Array(1);
  let closed = false;
  return (byte) => {
    if (closed) return;
    buffer[0] = byte;
    try {
      if (writeFd(fd, buffer) < 0 && (pollFd(fd, Ready.OUT, PATIENCE) & Ready.OUT) !== 0) writeFd(fd, buffer);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      closed = true;
    }
  };
}
