/**
 * Opening all files of a drive for another process, one that cannot open any: the image, what it names inside, and what a snapshot needs.
 *
 * Of the images nothing is looked at but their headers. One that is not as it should be is no concern here: whoever serves it says so.
 *
 * @module
 */
import { birthTime, blockDeviceSize, closeFd, fileStatus, FileType, OpenFlags, readAt } from "../ffi/file.ts";
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

/** A file that is open for the process that serves a drive. */
export interface DriveFile extends GivenFile {
  /** Tells it from all other files, also from those that are made when it is gone. */
  readonly identity: string;
  /** Bytes of the disk, where the file is the drive's own image, and its header can be read. */
  readonly diskSize?: number;
}

/**
 * Opens the files of a drive, each under the path by which the process that serves the drive will ask for it.
 *
 * @throws {Error} naming the drive, a file that cannot be opened, and each image above that. Nothing stays open then.
 */
export function openDriveFiles({ id, file, format, readOnly, snapshot }: DriveFiles): DriveFile[] {
  const files: DriveFile[] = [];
  const writable = !readOnly && !snapshot;
  try {
    openLayer(files, { path: file, format }, writable);
    if (snapshot && !readOnly) files.push(driveFile(TEMPORARY_FOLDER, openTemporary()));
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

/**
 * The inode of a file that is deleted goes to the next that is made; the time at which that happened tells them apart. Nodes of a block device
 * come and go.
 */
function driveFile(path: string, fd: number, diskSize?: number): DriveFile {
  const born = isBlockDevice(fd) ? undefined : birthTime(fd);
  return { path, fd, identity: born === undefined ? identityOf(fd) : `${identityOf(fd)} of ${born}`, diskSize };
}

function isBlockDevice(fd: number): boolean {
  return (fileStatus(fd).mode & FileType.MASK) === FileType.BLOCK_DEVICE;
}

function openLayer(files: DriveFile[], { path, format, named }: Layer, writable: boolean): void {
  const access = writable ? OpenFlags.O_RDWR : OpenFlags.O_RDONLY;
  const fd = named ? openNamedPath(path, access) : openPath("open", path, access);
  const { header, diskSize } = contentsOf(fd, path, format);
  const file = driveFile(path, fd, named ? undefined : diskSize);
  const isAgain = files.some(({ identity }) => identity === file.identity);
  files.push(file);
  if (header === undefined || isAgain || files.length > LONGEST_CHAIN) return;
  const { dataFile, backingFile, backingFormat, incompatibleFeatures } = header;
  if (dataFile !== undefined && hasFeature(incompatibleFeatures, Incompatible.EXTERNAL_DATA_FILE)) {
    naming(path, "data file", dataFile, () => {
      const data = resolveImageName(dataFile, "");
      files.push(driveFile(data, openNamedPath(data, access)));
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

/** What an image is, as far as its header tells. */
interface Contents {
  /** Of a qcow2 image. */
  readonly header?: Qcow2Header;
  /** Bytes of the disk. */
  readonly diskSize?: number;
}

/** @returns nothing of what is no image that is served, or cannot be read. */
function contentsOf(fd: number, name: string, format: ImageFormat | undefined): Contents {
  try {
    const size = sizeOf(fd);
    if (format === "raw") return { diskSize: size };
    const start = new Uint8Array(PROBE_SIZE);
    const found = detectFormat(start.subarray(0, readAt(fd, 0, start)));
    if (found !== "qcow2") return found === "raw" && format === undefined ? { diskSize: size } : {};
    const bytes = new Uint8Array(LARGEST_CLUSTER);
    const header = parseHeader(bytes.subarray(0, readAt(fd, 0, bytes)), { name, size });
    return { header, diskSize: header.size };
  } catch {
    return {};
  }
}

function sizeOf(fd: number): number {
  return isBlockDevice(fd) ? blockDeviceSize(fd) : fileStatus(fd).size;
}
