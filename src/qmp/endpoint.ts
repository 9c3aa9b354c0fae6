/**
 * Where a QMP server meets its clients: opened before anything else, so that what cannot be had is an error of the command line.
 *
 * @module
 */
import { Epoll, Ready } from "../ffi/event.ts";
import { closeFd, isInheritedFd } from "../ffi/file.ts";
import { isUnixStreamSocket } from "../ffi/socket.ts";
import {
  acceptClient,
  type BoundPath,
  connectTo,
  isListening,
  listenAt,
  type ListeningSocket,
} from "../ffi/unix_socket.ts";
import { catchSignals, Interrupted } from "../interrupted.ts";
import type { MonitorConfig, MonitorTransport } from "../options/monitor.ts";
import type { SocketTransport } from "../options/socket_transport.ts";

/** An open endpoint, as plain data for whichever thread serves it. */
export interface QmpEndpoint {
  readonly id: string;
  /** For `query-chardev`: what it is connected to, in QEMU's words. */
  readonly filename: string;
  readonly pretty: boolean;
  /** A socket that listens; non-blocking. */
  readonly listener?: number;
  /** A client that is there from the beginning. */
  readonly connected?: number | "stdio";
}

/** The endpoints of a command line. */
export interface QmpEndpoints {
  readonly endpoints: readonly QmpEndpoint[];
  /** Where they listen. */
  readonly paths: readonly BoundPath[];
  /** Closes what listens, and takes away its paths. Clients are not touched. */
  close(): void;
}

/**
 * Opens endpoints in the order given. One with `wait=on` waits for its first client.
 *
 * @throws {Error} naming the one that cannot be had, or {@linkcode Interrupted}; nothing stays open then.
 */
export async function openEndpoints(
  configs: readonly MonitorConfig[],
  log: (line: string) => void,
): Promise<QmpEndpoints> {
  const endpoints: QmpEndpoint[] = [];
  const sockets: ListeningSocket[] = [];
  const close = () => sockets.splice(0).forEach((socket) => socket.close());
  try {
    for (const { id, transport, pretty } of configs) {
      const opened = await openTransport(transport, (socket) => sockets.push(socket), log);
      endpoints.push({ id, pretty, ...opened });
    }
  } catch (cause) {
    close();
    if (cause instanceof Interrupted) throw cause;
    const { id } = configs[endpoints.length];
    throw new Error(`character device ${id}`, { cause });
  }
  return { endpoints, paths: sockets.map(({ bound }) => bound), close };
}

/** A socket on which clients are met. */
export interface OpenedSocket {
  /** See {@linkcode QmpEndpoint}. */
  readonly filename: string;
  readonly listener?: number;
  readonly connected?: number;
}

async function openTransport(
  transport: MonitorTransport,
  onListen: (socket: ListeningSocket) => void,
  log: (line: string) => void,
): Promise<Pick<QmpEndpoint, "filename" | "listener" | "connected">> {
  if (transport.kind === "stdio") return { filename: "stdio", connected: "stdio" };
  return await openSocket(transport, onListen, log);
}

/**
 * Listens, connects, or takes an inherited socket. Waits for the first client where that is wanted.
 *
 * @param onListen Takes a socket that was made to listen, and is to be closed.
 * @throws {Error} when that cannot be had; {@linkcode Interrupted} when a signal comes while it waits.
 */
export async function openSocket(
  transport: SocketTransport,
  onListen: (socket: ListeningSocket) => void,
  log: (line: string) => void,
): Promise<OpenedSocket> {
  switch (transport.kind) {
    case "fd":
      requireSocket(transport.fd, false);
      return { filename: `unix:fd=${transport.fd}`, connected: transport.fd };
    case "connect":
      return { filename: `unix:${transport.path}`, connected: connectTo(transport.path) };
    case "listen-fd":
      requireSocket(transport.fd, true);
      return await meet(`unix:fd=${transport.fd},server=on`, transport.wait, () => transport.fd);
    case "listen":
      return await meet(`unix:${transport.path},server=on`, transport.wait, () => {
        const socket = listenAt(transport.path);
        onListen(socket);
        if (transport.wait) log(`waiting for a connection on unix:${transport.path},server=on`);
        return socket.fd;
      });
  }
}

/** Listens, and waits for the first client where that is wanted. From before there is a path until there is a client, signals are caught. */
async function meet(filename: string, wait: boolean, listen: () => number): Promise<OpenedSocket> {
  if (!wait) return { filename, listener: listen() };
  const { promise: interruption, reject: interrupt } = Promise.withResolvers<never>();
  const release = catchSignals(interrupt);
  try {
    const listener = listen();
    return { filename, listener, connected: await firstClient(listener, interruption) };
  } finally {
    release();
  }
}

/** The wait is another thread's, since signals are told of in turns of this one's event loop. */
async function firstClient(listener: number, interruption: Promise<never>): Promise<number> {
  const epoll = new Epoll(1);
  try {
    epoll.add(listener, Ready.IN);
    for (;;) {
      await Promise.race([epoll.waitElsewhere(() => {}), interruption]);
      const client = acceptClient(listener);
      if (client !== undefined) return client;
    }
  } finally {
    epoll.close();
  }
}

/** Deno has descriptors of its own among the first numbers, even sockets. */
function requireSocket(fd: number, listens: boolean): void {
  if (isInheritedFd(fd) && isUnixStreamSocket(fd) && isListening(fd) === listens) return;
  const what = listens ? "listening" : "connected";
  throw new Error(`fd ${fd} is not a ${what} UNIX stream socket that this process was given`);
}

/** Closes a client that nobody serves. */
export function closeConnected({ connected }: QmpEndpoint): void {
  if (typeof connected === "number") closeFd(connected);
}
