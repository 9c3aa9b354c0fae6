/**
 * Who takes the input of a character device: serial ports, and monitors for people.
 *
 * @module
 */

/** Takes input, as much as it says it has room for. */
export interface InputReceiver {
  /** Bytes that it takes now. */
  readonly room: number;
  /** Takes bytes, at most {@linkcode room}. */
  receive(bytes: Uint8Array): void;
}

/** A user of a device that has input. */
export interface FrontEnd extends InputReceiver {
  /** Whoever types is connected to it from now on. */
  focus(): void;
  /** A break condition on the line. */
  sendBreak(): void;
  /** The client is another one from now on. */
  renew(): void;
}

/** Input that waits for a receiver which does not take all of it at once. */
export class InputQueue {
  readonly #limit: number;
  readonly #take: (bytes: Uint8Array) => number;
  #waiting = new Uint8Array(0);

  /**
   * @param limit Bytes that may wait.
   * @param take Takes bytes from the start of what it is given; returns how many.
   */
  constructor(limit: number, take: (bytes: Uint8Array) => number) {
    this.#limit = limit;
    this.#take = take;
  }

  /** Bytes that may still come. */
  get room(): number {
    return this.#limit - this.#waiting.length;
  }

  /** Hands bytes on, or keeps them. */
  push(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#waiting.length + bytes.length);
    joined.set(this.#waiting);
    joined.set(bytes, this.#waiting.length);
    this.#waiting = joined.slice(this.#take(joined));
  }

  /** Tries again. */
  retry(): void {
    if (this.#waiting.length > 0) this.#waiting = this.#waiting.slice(this.#take(this.#waiting));
  }
}
