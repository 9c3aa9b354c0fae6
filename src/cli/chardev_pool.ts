/**
 * The character devices of a command line, each for one user.
 *
 * @module
 */
import { OptionError, quote, suggestion } from "../options/option_error.ts";
import type { CharacterBackend } from "../vmm/config.ts";
import type { Arguments, Given } from "./arguments.ts";
import type { CharacterTarget } from "./character_devices.ts";
import { IdRegistry } from "./registries.ts";

/** Gives out backends, and sees to it that nothing is used twice. */
export class ChardevPool {
  readonly #chardevs = new Map<string, Given<CharacterBackend>>();
  readonly #users = new Map<string, string>();
  #stdioUser: string | undefined;

  /** @throws {OptionError} when two have the same id. */
  constructor(chardevs: Arguments["chardev"]) {
    const ids = new IdRegistry();
    for (const { where, value: { name, values } } of chardevs) {
      ids.take({ where, value: values });
      const backend: CharacterBackend = name === "file" ? { kind: name, path: values.path } : { kind: name };
      this.#chardevs.set(values.id, { where, value: backend });
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
    if (backend.kind === "stdio") {
      if (this.#stdioUser !== undefined) throw new OptionError(where, `stdio belongs to ${this.#stdioUser} already`);
      this.#stdioUser = where;
    }
    return backend;
  }

  /** @throws {OptionError} when a `-chardev` has no user. */
  requireAllTaken(): void {
    for (const [id, { where }] of this.#chardevs) {
      if (!this.#users.has(id)) {
        throw new OptionError(where, `nothing uses it; expected for example -serial chardev:${id}`);
      }
    }
  }

  #take(where: string, id: string): CharacterBackend {
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
