/**
 * Opening images with all that they need: the file, its format, the backing files behind it.
 *
 * @module
 */
import type { EventLoop } from "../event_loop.ts";
import { closeFd, openFile, OpenFlags } from "../ffi/file.ts";
import { type AioMode, CACHE_POLICIES, type CacheMode, type ImageFormat } from "../options/storage.ts";
import type { BlockDevice } from "./block_device.ts";
import { type Coroutine, runToEnd, waitFor } from "./coroutine.ts";
import type { HostFile } from "./host_file.ts";
import { folderOf, resolveImageName, showName } from "./image_names.ts";
import { identityOf, openHostFile } from "./open_host_file.ts";
import { findGivenFile, openTemporary } from "./open_path.ts";
import { probeFormat } from "./probe.ts";
import { guardProbedRaw } from "./probed_raw.ts";
import { createQcow2 } from "./qcow2/create.ts";
import { hasFeature, Incompatible, type Qcow2Header, readHeader } from "./qcow2/header.ts";
import { openQcow2 } from "./qcow2/qcow2.ts";
import { openRaw } from "./raw.ts";

/** How an image is opened. */
export interface ImageOptions {
  readonly loop: EventLoop;
  /** @default {told from the first bytes} */
  readonly format?: ImageFormat;
  /** @default {false} */
  readonly readOnly?: boolean;
  /** For the backing files as well. @default {"writeback"} */
  readonly cache?: CacheMode;
  /** @default the best that the host's kernel has */
  readonly aio?: AioMode;
  /** Whether what the guest unmaps is given back. @default {false} */
  readonly discard?: boolean;
  /** Whether what is written goes to a temporary file instead. @default {false} */
  readonly snapshot?: boolean;
  /** Reads beside a program that writes; only with `readOnly`. @default {false} */
  readonly forceShare?: boolean;
  /** Gets a line on what the user should know. @default {nobody} */
  readonly warn?: (line: string) => void;
}

/** An open image. */
export interface OpenedImage {
  /** Closing it closes every file of the chain. */
  readonly device: BlockDevice;
  readonly format: ImageFormat;
  /** How many backing files are behind it. */
  readonly backingDepth: number;
}

/** Longest chain of backing files. */
const LONGEST_CHAIN = 200;

/** The images that are being opened, the one that the user named first. */
type Chain = readonly { readonly path: string; readonly identity: string }[];

/**
 * Opens an image and its backing files. It takes turns of the loop, so it is not to be called from within one.
 *
 * @param path As the user gave it.
 * @throws {Error} naming the image, each overlay above it, and what is wrong. Nothing stays open then.
 */
export function openImage(path: string, options: ImageOptions): OpenedImage {
  return runToEnd(options.loop, openChain(path, options));
}

/** {@linkcode openImage} as a coroutine. */
export function* openChain(path: string, options: ImageOptions): Coroutine<OpenedImage> {
  if (!options.snapshot || options.readOnly) return yield* openLayer(path, options, []);
  const base = yield* openLayer(path, { ...options, readOnly: true, discard: false }, []);
  try {
    const device = yield* temporaryOverlay(path, base, options);
    return { device, format: "qcow2", backingDepth: base.backingDepth + 1 };
  } catch (error) {
    yield* waitFor((done) => base.device.close(done));
    throw error;
  }
}

/** Opens an image with those below it. */
function* openLayer(path: string, options: ImageOptions, above: Chain): Coroutine<OpenedImage> {
  if (above.length > LONGEST_CHAIN) throw new Error(`the chain of backing files is longer than ${LONGEST_CHAIN}`);
  const identity = identify(path);
  const again = identity === undefined ? undefined : above.find((image) => image.identity === identity);
  if (again !== undefined) throw new Error(`the chain of backing files leads back to ${again.path}`);
  const { loop, cache, aio, readOnly = false, forceShare } = options;
  const file = openHostFile(path, { loop, cache, aio, readOnly, forceShare, named: above.length > 0 });
  try {
    const format = options.format ?? (yield* probeFormat(file));
    if (format === "raw") return { device: rawDevice(file, options, above), format, backingDepth: 0 };
    return yield* openQcow2Layer(file, path, options, [...above, { path, identity: identity ?? "" }]);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** What tells a file from all others; `undefined` where it cannot be looked at, which opening it will say better. */
function identify(path: string): string | undefined {
  const given = findGivenFile(path);
  if (given !== undefined) return identityOf(given);
  let fd: number | undefined;
  try {
    fd = openFile(path, OpenFlags.O_PATH);
    return identityOf(fd);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}

function rawDevice(file: HostFile, options: ImageOptions, above: Chain): BlockDevice {
  const { writeCache } = CACHE_POLICIES[options.cache ?? "writeback"];
  const device = openRaw(file, { writeCache, discard: options.discard });
  if (options.format !== undefined || device.readOnly) return device;
  if (above.length === 0) {
    options.warn?.(
      `${file.name}: the format was not given and probing guessed raw; writes to its first sector that would ` +
        "make another format of it will fail (format=raw allows them)",
    );
  }
  return guardProbedRaw(device);
}

function* openQcow2Layer(file: HostFile, path: string, options: ImageOptions, chain: Chain): Coroutine<OpenedImage> {
  const header = yield* readHeader(file);
  const dataFile = openDataFile(header, path, options);
  let backing: OpenedImage | undefined;
  try {
    backing = yield* openBacking(header, path, options, chain);
    const device = yield* openQcow2(file, {
      readOnly: options.readOnly,
      writeCache: CACHE_POLICIES[options.cache ?? "writeback"].writeCache,
      discard: options.discard,
      backing: backing?.device,
      dataFile,
    });
    return { device, format: "qcow2", backingDepth: backing === undefined ? 0 : backing.backingDepth + 1 };
  } catch (error) {
    dataFile?.close();
    if (backing !== undefined) yield* waitFor((done) => backing!.device.close(done));
    throw error;
  }
}

/** The file that has the image's data, if they are not in the image. Its name counts from the working directory, as QEMU has it. */
function openDataFile(header: Qcow2Header, path: string, options: ImageOptions): HostFile | undefined {
  const { dataFile: name, incompatibleFeatures } = header;
  if (name === undefined || !hasFeature(incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE)) return undefined;
  const { loop, cache, aio, readOnly, forceShare } = options;
  try {
    return openHostFile(resolveImageName(name, ""), { loop, cache, aio, readOnly, forceShare, named: true });
  } catch (cause) {
    throw new Error(`Cannot open ${path}: its data file ${showName(name)}`, { cause });
  }
}

function* openBacking(
  { backingFile: name, backingFormat }: Qcow2Header,
  path: string,
  options: ImageOptions,
  chain: Chain,
): Coroutine<OpenedImage | undefined> {
  if (name === undefined) return undefined;
  try {
    const format = servedFormat(backingFormat);
    const backing = yield* openLayer(
      resolveImageName(name, folderOf(path)),
      { ...options, format, readOnly: true, discard: false, snapshot: false },
      chain,
    );
    if (format === undefined) {
      options.warn?.(
        `${path}: the format of its backing file ${showName(name)} is not given in it; probing says ${backing.format}`,
      );
    }
    return backing;
  } catch (cause) {
    throw new Error(`Cannot open ${path}: its backing file ${showName(name)}`, { cause });
  }
}

function servedFormat(name: string | undefined): ImageFormat | undefined {
  if (name === undefined || name === "raw" || name === "qcow2") return name;
  throw new Error(`its format is ${showName(name)}; splitvm serves raw and qcow2`);
}

/** An overlay that is gone when it is closed. What it holds need not survive anything, so it is never synchronised. */
function* temporaryOverlay(path: string, base: OpenedImage, { loop, discard }: ImageOptions): Coroutine<BlockDevice> {
  const fd = openTemporary();
  let file: HostFile | undefined;
  try {
    file = openHostFile(fd, { loop, cache: "unsafe" });
    // The name is for the header only: the image below is open already.
    yield* createQcow2(file, { size: base.device.size, backingFile: path, backingFormat: base.format });
    return yield* openQcow2(file, { discard, backing: base.device });
  } catch (cause) {
    if (file === undefined) closeFd(fd);
    else file.close();
    throw new Error(`Cannot make a temporary overlay of ${path}`, { cause });
  }
}
