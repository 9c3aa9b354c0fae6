/**
 * The character devices of a command line, each for one user.
 *
 * @module
 */
import { OptionError, quote, suggestion } from "../options/option_error.ts";
import type { MonitorTransport } from "../options/monitor.ts";
import type { CharacterBackend } from "../vmm/config.ts";
import type { Arguments, Given } from "./arguments.ts";
import { type CharacterTarget, socketTransport } from "./character_devices.ts";
import { IdRegistry } from "./registries.ts";

/** What a `-chardev` can be: what a console is connected to, or a socket. */
type Backend = CharacterBackend | { readonly kind: "socket"; readonly transport: MonitorTransport };

function backendOf({ where, value }: Arguments["chardev"][number]): Backend {
  if (value.name === "file") return { kind: value.name, path: value.values.path };
  if (value.name !== "socket") return { kind: value.name };
  const transport = socketTransport(value.values);
  if (typeof transport === "string") throw new OptionError(where, transport);
  return { kind: "socket", transport };
}

/** Gives out backends, and sees to it that nothing is used twice. */
export class ChardevPool {
  readonly #chardevs = new Map<string, Given<Backend>>();
  readonly #users = new Map<string, string>();
  #stdioUser: string | undefined;

  /** @throws {OptionError} when two have the same id, or a socket's properties do not fit together. */
  constructor(chardevs: Arguments["chardev"]) {
    const ids = new IdRegistry();
    for (const chardev of chardevs) {
      const { where, value: { values } } = chardev;
      ids.take({ where, value: values });
      this.#chardevs.set(values.id, { where, value: backendOf(chardev) });
    }
  }

  /** Whether somebody has standard input and output. */
  get stdioTaken(): boolean {
    return this.#stdioUser !== undefined;
  }

  /**
   * The backend for `where`; `undefined` for `none`.
   *
   * @throws {OptionError} when there is no such `-chardev`, or it or standard input and output has a user already.
   */
  resolve(where: string, target: CharacterTarget): CharacterBackend | undefined {
    if (target.kind === "none") return undefined;
    const backend = target.kind === "chardev" ? this.#take(where, target.id) : target;
    if (backend.kind === "socket") {
      throw new OptionError(where, "a console cannot be on a socket; expected stdio or file");
    }
    if (backend.kind === "stdio") this.takeStdio(where);
    return backend;
  }

  /**
   * Where the clients of a QMP server are that is on a `-chardev`.
   *
   * @throws {OptionError} as {@linkcode resolve}, and when it is one that nobody can talk over.
   */
  resolveMonitor(where: string, id: string): MonitorTransport {
    const backend = this.#take(where, id);
    if (backend.kind === "socket") return backend.transport;
    if (backend.kind !== "stdio") {
      throw new OptionError(where, `character device '${id}' is a ${backend.kind}; expected a socket or stdio`);
    }
    this.takeStdio(where);
    return backend;
  }

  /** @throws {OptionError} when standard input and output have a user. */
  takeStdio(where: string): void {
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

  #take(where: string, id: string): Backend {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) {
      throw new OptionError(where, `no -chardev has the id ${quote(id)}${suggestion(id, [...this.#chardevs.keys()])}`);
    }
    const user = this.#users.get(id);
    if (user !== undefined) throw new OptionError(where, `character device '${id}' belongs to ${user} already`);
    this.#users.set(id, where);
    return chardev.value;
  }
}
