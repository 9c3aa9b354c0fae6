/**
 * Makes images. One that cannot be finished is removed again, if it was not there before.
 *
 * @module
 */
import { type Coroutine, waitFor } from "../block/coroutine.ts";
import type { HostFile } from "../block/host_file.ts";
import { createHostFile } from "../block/open_host_file.ts";
import { createQcow2 } from "../block/qcow2/create.ts";
import type { EventLoop } from "../event_loop.ts";
import { SyscallError } from "../ffi/errno.ts";
import { closeFd, openFile, OpenFlags, unlinkFile } from "../ffi/file.ts";
import type { CacheMode } from "../options/storage.ts";
import type { ImageFormat, Qcow2FormatOptions } from "./format_options.ts";

/** What a new image is to be. */
export interface NewImageOptions {
  readonly loop: EventLoop;
  /** @default {"writeback"} */
  readonly cache?: CacheMode;
  readonly image: ImageFormat;
  /** Size of the disk in bytes; a multiple of 512. */
  readonly size: number;
  /** Told how much of the work is done, 0 to 1. */
  readonly progress?: (fraction: number) => void;
}

/** Makes sure that a path has a file. @returns whether it is a new one. */
function reserve(path: string): boolean {
  try {
    closeFd(openFile(path, OpenFlags.O_RDWR | OpenFlags.O_CREAT | OpenFlags.O_EXCL, 0o644));
    return true;
  } catch (error) {
    // What else is wrong with the path is told when it is opened.
    if (error instanceof SyscallError) return false;
    throw error;
  }
}

/** The files of an image that is being made. */
export class NewImage {
  readonly #options: NewImageOptions;
  readonly #made: string[] = [];
  readonly #files: HostFile[] = [];

  constructor(options: NewImageOptions) {
    this.#options = options;
  }

  /**
   * Makes the image.
   *
   * @returns the file that it is in, open and locked, and the data file, if it has one.
   * @throws {Error} when it cannot be made; {@linkcode discard} is to be called then, too.
   */
  *make(path: string): Coroutine<{ file: HostFile; dataFile: HostFile | undefined }> {
    const { image, size, progress } = this.#options;
    const file = this.#create(path);
    if (image.format === "raw") {
      yield* this.#makeRaw(file, image.options.preallocation ?? "off");
      return { file, dataFile: undefined };
    }
    const { data_file: dataPath } = image.options;
    const dataFile = dataPath === undefined ? undefined : this.#create(dataPath);
    yield* createQcow2(file, { ...qcow2Options(image.options), size, dataHostFile: dataFile, progress });
    return { file, dataFile };
  }

  /** Closes what {@linkcode make} has opened. */
  close(): void {
    for (const file of this.#files) file.close();
  }

  /** Closes the files, and removes those that were not there before. */
  discard(): void {
    this.close();
    for (const path of this.#made.splice(0)) unlinkFile(path);
  }

  #create(path: string): HostFile {
    const { loop, cache } = this.#options;
    if (reserve(path)) this.#made.push(path);
    const file = createHostFile(path, { loop, cache });
    this.#files.push(file);
    return file;
  }

  *#makeRaw(file: HostFile, preallocation: "off" | "falloc" | "full"): Coroutine<void> {
    const { size, progress } = this.#options;
    if (file.kind === "device") {
      if (file.size < size) throw new Error(`${file.name} holds ${file.size} bytes; the image needs ${size}`);
      return;
    }
    yield* waitFor((done) => file.truncate(size, done));
    if (preallocation !== "off") yield* allocate(file, 0, size, preallocation, progress);
  }
}

/** What is allocated, or written, at once: so much that progress can be shown. */
const ALLOCATED_AT_ONCE = 256 << 20;
const WRITTEN_AT_ONCE = 1 << 20;

/** Allocates space for a range of a raw image, or writes zeroes to it. */
export function* allocate(
  file: HostFile,
  start: number,
  end: number,
  how: "falloc" | "full",
  progress?: (fraction: number) => void,
): Coroutine<void> {
  const step = how === "falloc" ? ALLOCATED_AT_ONCE : WRITTEN_AT_ONCE;
  const zeroes = new Uint8Array(how === "full" ? step : 0);
  for (let at = start; at < end; at += step) {
    const length = Math.min(step, end - at);
    yield* waitFor((done) => {
      if (how === "full") file.write(at, zeroes.subarray(0, length), done);
      else file.writeZeroes(at, length, false, done);
    });
    progress?.((at + length - start) / (end - start));
  }
}

function qcow2Options(options: Qcow2FormatOptions): Parameters<typeof createQcow2>[1] {
  return {
    size: 0,
    version: options.compat,
    clusterSize: options.cluster_size,
    refcountBits: options.refcount_bits,
    lazyRefcounts: options.lazy_refcounts,
    extendedL2: options.extended_l2,
    preallocation: options.preallocation,
    compressionType: options.compression_type,
    backingFile: options.backing_file,
    backingFormat: options.backing_fmt,
    dataFile: options.data_file,
    dataFileRaw: options.data_file_raw,
  };
}
