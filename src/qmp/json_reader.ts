/**
 * Takes a stream of bytes apart into JSON texts, as a QMP peer sends them: one after the other, with or without white space between
 * them, in pieces of any size.
 *
 * The stream is not trusted. A text is bounded in size and nesting, and is UTF-8. After a mistake, all is skipped up to the end of the
 * line. A control character, or a byte 0xff, is a mistake after which the reader starts afresh at once (QMP specification, "Forcing the
 * JSON parser into known-good state").
 *
 * @module
 */

/** Bounds of a JSON text. */
export interface JsonLimits {
  /** Bytes. */
  readonly size: number;
  /** Objects and arrays inside each other. */
  readonly nesting: number;
}

/** What was found: a value, or what is wrong with the bytes in its place. */
export type JsonItem = { readonly value: unknown } | { readonly problem: string };

const LINE_FEED = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** White space of JSON, which is the only kind of control character that may stand in a text. */
const WHITE_SPACE: readonly number[] = [0x09, LINE_FEED, 0x0d, 0x20];

/** Where the reader is. */
const Mode = { BETWEEN: 0, TEXT: 1, STRING: 2, ESCAPE: 3, SKIP: 4 } as const;

/** Takes bytes, gives values. */
export class JsonReader {
  readonly #limits: JsonLimits;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #mode: typeof Mode[keyof typeof Mode] = Mode.BETWEEN;
  #depth = 0;
  /** The text so far. */
  #text = new Uint8Array(256);
  #length = 0;
  /** What was pushed and not looked at yet. */
  #input: Uint8Array = new Uint8Array(0);

  constructor(limits: JsonLimits) {
    this.#limits = limits;
  }

  /** Takes the next bytes of the stream; {@linkcode next} is called until it has no more before the next piece. */
  push(bytes: Uint8Array): void {
    this.#input = this.#input.length === 0 ? bytes.slice() : concatenate(this.#input, bytes);
  }

  /** The next value or mistake; `undefined` when more bytes are needed for one. */
  next(): JsonItem | undefined {
    for (let at = 0; at < this.#input.length;) {
      const item = this.#take(this.#input[at++]);
      if (item === undefined) continue;
      this.#input = this.#input.subarray(at);
      return item;
    }
    this.#input = this.#input.subarray(this.#input.length);
    return undefined;
  }

  #take(byte: number): JsonItem | undefined {
    if (byte === 0xff || (byte < 0x20 && !WHITE_SPACE.includes(byte))) return this.#startAfresh(byte);
    switch (this.#mode) {
      case Mode.SKIP:
        if (byte === LINE_FEED) this.#mode = Mode.BETWEEN;
        return undefined;
      case Mode.BETWEEN:
        return this.#begin(byte);
      case Mode.ESCAPE:
        this.#mode = Mode.STRING;
        return this.#append(byte);
      case Mode.STRING:
        if (byte === QUOTE) this.#mode = Mode.TEXT;
        else if (byte === BACKSLASH) this.#mode = Mode.ESCAPE;
        return this.#append(byte);
      default:
        return this.#structure(byte);
    }
  }

  #begin(byte: number): JsonItem | undefined {
    if (WHITE_SPACE.includes(byte)) return undefined;
    if (byte !== OPEN_BRACE && byte !== OPEN_BRACKET) return this.#skip("expected an object", byte);
    this.#mode = Mode.TEXT;
    this.#length = this.#depth = 0;
    return this.#structure(byte);
  }

  #structure(byte: number): JsonItem | undefined {
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++this.#depth > this.#limits.nesting) {
        return this.#skip(`more than ${this.#limits.nesting} objects and arrays inside each other`, byte);
      }
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#depth--;
    else if (byte === QUOTE) this.#mode = Mode.STRING;
    const problem = this.#append(byte);
    if (problem !== undefined || this.#depth > 0) return problem;
    this.#mode = Mode.BETWEEN;
    return this.#parse();
  }

  #append(byte: number): JsonItem | undefined {
    if (this.#length === this.#limits.size) return this.#skip(`more than ${this.#limits.size} bytes`, byte);
    if (this.#length === this.#text.length) this.#text = concatenate(this.#text, new Uint8Array(this.#text.length));
    this.#text[this.#length++] = byte;
    return undefined;
  }

  #parse(): JsonItem {
    try {
      return { value: JSON.parse(this.#decoder.decode(this.#text.subarray(0, this.#length)), keepingLargeNumbers) };
    } catch (error) {
      return { problem: error instanceof TypeError ? "invalid UTF-8" : "not a JSON text" };
    }
  }

  #skip(problem: string, byte: number): JsonItem {
    this.#mode = byte === LINE_FEED ? Mode.BETWEEN : Mode.SKIP;
    return { problem };
  }

  #startAfresh(byte: number): JsonItem {
    this.#mode = Mode.BETWEEN;
    return { problem: `stray byte 0x${byte.toString(16).padStart(2, "0")}` };
  }
}

/** Numbers that JavaScript cannot hold exactly stay as they were written, so that an id of 64 bits comes back unchanged. */
function keepingLargeNumbers(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value;
  return String(value) === context.source ? value : (JSON as JsonWithRawValues).rawJSON(context.source);
}

/** ECMAScript's "JSON.parse source text access". */
interface JsonWithRawValues extends JSON {
  rawJSON(text: string): unknown;
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
