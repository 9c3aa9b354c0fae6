/**
 * Where the benchmark's results go.
 *
 * @module
 */
import { replaceResults } from "./report.ts";

const DOCUMENT = new URL("../docs/performance.md", import.meta.url);

/** Puts `text` into the part of docs/performance.md that its markers name. */
export function writeDocument(part: string, text: string): void {
  Deno.writeTextFileSync(DOCUMENT, replaceResults(Deno.readTextFileSync(DOCUMENT), text, part));
}

/** Writes a picture beside that document. */
export function writePicture(name: string, svg: string): void {
  Deno.writeTextFileSync(new URL(name, DOCUMENT), svg);
}

/** Says on a terminal's line what is being done. */
export function progress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}
