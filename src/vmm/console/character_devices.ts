/**
 * Character devices, opened before anything else, so that what cannot be had is an error of the command line.
 *
 * @module
 */
import { duplicateFd, openFile, OpenFlags } from "../../ffi/file.ts";
import { openPseudoTerminal } from "../../ffi/terminal.ts";
import type { BoundPath, ListeningSocket } from "../../ffi/unix_socket.ts";
import { Interrupted } from "../../interrupted.ts";
import { print } from "../../print.ts";
import { openSocket } from "../../qmp/endpoint.ts";
import type { CharacterBackend, CharacterDeviceConfig } from "../config.ts";

const STDIN = 0;
const STDOUT = 1;

/** An open character device, as plain data for the threads. */
export interface CharacterHandle {
  readonly id: string;
  /** For `query-chardev`: what it is connected to, in QEMU's words. */
  readonly filename: string;
  /**
   * Where output goes; `undefined` drops it. The number stays the same: where clients come and go, the control thread redirects it to the one
   * that is there, or to /dev/null.
   */
  readonly output: number | undefined;
  /** Where input comes from; `undefined` for none, and for a socket. */
  readonly input?: { readonly fd: number; readonly kind: "stdio" | "pty" };
  /** A socket that listens. */
  readonly listener?: number;
  /** A client that is there from the beginning. */
  readonly client?: number;
  /** /dev/null, where there is a listener or a client: output goes there while there is nobody. */
  readonly nowhere?: number;
}

/** The character devices of a machine. */
export interface CharacterDevices {
  readonly handles: readonly CharacterHandle[];
  /** Where they listen. */
  readonly paths: readonly BoundPath[];
  /** Closes what listens, and takes away its paths. The rest ends with the process. */
  close(): void;
}

/**
 * Opens devices in the order given. A socket with `wait=on` waits for its first client.
 *
 * @throws {Error} naming the one that cannot be had, or {@linkcode Interrupted}; no path stays behind then.
 */
export async function openCharacterDevices(
  configs: readonly CharacterDeviceConfig[],
  log: (line: string) => void,
): Promise<CharacterDevices> {
  const handles: CharacterHandle[] = [];
  const sockets: ListeningSocket[] = [];
  const close = () => sockets.splice(0).forEach((socket) => socket.close());
  for (const { id, backend } of configs) {
    try {
      handles.push({ id, ...await openBackend(id, backend, (socket) => sockets.push(socket), log) });
    } catch (cause) {
      close();
      if (cause instanceof Interrupted) throw cause;
      throw new Error(`character device ${id}`, { cause });
    }
  }
  return { handles, paths: sockets.map(({ bound }) => bound), close };
}

async function openBackend(
  id: string,
  backend: CharacterBackend,
  onListen: (socket: ListeningSocket) => void,
  log: (line: string) => void,
): Promise<Omit<CharacterHandle, "id">> {
  switch (backend.kind) {
    case "null":
      return { filename: "null", output: undefined };
    case "stdio":
      return { filename: "stdio", output: STDOUT, input: { fd: STDIN, kind: "stdio" } };
    case "file":
      return { filename: "file", output: createFile(backend.path) };
    case "pty": {
      const { master, path } = openPseudoTerminal();
      announce(`char device redirected to ${path} (label ${id})\n`);
      return { filename: `pty:${path}`, output: master, input: { fd: master, kind: "pty" } };
    }
    case "socket": {
      const { filename, listener, connected: client } = await openSocket(backend.transport, onListen, log);
      const nowhere = openFile("/dev/null", OpenFlags.O_WRONLY);
      return { filename, output: duplicateFd(client ?? nowhere), listener, client, nowhere };
    }
  }
}

/** QEMU's words, where QEMU says them: programs look for the path. */
function announce(text: string): void {
  try {
    print(text);
  } catch (cause) {
    throw new Error("Cannot print to standard output where the pseudo-terminal is", { cause });
  }
}

function createFile(path: string): number {
  try {
    return openFile(path, OpenFlags.O_WRONLY | OpenFlags.O_CREAT | OpenFlags.O_TRUNC, 0o666);
  } catch (cause) {
    throw new Error(`Cannot write a console's output to ${path}`, { cause });
  }
}
