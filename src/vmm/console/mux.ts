/**
 * A device that several users share. The key after the escape key is a command: QEMU's (chardev/char-mux.c, and "Keys in the character
 * backend multiplexer" in its manual).
 *
 * @module
 */
import type { FrontEnd, InputReceiver } from "./input.ts";

/** What a {@linkcode Mux} is made of. */
export interface MuxOptions {
  /** ASCII code of the escape key, 1 to 31. */
  readonly escapeKey: number;
  /** Users that have input, at least one. The first has the focus. */
  readonly frontEnds: readonly FrontEnd[];
  /** Shows text to whoever types. */
  readonly print: (text: string) => void;
  /** Switches timestamps on or off. */
  readonly toggleTimestamps: () => void;
  /** Ends the machine. */
  readonly quit: () => void;
}

/** Gives input to the user that has the focus. */
export class Mux implements InputReceiver {
  readonly #options: MuxOptions;
  #focus = 0;
  #escaped = false;

  constructor(options: MuxOptions) {
    this.#options = options;
  }

  get room(): number {
    return this.#focused.room;
  }

  receive(bytes: Uint8Array): void {
    const { escapeKey } = this.#options;
    let start = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (this.#escaped) {
        this.#escaped = false;
        // The escape key twice is the key itself.
        start = bytes[i] === escapeKey ? i : i + 1;
        if (bytes[i] !== escapeKey) this.#command(String.fromCharCode(bytes[i]));
      } else if (bytes[i] === escapeKey) {
        this.#forward(bytes.subarray(start, i));
        this.#escaped = true;
        start = i + 1;
      }
    }
    this.#forward(bytes.subarray(start));
  }

  /** There is somebody new to type. */
  renew(): void {
    this.#escaped = false;
    for (const frontEnd of this.#options.frontEnds) frontEnd.renew();
    this.#focused.focus();
  }

  get #focused(): FrontEnd {
    return this.#options.frontEnds[this.#focus];
  }

  #forward(bytes: Uint8Array): void {
    // A switch may have led to somebody with less room than there was before.
    const taken = bytes.subarray(0, this.room);
    if (taken.length > 0) this.#focused.receive(taken);
  }

  #command(key: string): void {
    switch (key) {
      case "b":
        return this.#focused.sendBreak();
      case "c":
        return this.#switch();
      case "h":
      case "?":
        return this.#options.print(this.#help());
      case "t":
        return this.#options.toggleTimestamps();
      case "x":
        this.#options.print("\r\nsplitvm: Terminated\r\n");
        return this.#options.quit();
    }
  }

  #switch(): void {
    const { frontEnds } = this.#options;
    if (frontEnds.length === 1) return;
    this.#focus = (this.#focus + 1) % frontEnds.length;
    this.#focused.focus();
  }

  #help(): string {
    const { escapeKey, frontEnds } = this.#options;
    const key = `Ctrl-${String.fromCharCode(escapeKey + 0x40)}`;
    const rows = [
      ["h", "this help"],
      ["x", "end the machine"],
      ...frontEnds.length > 1 ? [["c", "switch between console and monitor"]] : [],
      ["b", "send a break"],
      ["t", "timestamps on or off"],
      [key, `send ${key} itself`],
    ];
    return `\r\n${rows.map(([next, what]) => `${key} ${next.padEnd(key.length)}  ${what}\r\n`).join("")}`;
  }
}
