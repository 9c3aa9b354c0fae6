/**
 * QEMU's option strings: `value,key=value,flag`, where `,,` stands for a comma in a value.
 *
 * A key ends at the first `=`, so a value may contain `=`; commas pair up from the left. A comma at the very end is let
 * pass, because QEMU does so and its manual has such command lines.
 *
 * @module
 */
import { OptionError, quote } from "./option_error.ts";

/** One element of an option string. */
export interface KeyValue {
  readonly key: string;
  /** `undefined` for a key that stands alone. */
  readonly value: string | undefined;
}

/** A taken-apart option string. */
export interface OptionString {
  /** In the order given. Keys may repeat. */
  readonly pairs: readonly KeyValue[];
  /** Whether an element was `help` or `?`; it is not among the pairs. */
  readonly help: boolean;
}

/** Reads a value from `start` to the next comma that is not one of a pair. */
function takeValue(text: string, start: number): { value: string; end: number } {
  let end = start;
  while (end < text.length) {
    if (text[end] !== ",") end++;
    else if (text[end + 1] === ",") end += 2;
    else break;
  }
  return { value: text.slice(start, end).replaceAll(",,", ","), end };
}

interface Element extends KeyValue {
  /** Without a `name=`. */
  readonly bare: boolean;
  readonly end: number;
}

/** Reads the element at `start`; the first one may leave out its key when there is an implied one. */
function takeElement(text: string, start: number, impliedKey: string | undefined): Element {
  let keyEnd = start;
  while (keyEnd < text.length && text[keyEnd] !== "=" && text[keyEnd] !== ",") keyEnd++;
  const key = text.slice(start, keyEnd);
  if (text[keyEnd] === "=") return { key, ...takeValue(text, keyEnd + 1), bare: false };
  if (start === 0 && impliedKey !== undefined) return { key: impliedKey, ...takeValue(text, 0), bare: true };
  return { key, value: undefined, end: keyEnd, bare: true };
}

/**
 * Takes an option string apart.
 *
 * ```ts
 * splitOption("virtio,id=a,file=x,,y", "driver").pairs;
 * // [{ key: "driver", value: "virtio" }, { key: "id", value: "a" }, { key: "file", value: "x,y" }]
 * ```
 *
 * @param where The option, for error messages.
 * @param impliedKey What a first element without `=` is the value of; without it, that element is a flag like any other.
 * @throws {OptionError} for an element without a key.
 */
export function splitOption(where: string, text: string, impliedKey?: string): OptionString {
  const pairs: KeyValue[] = [];
  let help = false;
  for (let at = 0; at < text.length;) {
    const { key, value, bare, end } = takeElement(text, at, impliedKey);
    if (key === "") throw new OptionError(where, `no name in front of a value in ${quote(text)}; expected name=value`);
    const word = value ?? key;
    if (bare && (word === "help" || word === "?")) help = true;
    else pairs.push({ key, value });
    at = end + 1;
  }
  return { pairs, help };
}

/**
 * Puts an option string together; {@linkcode splitOption} gets the same pairs back.
 *
 * @param first The value of the implied key, or `undefined` to begin with a pair. It contains no `=` and is not empty.
 */
export function joinOption(first: string | undefined, pairs: readonly KeyValue[]): string {
  const escape = (value: string) => value.replaceAll(",", ",,");
  const elements = pairs.map(({ key, value }) => value === undefined ? key : `${key}=${escape(value)}`);
  if (first !== undefined) elements.unshift(escape(first));
  return elements.join(",");
}
