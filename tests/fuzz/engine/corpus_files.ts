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

function folderOf(target: string, corpus: URL): URL {
  return new URL(`${target}/`, corpus);
}

/** What is kept for a target, by name. */
export function readCorpus(target: string, corpus = CORPUS): CorpusFile[] {
  const folder = folderOf(target, corpus);
  try {
    return [...Deno.readDirSync(folder)]
      .map(({ name }) => ({ name, bytes: Deno.readFileSync(new URL(name, folder)) }))
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
  corpus = CORPUS,
): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const name = `${kind}-${digest.toHex().slice(0, 12)}`;
  Deno.mkdirSync(folderOf(target, corpus), { recursive: true });
  Deno.writeFileSync(new URL(name, folderOf(target, corpus)), bytes);
  return `${target}/${name}`;
}

/** Keeps these inputs for a target, and then removes all others but for what was found. */
export async function replaceReached(
  target: string,
  inputs: readonly Uint8Array<ArrayBuffer>[],
  corpus = CORPUS,
): Promise<void> {
  const kept = new Set<string>();
  for (const bytes of inputs) kept.add(await keepInput(target, "reached", bytes, corpus));
  for (const { name } of readCorpus(target, corpus)) {
    if (name.startsWith("reached-") && !kept.has(`${target}/${name}`)) {
      Deno.removeSync(new URL(name, folderOf(target, corpus)));
    }
  }
}
