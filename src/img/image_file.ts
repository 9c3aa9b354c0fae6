/**
 * Image files as the tools look at them: opened without the files behind them.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../block/coroutine.ts";
import type { HostFile } from "../block/host_file.ts";
import { type HostFileOptions, openHostFile } from "../block/open_host_file.ts";
import { isQcow2, type Qcow2Header, readHeader } from "../block/qcow2/header.ts";
import type { Format } from "./command_table.ts";

/** Where the magic number and the version of a qcow2 image end. */
const PROBED = 8;

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
    const actual = format ?? (yield* probe(file));
    return actual === "raw" ? { file, format: actual } : { file, format: actual, header: yield* readHeader(file) };
  } catch (error) {
    file.close();
    throw error;
  }
}

function* probe(file: HostFile): Coroutine<Format> {
  const start = new Uint8Array(PROBED);
  yield* waitFor((done) => file.read(0, start, done));
  return isQcow2(start) ? "qcow2" : "raw";
}

/** Size of the disk that an image holds, in bytes. */
export function virtualSize(image: ImageFile): number {
  return image.format === "raw" ? Math.ceil(image.file.size / SECTOR) * SECTOR : image.header.size;
}

/** The path of a file that an image names: relative to the image's folder, as QEMU has it. */
export function besideImage(image: string, name: string): string {
  return name.startsWith("/") ? name : image.slice(0, image.lastIndexOf("/") + 1) + name;
}
