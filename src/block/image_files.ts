/**
 * Opening all files of a drive for another process, one that cannot open any: the image, what it names inside, and what a snapshot needs.
 *
 * Of the images nothing is looked at but their headers. One that is not as it should be is no concern here: whoever serves it says so.
 *
 * @module
 */
import { blockDeviceSize, closeFd, fileStatus, FileType, OpenFlags, readAt } from "../ffi/file.ts";
import type { DriveConfig, ImageFormat } from "../options/storage.ts";
import { folderOf, resolveImageName, showName } from "./image_names.ts";
import { identityOf } from "./open_host_file.ts";
import { type GivenFile, openNamedPath, openPath, openTemporary, TEMPORARY_FOLDER } from "./open_path.ts";
import { detectFormat, PROBE_SIZE } from "./probe.ts";
import { hasFeature, Incompatible, parseHeader, type Qcow2Header } from "./qcow2/header.ts";

/** Longest chain of files. */
const LONGEST_CHAIN = 200;

/** A qcow2 header lies within the first cluster, which is this long at most. */
const LARGEST_CLUSTER = 2 ** 21;

/** What of a drive says which files it has. */
export type DriveFiles = Pick<DriveConfig, "id" | "file" | "format" | "readOnly" | "snapshot">;

/**
 * Opens the files of a drive, each under the path by which the process that serves the drive will ask for it.
 *
 * @throws {Error} naming the drive, a file that cannot be opened, and each image above that. Nothing stays open then.
 */
export function openDriveFiles({ id, file, format, readOnly, snapshot }: DriveFiles): GivenFile[] {
  const files: GivenFile[] = [];
  const writable = !readOnly && !snapshot;
  try {
    openLayer(files, { path: file, format }, writable);
    if (snapshot && !readOnly) files.push({ path: TEMPORARY_FOLDER, fd: openTemporary() });
    return files;
  } catch (cause) {
    for (const { fd } of files) closeFd(fd);
    throw new Error(`drive ${id}`, { cause });
  }
}

/** An image of a chain. */
interface Layer {
  readonly path: string;
  readonly format: ImageFormat | undefined;
  /** Whether another image names it, and not the user. @default {false} */
  readonly named?: boolean;
}

function openLayer(files: GivenFile[], { path, format, named }: Layer, writable: boolean): void {
  const access = writable ? OpenFlags.O_RDWR : OpenFlags.O_RDONLY;
  const fd = named ? openNamedPath(path, access) : openPath("open", path, access);
  const isAgain = files.some((file) => identityOf(file.fd) === identityOf(fd));
  files.push({ path, fd });
  const header = headerOf(fd, path, format);
  if (header === undefined || isAgain || files.length > LONGEST_CHAIN) return;
  const { dataFile, backingFile, backingFormat, incompatibleFeatures } = header;
  if (dataFile !== undefined && hasFeature(incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE)) {
    naming(path, "data file", dataFile, () => {
      const data = resolveImageName(dataFile, "");
      files.push({ path: data, fd: openNamedPath(data, access) });
    });
  }
  if (backingFile === undefined) return;
  naming(path, "backing file", backingFile, () => {
    const served = backingFormat === "raw" || backingFormat === "qcow2" ? backingFormat : undefined;
    openLayer(files, { path: resolveImageName(backingFile, folderOf(path)), format: served, named: true }, false);
  });
}

/** @throws {Error} what `open` throws, with what it was about. */
function naming(path: string, what: string, name: string, open: () => void): void {
  try {
    open();
  } catch (cause) {
    throw new Error(`Cannot open ${path}: its ${what} ${showName(name)}`, { cause });
  }
}

/** @returns `undefined` for what is no qcow2 image, or none that can be read. */
function headerOf(fd: number, name: string, format: ImageFormat | undefined): Qcow2Header | undefined {
  if (format === "raw") return undefined;
  try {
    const start = new Uint8Array(PROBE_SIZE);
    if (detectFormat(start.subarray(0, readAt(fd, 0, start))) !== "qcow2") return undefined;
    const bytes = new Uint8Array(LARGEST_CLUSTER);
    return parseHeader(bytes.subarray(0, readAt(fd, 0, bytes)), { name, size: sizeOf(fd) });
  } catch {
    return undefined;
  }
}

function sizeOf(fd: number): number {
  const { mode, size } = fileStatus(fd);
  return (mode & FileType.MASK) === FileType.BLOCK_DEVICE ? blockDeviceSize(fd) : size;
}
