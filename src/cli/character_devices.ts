/**
 * Character devices: what `-serial`, `-debugcon`, `-monitor`, `-qmp` and `-chardev` name.
 *
 * @module
 */
import { splitOption } from "../options/keyval.ts";
import type { MonitorTransport } from "../options/monitor.ts";
import { OptionError } from "../options/option_error.ts";
import {
  optional,
  parseProperties,
  type Properties,
  refused,
  required,
  type Variants,
  withDefault,
} from "../options/properties.ts";
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

const SERVER_PROPERTIES = {
  server: withDefault(bool, false, "listens, for one client after the other"),
  wait: optional(bool, "whether the start waits for the first client; on if left out; with server=on"),
} satisfies Properties;

const UNIX_PROPERTIES = {
  path: required(socketPath, "where to listen, or to connect to"),
  ...SERVER_PROPERTIES,
} satisfies Properties;

/** What follows `unix:`, or what is wrong with it. Old spellings that QEMU has kept: bare `server`, and `nowait`. */
function unixTransport(text: string): SocketTransport | string {
  const where = "unix:";
  try {
    const pairs = splitOption(where, text, "path").pairs.map(({ key, value }) =>
      key === "nowait" && value === undefined ? { key: "wait", value: "off" } : { key, value }
    );
    return socketTransport(parseProperties(where, UNIX_PROPERTIES, pairs));
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    return error.problem;
  }
}

function formatUnix(transport: SocketTransport): string {
  if (transport.kind === "listen") return `unix:${transport.path},server=on,wait=${bool.format(transport.wait)}`;
  return transport.kind === "connect" ? `unix:${transport.path}` : transport.kind;
}

function parseChardev(text: string): ChardevReference | undefined {
  const id = /^chardev:(.*)$/s.exec(text)?.[1];
  return id === undefined || identifier.parse(id) === undefined ? undefined : { kind: "chardev", id };
}

/** A value; or what is wrong with a part of a text that is meant to be one; or nothing where it is not. */
type Reading<T> = T | string | undefined;

/** A type of values whose parts have rules of their own. */
function typeOf<T extends object>(
  { read, ...rest }: Pick<PropertyType<T>, "syntax" | "expected" | "format"> & { read(text: string): Reading<T> },
): PropertyType<T> {
  return {
    ...rest,
    parse(text) {
      const reading = read(text);
      return typeof reading === "string" ? undefined : reading;
    },
    problem(text) {
      const reading = read(text);
      return typeof reading === "string" ? reading : undefined;
    },
  };
}

/** A backend that somebody can type at. */
function readInteractive(text: string, signals: boolean): Reading<CharacterBackend> {
  if (text === "stdio") return { kind: "stdio", signals };
  if (text === "pty") return { kind: "pty" };
  const rest = /^unix:(.*)$/s.exec(text)?.[1];
  const transport = rest === undefined ? undefined : unixTransport(rest);
  return typeof transport === "object" ? { kind: "socket", transport } : transport;
}

function readBackend(text: string): Reading<CharacterBackend> {
  if (text === "null") return { kind: "null" };
  const file = /^file:(.*)$/s.exec(text)?.[1];
  if (file !== undefined) return path.parse(file) === undefined ? undefined : { kind: "file", path: file };
  return readInteractive(text, true);
}

function backendTarget(backend: Reading<CharacterBackend>, monitor = false): Reading<CharacterTarget> {
  return typeof backend === "object" ? { kind: "backend", backend, monitor } : backend;
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
export const characterTarget = typeOf<CharacterTarget>({
  syntax: `none|null|file:<file>|chardev:<id>|[mon:]stdio|[mon:]pty|[mon:]${UNIX_SYNTAX}`,
  expected: `none, null, file:<file>, chardev:<id>, [mon:]stdio, [mon:]pty or [mon:]${UNIX_SYNTAX}`,
  read(text) {
    if (text === "none") return { kind: "none" };
    const shared = /^mon:(.*)$/s.exec(text)?.[1];
    if (shared !== undefined) return backendTarget(readInteractive(shared, false), true);
    return parseChardev(text) ?? backendTarget(readBackend(text));
  },
  format: formatTarget,
});

/** The same for a monitor for people. */
export const humanMonitorTarget = typeOf<CharacterTarget>({
  syntax: `none|null|chardev:<id>|stdio|pty|${UNIX_SYNTAX}`,
  expected: `none, null, chardev:<id>, stdio, pty or ${UNIX_SYNTAX}`,
  read(text) {
    // Output that is dropped, of a monitor that nobody can type at.
    if (text === "none" || text === "null") return { kind: "none" };
    return parseChardev(text) ?? backendTarget(readInteractive(text, true));
  },
  format: formatTarget,
});

/** QEMU's short spelling of a QMP server's character device. */
export const monitorTarget = typeOf<MonitorTarget>({
  syntax: `stdio|${UNIX_SYNTAX}|chardev:<id>`,
  expected: `stdio, ${UNIX_SYNTAX} or chardev:<id>`,
  read(text) {
    if (text === "stdio") return { kind: "transport", transport: { kind: "stdio" } };
    const rest = /^unix:(.*)$/s.exec(text)?.[1];
    if (rest === undefined) return parseChardev(text);
    const transport = unixTransport(rest);
    return typeof transport === "string" ? transport : { kind: "transport", transport };
  },
  format(target) {
    if (target.kind === "chardev") return `chardev:${target.id}`;
    return target.transport.kind === "stdio" ? "stdio" : formatUnix(target.transport);
  },
});

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
      ...SERVER_PROPERTIES,
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
