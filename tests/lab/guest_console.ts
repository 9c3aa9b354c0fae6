/**
 * The serial console of a guest that runs in the lab, for who plays the person in front of it.
 *
 * @module
 */
import { join } from "@std/path";
import { TextFeed } from "./text_feed.ts";

/** Reads `console.log` and writes `input` in a run's folder, which the lab connects with the VMM's standard output and input. */
export class GuestConsole {
  readonly #folder: string;
  readonly #patience: number;
  readonly #output = new TextFeed();

  /** @param patience Seconds to wait for anything: the guest hangs when that does not come. */
  constructor(folder: string, patience: number) {
    this.#folder = folder;
    this.#patience = patience;
  }

  /** Waits until the guest has printed something, behind all that was waited for before. @returns the match. */
  async waitFor(pattern: RegExp | string): Promise<RegExpExecArray> {
    const expression = typeof pattern === "string" ? new RegExp(RegExp.escape(pattern)) : pattern;
    return await this.#output.waitFor(expression, this.#patience);
  }

  /** Types. A line ends with `\r`, the return key's, or `\n`. */
  async type(text: string): Promise<void> {
    await Deno.writeTextFile(join(this.#folder, "input"), text, { append: true });
  }

  /** Takes what the guest prints, until `end` comes. */
  async follow(end: Promise<unknown>): Promise<void> {
    await this.#output.follow(join(this.#folder, "console.log"), end);
  }
}
