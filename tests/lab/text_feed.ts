/**
 * Text that comes bit by bit, from a program or in a file that grows, and waiting for parts of it.
 *
 * @module
 */

/** How often a file is looked at that grows, in milliseconds. */
const FILE_INTERVAL = 100;

/** Text so far, and who waits for more. */
export class TextFeed {
  readonly #listener: (piece: string) => void;
  #text = "";
  #cursor = 0;
  #ended = false;
  #wake = Promise.withResolvers<void>();

  /** @param listener Is given each piece when it comes. */
  constructor(listener: (piece: string) => void = () => {}) {
    this.#listener = listener;
  }

  /** All that has come. */
  get text(): string {
    return this.#text;
  }

  /** Takes all that a stream gives, until its end. */
  async readFrom(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    try {
      for await (const piece of stream.pipeThrough(new TextDecoderStream())) this.#append(piece);
    } finally {
      this.#end();
    }
  }

  /** Takes what is in a file, and what others append to it until `end` comes. */
  async follow(path: string, end: Promise<unknown>): Promise<void> {
    let ending = false;
    end.catch(() => {}).finally(() => ending = true);
    using file = await Deno.open(path);
    const decoder = new TextDecoder();
    const piece = new Uint8Array(65536);
    while (true) {
      const last = ending;
      for (let length; (length = await file.read(piece)) !== null;) {
        this.#append(decoder.decode(piece.subarray(0, length), { stream: true }));
      }
      if (last) break;
      await Promise.race([end.catch(() => {}), sleep(FILE_INTERVAL)]);
    }
    this.#end();
  }

  /**
   * Waits for a pattern, behind all that was waited for before.
   *
   * @throws {Error} when it does not come in so many seconds, or the text ends without it.
   */
  async waitFor(pattern: RegExp, seconds: number): Promise<RegExpExecArray> {
    const deadline = performance.now() + seconds * 1000;
    while (true) {
      const match = pattern.exec(this.#text.slice(this.#cursor));
      if (match !== null) {
        this.#cursor += match.index + match[0].length;
        return match;
      }
      const left = deadline - performance.now();
      if (this.#ended) throw new Error(`The text ended without ${pattern}`);
      if (left <= 0) throw new Error(`Waited ${seconds} s in vain for ${pattern}`);
      await timeLimited(this.#wake.promise, left);
    }
  }

  #append(piece: string): void {
    this.#text += piece;
    this.#listener(piece);
    this.#news();
  }

  #end(): void {
    this.#ended = true;
    this.#news();
  }

  #news(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve();
  }
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Waits for a promise, so many milliseconds at most. */
async function timeLimited(promise: Promise<void>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const alarm = new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds));
  await Promise.race([promise, alarm]);
  clearTimeout(timer);
}
