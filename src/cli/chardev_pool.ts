/**
 * The character devices of a command line, and who uses them.
 *
 * @module
 */
import { OptionError, quote, suggestion } from "../options/option_error.ts";
import type { MonitorTransport } from "../options/monitor.ts";
import type { CharacterBackend, CharacterDeviceConfig } from "../vmm/config.ts";
import type { Arguments, Given } from "./arguments.ts";
import { type CharacterTarget, socketTransport } from "./character_devices.ts";
import { type DescriptorRegistry, IdRegistry } from "./registries.ts";

/** How many can share a device (QEMU: MAX_MUX). */
const MOST_USERS = 4;

function backendOf({ where, value }: Arguments["chardev"][number]): CharacterBackend {
  if (value.name === "file") return { kind: value.name, path: value.values.path };
  if (value.name === "stdio") return { kind: value.name, signals: value.values.signal };
  if (value.name !== "socket") return { kind: value.name };
  const transport = socketTransport(value.values);
  if (typeof transport === "string") throw new OptionError(where, transport);
  return { kind: value.name, transport };
}

/** Gives out devices, and sees to it that nothing is used twice that cannot be shared. */
export class ChardevPool {
  readonly #chardevs = new Map<string, Given<CharacterDeviceConfig>>();
  readonly #users = new Map<string, string[]>();
  readonly #descriptors: DescriptorRegistry;
  readonly #devices: CharacterDeviceConfig[] = [];
  readonly #humanMonitors: number[] = [];
  #stdioUser: string | undefined;

  /** @throws {OptionError} when two have the same id, or a socket's properties do not fit together. */
  constructor(chardevs: Arguments["chardev"], descriptors: DescriptorRegistry) {
    this.#descriptors = descriptors;
    const ids = new IdRegistry();
    for (const chardev of chardevs) {
      const { where, value: { values } } = chardev;
      ids.take({ where, value: values });
      const config = { id: values.id, backend: backendOf(chardev), mux: values.mux };
      this.#chardevs.set(values.id, { where, value: config });
    }
  }

  /** Whether somebody has standard input and output. */
  get stdioTaken(): boolean {
    return this.#stdioUser !== undefined;
  }

  /** The devices that have been given out to consoles and monitors for people. */
  get devices(): readonly CharacterDeviceConfig[] {
    return this.#devices;
  }

  /** The devices that are, or are shared with, a monitor for people, as numbers of {@linkcode devices}. */
  get humanMonitors(): readonly number[] {
    return this.#humanMonitors;
  }

  /**
   * The device for `where`, as a number of {@linkcode devices}; `undefined` for `none`.
   *
   * @param id The id of one that has no `-chardev` of its own.
   * @throws {OptionError} when there is no such `-chardev`, or it or standard input and output has a user already.
   */
  resolve(where: string, target: CharacterTarget, id: string): number | undefined {
    if (target.kind === "none") return undefined;
    if (target.kind === "backend") {
      const index = this.#add(where, { id, backend: target.backend, mux: target.monitor });
      if (target.monitor) this.#humanMonitors.push(index);
      return index;
    }
    const config = this.#take(where, target.id);
    const index = this.#devices.indexOf(config);
    return index >= 0 ? index : this.#add(where, config);
  }

  /**
   * Puts a monitor for people on a device.
   *
   * @throws {OptionError} as {@linkcode resolve}, and when nobody could type at it.
   */
  addHumanMonitor(where: string, target: CharacterTarget, id: string): void {
    const index = this.resolve(where, target, id);
    if (index === undefined) return;
    const { id: name, backend: { kind } } = this.#devices[index];
    if (kind === "file" || kind === "null") {
      throw new OptionError(where, `character device '${name}' is a ${kind}; expected one with input`);
    }
    if (this.#humanMonitors.includes(index)) {
      throw new OptionError(where, `character device '${name}' has a monitor already`);
    }
    this.#humanMonitors.push(index);
  }

  /**
   * Where the clients of a QMP server are that is on a `-chardev`.
   *
   * @throws {OptionError} as {@linkcode resolve}, and when it is one that nobody can talk over.
   */
  resolveMonitor(where: string, id: string): MonitorTransport {
    const { backend, mux } = this.#take(where, id);
    if (mux) throw new OptionError(where, `character device '${id}' has mux=on; QMP shares it with nobody`);
    if (backend.kind === "socket") {
      this.takeTransport(where, backend.transport);
      return backend.transport;
    }
    if (backend.kind !== "stdio") {
      throw new OptionError(where, `character device '${id}' is a ${backend.kind}; expected a socket or stdio`);
    }
    this.takeTransport(where, { kind: "stdio" });
    return { kind: "stdio" };
  }

  /** @throws {OptionError} when standard input and output, or the descriptor, has a user already. */
  takeTransport(where: string, transport: MonitorTransport): void {
    if ("fd" in transport) this.#descriptors.take(where, transport.fd);
    if (transport.kind !== "stdio") return;
    if (this.#stdioUser !== undefined) throw new OptionError(where, `stdio belongs to ${this.#stdioUser} already`);
    this.#stdioUser = where;
  }

  /** @throws {OptionError} when a `-chardev` has no user. */
  requireAllTaken(): void {
    for (const [id, { where }] of this.#chardevs) {
      if (!this.#users.has(id)) {
        throw new OptionError(
          where,
          `nothing uses it; expected for example -serial chardev:${id} or -mon ${id},mode=control`,
        );
      }
    }
  }

  #add(where: string, config: CharacterDeviceConfig): number {
    const { backend } = config;
    if (backend.kind === "socket") this.takeTransport(where, backend.transport);
    if (backend.kind === "stdio") this.takeTransport(where, { kind: "stdio" });
    return this.#devices.push(config) - 1;
  }

  #take(where: string, id: string): CharacterDeviceConfig {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) {
      throw new OptionError(where, `no -chardev has the id ${quote(id)}${suggestion(id, [...this.#chardevs.keys()])}`);
    }
    const users = this.#users.get(id) ?? [];
    if (users.length > 0 && !chardev.value.mux) {
      throw new OptionError(where, `character device '${id}' belongs to ${users[0]} already; mux=on shares it`);
    }
    if (users.length >= MOST_USERS) {
      throw new OptionError(where, `character device '${id}' has ${MOST_USERS} users already`);
    }
    this.#users.set(id, [...users, where]);
    return chardev.value;
  }
}
