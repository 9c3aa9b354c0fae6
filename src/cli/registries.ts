/**
 * What options may claim only once: ids and inherited descriptors.
 *
 * @module
 */
import { OptionError } from "../options/option_error.ts";
import type { Arguments, Given } from "./arguments.ts";

/** Takes ids that users give, and makes up others that differ from all of them. */
export class IdRegistry {
  readonly #taken = new Set<string>();

  /** @throws {OptionError} when the id is taken. */
  take({ where, value: { id } }: Given<{ readonly id: string | undefined }>): void {
    if (id === undefined) return;
    if (this.#taken.has(id)) throw new OptionError(where, "its id is taken already");
    this.#taken.add(id);
  }

  /** An id that nobody has: `prefix-N`. */
  make(prefix: string): string {
    for (let n = 0;; n++) {
      const id = `${prefix}-${n}`;
      if (this.#taken.has(id)) continue;
      this.#taken.add(id);
      return id;
    }
  }
}

/** Registers the ids of all devices, so that ids made up later differ from them. */
export function registerDeviceIds(devices: Arguments["device"]): IdRegistry {
  const ids = new IdRegistry();
  for (const { where, value } of devices) ids.take({ where, value: value.values });
  return ids;
}

/** Sees to it that each descriptor has one owner. */
export class DescriptorRegistry {
  readonly #owners = new Map<number, string>();

  /** @throws {OptionError} when another option has the descriptor. */
  take(where: string, fd: number): void {
    const owner = this.#owners.get(fd);
    if (owner !== undefined) throw new OptionError(where, `fd=${fd} belongs to ${owner} already`);
    this.#owners.set(fd, where);
  }
}
