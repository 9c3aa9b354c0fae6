/**
 * The inputs that are kept in the repository: `tests/fuzz/corpus/TARGET/NAME`, each a file of its own.
 *
 * `found-…` has broken something once, and is to break nothing again. `reached-…` reaches what seeds and luck reach
 * late.
 *
 * @module
 */

/** A file of a corpus. */
export interface CorpusFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const CORPUS = new URL("../corpus/", import.meta.url);

function folderOf(target: string): URL {
  return new URL(`${target}/`, CORPUS);
}

/** What is kept for a target, by name. */
export function readCorpus(target: string): CorpusFile[] {
  try {
    return [...Deno.readDirSync(folderOf(target))]
      .map(({ name }) => ({ name, bytes: Deno.readFileSync(new URL(name, folderOf(target))) }))
      .sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Keeps an input, under a name that depends on its bytes. @returns The file's path within the corpus. */
export async function keepInput(
  target: string,
  kind: "found" | "reached",
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const name = `${kind}-${digest.toHex().slice(0, 12)}`;
  Deno.mkdirSync(folderOf(target), { recursive: true });
  Deno.writeFileSync(new URL(name, folderOf(target)), bytes);
  return `${target}/${name}`;
}

/** Removes what was kept for a target but for what was found. */
export function forgetReached(target: string): void {
  for (const { name } of readCorpus(target)) {
    if (name.startsWith("reached-")) Deno.removeSync(new URL(name, folderOf(target)));
  }
}
