/**
 * Images and the images below them, as they are found by their names.
 *
 * @module
 */
import type { Coroutine } from "../block/coroutine.ts";
import type { EventLoop } from "../event_loop.ts";
import { closeFd, fileStatus, openFile, OpenFlags } from "../ffi/file.ts";
import type { Format } from "./command_table.ts";
import { knownFormat, openImageFile } from "./image_file.ts";
import { describeImage, type ImageInfo } from "./image_info.ts";

/** Longest chain of backing files that is followed. */
const LONGEST_CHAIN = 256;

/** How images are opened to be looked at. */
export interface LookOptions {
  readonly loop: EventLoop;
  readonly forceShare: boolean;
}

/**
 * Bytes that a file takes on its file system. Nothing is read, so no lock is needed. A data file is not looked at: its name is the word
 * of whoever made the image.
 */
function allocatedSize(path: string): number {
  const fd = openFile(path, OpenFlags.O_RDONLY | OpenFlags.O_NONBLOCK | OpenFlags.O_NOCTTY);
  try {
    return fileStatus(fd).allocated;
  } finally {
    closeFd(fd);
  }
}

/** Describes an image. @throws {Error} naming what is wrong with it. */
export function* lookAt(path: string, format: Format | undefined, options: LookOptions): Coroutine<ImageInfo> {
  const image = yield* openImageFile(path, format, { ...options, readOnly: true });
  try {
    return yield* describeImage(image, path, allocatedSize(path));
  } finally {
    image.file.close();
  }
}

/** Describes an image and the images below it. */
export function* lookAtChain(path: string, format: Format | undefined, options: LookOptions): Coroutine<ImageInfo[]> {
  const chain: ImageInfo[] = [yield* lookAt(path, format, options)];
  for (;;) {
    const top = chain[chain.length - 1];
    const next = top["full-backing-filename"];
    if (top["backing-filename"] === undefined) return chain;
    if (next === undefined) throw new Error(`Cannot open the backing file of ${top.filename}: its name is no path`);
    if (chain.some(({ filename }) => filename === next)) {
      throw new Error(`Cannot open ${path}: its chain of backing files leads back to ${next}`);
    }
    if (chain.length === LONGEST_CHAIN) {
      throw new Error(`Cannot open ${path}: its chain of backing files is longer than ${LONGEST_CHAIN}`);
    }
    chain.push(yield* lookAt(next, knownFormat(top.filename, top["backing-filename-format"]), options));
  }
}
