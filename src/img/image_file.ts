/**
 * Image files as the tools look at them: opened without the files behind them.
 *
 * @module
 */
import type { Coroutine } from "../block/coroutine.ts";
import type { HostFile } from "../block/host_file.ts";
import { type HostFileOptions, openHostFile } from "../block/open_host_file.ts";
import { probeFormat } from "../block/probe.ts";
import { type Qcow2Header, readHeader } from "../block/qcow2/header.ts";
import { quote } from "../options/option_error.ts";
import { type Format, FORMATS } from "./command_table.ts";

const SECTOR = 512;

/** An open image file. */
export type ImageFile =
  | { readonly file: HostFile; readonly format: "raw" }
  | { readonly file: HostFile; readonly format: "qcow2"; readonly header: Qcow2Header };

/**
 * Opens an image file and reads its header.
 *
 * @param format Found out by the first bytes where it is `undefined`.
 * @throws {Error} naming the image and what is wrong with it; nothing stays open.
 */
export function* openImageFile(
  path: string,
  format: Format | undefined,
  options: HostFileOptions,
): Coroutine<ImageFile> {
  const file = openHostFile(path, options);
  try {
    const actual = format ?? (yield* probeFormat(file));
    return actual === "raw" ? { file, format: actual } : { file, format: actual, header: yield* readHeader(file) };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Size of the disk that an image holds, in bytes. */
export function virtualSize(image: ImageFile): number {
  return image.format === "raw" ? Math.ceil(image.file.size / SECTOR) * SECTOR : image.header.size;
}

/**
 * The format that an image names for its backing file; `undefined` where it names none.
 *
 * @throws {Error} for one that is not supported.
 */
export function knownFormat(image: string, name: string | undefined): Format | undefined {
  const format = FORMATS.find((format) => format === name);
  if (name === undefined || format !== undefined) return format;
  throw new Error(`Cannot open the backing file of ${image}: its format ${quote(name)} is not supported`);
}
