/**
 * The images that are measured on: as large as asked for, fully allocated, and each 4 KiB block with its number at the start, so that a read
 * can be checked.
 *
 * @module
 */
import { runTool } from "../tests/support/tool.ts";

/** The granularity of the stamps, and of the random workloads. */
export const BLOCK = 4096;

/** How much is written at once. */
const PIECE = 4 * 1024 * 1024;

/** Image formats. */
export type Format = "raw" | "qcow2";

/** An image file. */
export interface Image {
  readonly format: Format;
  readonly path: string;
}

/** Puts a block's number into its first bytes. */
export function stampBlock(buffer: Uint8Array, block: number): void {
  buffer[0] = block;
  buffer[1] = block >>> 8;
  buffer[2] = block >>> 16;
  buffer[3] = block >>> 24;
}

/** @throws {Error} when `buffer` does not begin with the number of `block`. */
export function checkBlock(buffer: Uint8Array, block: number): void {
  const found = (buffer[0] | (buffer[1] << 8) | (buffer[2] << 16) | (buffer[3] << 24)) >>> 0;
  if (found !== block) throw new Error(`Block ${block} was read as block ${found}`);
}

/** Makes an image in each format in `folder`, of `size` bytes, and takes them out of the page cache. */
export function makeImages(folder: string, size: number, formats: readonly Format[]): Image[] {
  const raw = `${folder}/disk.raw`;
  writeRaw(raw, size);
  return formats.map((format) => {
    const path = format === "raw" ? raw : `${folder}/disk.${format}`;
    // -S 0: no block is left out because it is zero.
    if (format !== "raw") runTool("qemu-img", "convert", "-f", "raw", "-O", format, "-S", "0", raw, path);
    forget(path);
    return { format, path };
  });
}

function writeRaw(path: string, size: number): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  const piece = new Uint8Array(PIECE);
  for (let i = 0; i < piece.length; i++) piece[i] = i * 167 >> 5;
  for (let offset = 0; offset < size; offset += PIECE) {
    for (let at = 0; at < PIECE; at += BLOCK) stampBlock(piece.subarray(at), (offset + at) / BLOCK);
    for (let done = 0; done < PIECE;) done += file.writeSync(piece.subarray(done));
  }
  file.syncSync();
}

/** Takes a file out of the page cache: what O_DIRECT reads then comes from the disk, without a look at cached pages. */
export function forget(path: string): void {
  runTool("dd", `if=${path}`, "iflag=nocache", "count=0", "status=none");
}

/** Brings a file into the page cache. */
export function remember(path: string): void {
  runTool("dd", `if=${path}`, "of=/dev/null", "bs=4M", "status=none");
}
