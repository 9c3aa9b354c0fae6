/**
 * Character devices: what `-serial`, `-debugcon` and `-chardev` name.
 *
 * @module
 */
import { splitOption } from "../options/keyval.ts";
import type { MonitorTransport } from "../options/monitor.ts";
import { optional, refused, required, type Variants, withDefault } from "../options/properties.ts";
import { bool, descriptor, identifier, path, type PropertyType, socketPath } from "../options/property_types.ts";
import type { CharacterBackend } from "../vmm/config.ts";

/** What `-serial` and `-debugcon` can be given. */
export type CharacterTarget =
  | CharacterBackend
  /** There is no such device. */
  | { readonly kind: "none" }
  /** The `-chardev` with this id. */
  | { readonly kind: "chardev"; readonly id: string };

function parseTarget(text: string): CharacterTarget | undefined {
  if (text === "none" || text === "null" || text === "stdio") return { kind: text };
  const [, scheme, rest] = /^(file|chardev):(.*)$/s.exec(text) ?? [];
  if (scheme === "file" && path.parse(rest) !== undefined) return { kind: "file", path: rest };
  if (scheme === "chardev" && identifier.parse(rest) !== undefined) return { kind: "chardev", id: rest };
  return undefined;
}

/** QEMU's short spelling of a character device. */
export const characterTarget: PropertyType<CharacterTarget> = {
  syntax: "none|null|stdio|file:<file>|chardev:<id>",
  expected: "none, null, stdio, file:<file> or chardev:<id>",
  parse: parseTarget,
  format(target) {
    if (target.kind === "file") return `file:${target.path}`;
    return target.kind === "chardev" ? `chardev:${target.id}` : target.kind;
  },
};

/** What `-qmp` can be given. */
export type MonitorTarget =
  | { readonly kind: "transport"; readonly transport: MonitorTransport }
  /** The `-chardev` with this id. */
  | { readonly kind: "chardev"; readonly id: string };

/** What says where a socket is and who waits for whom. */
export interface SocketProperties {
  readonly path?: string | undefined;
  readonly fd?: number | undefined;
  readonly server: boolean;
  readonly wait?: boolean | undefined;
}

/** The socket that the properties describe, or what is wrong with them. */
export function socketTransport({ path, fd, server, wait }: SocketProperties): MonitorTransport | string {
  if ((path === undefined) === (fd === undefined)) return "expected either path= or fd=";
  if (!server && wait !== undefined) return "'wait' is for server=on";
  // QEMU's default, too: a server that does not wait has to be asked for.
  const waits = wait ?? true;
  if (path !== undefined) return server ? { kind: "listen", path, wait: waits } : { kind: "connect", path };
  return server ? { kind: "listen-fd", fd: fd!, wait: waits } : { kind: "fd", fd: fd! };
}

/** Old spellings that QEMU has kept: bare `server`, and `nowait`. */
function unixTransport(text: string): MonitorTransport | undefined {
  const [path, ...rest] = splitOption("-qmp", text, "path").pairs;
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

function parseMonitor(text: string): MonitorTarget | undefined {
  if (text === "stdio") return { kind: "transport", transport: { kind: "stdio" } };
  const [, scheme, rest] = /^(unix|chardev):(.*)$/s.exec(text) ?? [];
  if (scheme === "chardev") return identifier.parse(rest) === undefined ? undefined : { kind: "chardev", id: rest };
  const transport = scheme === "unix" ? unixTransport(rest) : undefined;
  return transport && { kind: "transport", transport };
}

/** QEMU's short spelling of a monitor's character device. */
export const monitorTarget: PropertyType<MonitorTarget> = {
  syntax: "stdio|unix:<file>[,server=on|off][,wait=on|off]|chardev:<id>",
  expected: "stdio, unix:<file>[,server=on|off][,wait=on|off] or chardev:<id>",
  parse: parseMonitor,
  format(target) {
    if (target.kind === "chardev") return `chardev:${target.id}`;
    const { transport } = target;
    if (transport.kind === "listen") return `unix:${transport.path},server=on,wait=${bool.format(transport.wait)}`;
    return transport.kind === "connect" ? `unix:${transport.path}` : transport.kind;
  },
};

/** `-chardev`. */
export const CHARDEV_TYPES = {
  "stdio": {
    description: "standard input and output",
    roles: ["vmm", "remote"],
    properties: { id: required(identifier, "name") },
  },
  "file": {
    description: "output goes to a file, which is made or truncated",
    roles: ["vmm"],
    properties: { id: required(identifier, "name"), path: required(path, "the file") },
  },
  "socket": {
    description: "UNIX stream socket, for -mon; either path= or fd=",
    roles: ["vmm", "remote"],
    properties: {
      id: required(identifier, "name"),
      path: optional(socketPath, "where to listen, or to connect to"),
      fd: optional(descriptor, "inherited socket: connected, or listening with server=on"),
      server: withDefault(bool, false, "listens, for one client after the other"),
      wait: optional(bool, "whether the start waits for the first client; on if left out; with server=on"),
      host: refused("only UNIX sockets are supported"),
      port: refused("only UNIX sockets are supported"),
      reconnect: refused("a client that connects does so once"),
    },
  },
  "null": {
    description: "output is dropped, there is no input",
    roles: ["vmm"],
    properties: { id: required(identifier, "name") },
  },
} as const satisfies Variants;
