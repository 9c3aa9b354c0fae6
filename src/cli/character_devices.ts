/**
 * Character devices: what `-serial`, `-debugcon`, `-monitor`, `-qmp` and `-chardev` name.
 *
 * @module
 */
import { splitOption } from "../options/keyval.ts";
import type { MonitorTransport } from "../options/monitor.ts";
import { optional, refused, required, type Variants, withDefault } from "../options/properties.ts";
import { bool, descriptor, identifier, path, type PropertyType, socketPath } from "../options/property_types.ts";
import type { SocketTransport } from "../options/socket_transport.ts";
import type { CharacterBackend } from "../vmm/config.ts";

/** The `-chardev` with this id. */
type ChardevReference = { readonly kind: "chardev"; readonly id: string };

/** What `-serial`, `-debugcon` and `-monitor` can be given. */
export type CharacterTarget =
  /** There is no such device. */
  | { readonly kind: "none" }
  | ChardevReference
  /** A device without a `-chardev` of its own; `monitor`: the user shares it with a monitor for people. */
  | { readonly kind: "backend"; readonly backend: CharacterBackend; readonly monitor: boolean };

/** What `-qmp` can be given. */
export type MonitorTarget =
  | { readonly kind: "transport"; readonly transport: MonitorTransport }
  | ChardevReference;

/** What says where a socket is and who waits for whom. */
export interface SocketProperties {
  readonly path?: string | undefined;
  readonly fd?: number | undefined;
  readonly server: boolean;
  readonly wait?: boolean | undefined;
}

/** The socket that the properties describe, or what is wrong with them. */
export function socketTransport({ path, fd, server, wait }: SocketProperties): SocketTransport | string {
  if ((path === undefined) === (fd === undefined)) return "expected either path= or fd=";
  if (!server && wait !== undefined) return "'wait' is for server=on";
  // QEMU's default, too: a server that does not wait has to be asked for.
  const waits = wait ?? true;
  if (path !== undefined) return server ? { kind: "listen", path, wait: waits } : { kind: "connect", path };
  return server ? { kind: "listen-fd", fd: fd!, wait: waits } : { kind: "fd", fd: fd! };
}

/** What follows `unix:`. Old spellings that QEMU has kept: bare `server`, and `nowait`. */
function unixTransport(text: string): SocketTransport | undefined {
  const [path, ...rest] = splitOption("unix:", text, "path").pairs;
  if (path?.key !== "path" || socketPath.parse(path.value ?? "") === undefined) return undefined;
  const values: { server: boolean; wait: boolean | undefined } = { server: false, wait: undefined };
  for (const { key, value } of rest) {
    const given = key === "nowait" && value === undefined ? false : bool.parse(value ?? "on");
    const name = key === "nowait" ? "wait" : key;
    if (given === undefined || (name !== "server" && name !== "wait")) return undefined;
    values[name] = given;
  }
  const transport = socketTransport({ path: path.value, ...values });
  return typeof transport === "string" ? undefined : transport;
}

function formatUnix(transport: SocketTransport): string {
  if (transport.kind === "listen") return `unix:${transport.path},server=on,wait=${bool.format(transport.wait)}`;
  return transport.kind === "connect" ? `unix:${transport.path}` : transport.kind;
}

function parseChardev(text: string): ChardevReference | undefined {
  const id = /^chardev:(.*)$/s.exec(text)?.[1];
  return id === undefined || identifier.parse(id) === undefined ? undefined : { kind: "chardev", id };
}

/** A backend that somebody can type at. */
function parseInteractive(text: string, signals: boolean): CharacterBackend | undefined {
  if (text === "stdio") return { kind: "stdio", signals };
  if (text === "pty") return { kind: "pty" };
  const rest = /^unix:(.*)$/s.exec(text)?.[1];
  const transport = rest === undefined ? undefined : unixTransport(rest);
  return transport && { kind: "socket", transport };
}

function parseBackend(text: string): CharacterBackend | undefined {
  if (text === "null") return { kind: "null" };
  const file = /^file:(.*)$/s.exec(text)?.[1];
  if (file !== undefined) return path.parse(file) === undefined ? undefined : { kind: "file", path: file };
  return parseInteractive(text, true);
}

function backendTarget(backend: CharacterBackend | undefined, monitor = false): CharacterTarget | undefined {
  return backend && { kind: "backend", backend, monitor };
}

function formatTarget(target: CharacterTarget): string {
  if (target.kind === "none") return "none";
  if (target.kind === "chardev") return `chardev:${target.id}`;
  const { backend, monitor } = target;
  const prefix = monitor ? "mon:" : "";
  if (backend.kind === "file") return `file:${backend.path}`;
  return prefix + (backend.kind === "socket" ? formatUnix(backend.transport) : backend.kind);
}

const UNIX_SYNTAX = "unix:<file>[,server=on|off][,wait=on|off]";

/** QEMU's short spelling of a console's character device. With `mon:`, Ctrl-C is a key like others (QEMU: `-serial mon:stdio`). */
export const characterTarget: PropertyType<CharacterTarget> = {
  syntax: `none|null|file:<file>|chardev:<id>|[mon:]stdio|[mon:]pty|[mon:]${UNIX_SYNTAX}`,
  expected: `none, null, file:<file>, chardev:<id>, [mon:]stdio, [mon:]pty or [mon:]${UNIX_SYNTAX}`,
  parse(text) {
    if (text === "none") return { kind: "none" };
    const shared = /^mon:(.*)$/s.exec(text)?.[1];
    if (shared !== undefined) return backendTarget(parseInteractive(shared, false), true);
    return parseChardev(text) ?? backendTarget(parseBackend(text));
  },
  format: formatTarget,
};

/** The same for a monitor for people. */
export const humanMonitorTarget: PropertyType<CharacterTarget> = {
  syntax: `none|null|chardev:<id>|stdio|pty|${UNIX_SYNTAX}`,
  expected: `none, null, chardev:<id>, stdio, pty or ${UNIX_SYNTAX}`,
  parse(text) {
    // Output that is dropped, of a monitor that nobody can type at.
    if (text === "none" || text === "null") return { kind: "none" };
    return parseChardev(text) ?? backendTarget(parseInteractive(text, true));
  },
  format: formatTarget,
};

/** QEMU's short spelling of a QMP server's character device. */
export const monitorTarget: PropertyType<MonitorTarget> = {
  syntax: `stdio|${UNIX_SYNTAX}|chardev:<id>`,
  expected: `stdio, ${UNIX_SYNTAX} or chardev:<id>`,
  parse(text) {
    if (text === "stdio") return { kind: "transport", transport: { kind: "stdio" } };
    const rest = /^unix:(.*)$/s.exec(text)?.[1];
    if (rest === undefined) return parseChardev(text);
    const transport = unixTransport(rest);
    return transport && { kind: "transport", transport };
  },
  format(target) {
    if (target.kind === "chardev") return `chardev:${target.id}`;
    return target.transport.kind === "stdio" ? "stdio" : formatUnix(target.transport);
  },
};

const ID = required(identifier, "name");
const MUX = withDefault(bool, false, "several users share it; Ctrl-A c says who gets the input");

/** `-chardev`. */
export const CHARDEV_TYPES = {
  "stdio": {
    description: "standard input and output",
    roles: ["vmm", "remote"],
    properties: {
      id: ID,
      signal: withDefault(bool, true, "keys such as Ctrl-C are signals; off gives them to the guest"),
      mux: MUX,
    },
  },
  "file": {
    description: "output goes to a file, which is made or truncated",
    roles: ["vmm"],
    properties: { id: ID, path: required(path, "the file"), mux: MUX },
  },
  "pty": {
    description: "a pseudo-terminal, whose name is printed",
    roles: ["vmm"],
    properties: { id: ID, mux: MUX },
  },
  "socket": {
    description: "UNIX stream socket; either path= or fd=",
    roles: ["vmm", "remote"],
    properties: {
      id: ID,
      path: optional(socketPath, "where to listen, or to connect to"),
      fd: optional(descriptor, "inherited socket: connected, or listening with server=on"),
      server: withDefault(bool, false, "listens, for one client after the other"),
      wait: optional(bool, "whether the start waits for the first client; on if left out; with server=on"),
      mux: MUX,
      host: refused("only UNIX sockets are supported"),
      port: refused("only UNIX sockets are supported"),
      reconnect: refused("a client that connects does so once"),
    },
  },
  "null": {
    description: "output is dropped, there is no input",
    roles: ["vmm"],
    properties: { id: ID, mux: MUX },
  },
} as const satisfies Variants;
