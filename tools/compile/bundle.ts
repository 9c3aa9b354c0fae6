/**
 * Bundles a program with all that it imports into one JavaScript module.
 *
 * @module
 */

/**
 * Replaces, in the comments and keys that name a bundle's files, the path of this machine's package cache by `npm:`, so
 * that the bundle is the same on every machine. The cache keeps a file at `npm/<registry>/<package>/<version>/<path>`.
 */
export function hideCachePath(text: string): string {
  return text.replaceAll(
    /(?<=^(?:\/\/ | *["']))[^"'\n]*\/npm\/[^/"'\n]+\/(?=(?:@[^/"'\n]+\/)?[^/"'\n]+\/\d[^/"'\n]*\/)/gm,
    "npm:",
  );
}

/**
 * The bundle of a program. It is made small, since reading a program takes the largest part of the time in which it
 * starts. Names are kept, so that stack traces can be read.
 *
 * `Deno.bundle` is esbuild at work, which Deno fetches from npm unless it has it already. Import maps are those of the
 * calling process, and file names are relative to its working directory.
 *
 * @param entry Path of the main module.
 * @throws {Error} with esbuild's messages, if the program cannot be bundled.
 */
export async function bundle(entry: string): Promise<string> {
  const result = await Deno.bundle({
    entrypoints: [entry],
    format: "esm",
    keepNames: true,
    minify: true,
    packages: "bundle",
    platform: "deno",
    write: false,
  });
  if (!result.success) throw new Error(`Cannot bundle ${entry}: ${result.errors.map(describe).join("; ")}`);
  const [file, ...others] = result.outputFiles ?? [];
  if (!file || others.length > 0) throw new Error(`The bundle of ${entry} is not one file`);
  return hideCachePath(file.text());
}

/**
 * A message of the bundler with the place that it is about, which counts from 0. Its further lines are a stack trace.
 */
function describe({ text, location }: Deno.bundle.Message): string {
  const summary = text.split("\n")[0].replace(/\.$/, "");
  return location ? `${location.file}:${location.line + 1}:${location.column + 1}: ${summary}` : summary;
}
