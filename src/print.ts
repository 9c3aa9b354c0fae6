/**
 * Printing what was found out.
 *
 * @module
 */

/** Writes all of a text to standard output or standard error. */
export function print(text: string, stream: { writeSync(bytes: Uint8Array): number } = Deno.stdout): void {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
}

/** Prints a value as qemu-img prints JSON: indented by four, a line feed at the end. */
export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, undefined, 4)}\n`);
}
