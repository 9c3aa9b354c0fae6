/**
 * Files of the host that are read whole.
 *
 * @module
 */
import { closeFd, fileStatus, FileType, openFile, OpenFlags, readAt } from "../ffi/file.ts";

/**
 * Reads a regular file. A device or pipe is refused: it may have no end.
 *
 * @param what What the file is, for the message.
 * @param most Most bytes that make sense.
 * @throws {Error} naming the file, and why it cannot be read.
 */
export function readHostFile(what: string, path: string, most: number): Uint8Array {
  let fd: number | undefined;
  try {
    // Non-blocking, so that a pipe without a writer is found out rather than waited for.
    fd = openFile(path, OpenFlags.O_RDONLY | OpenFlags.O_NONBLOCK);
    const { mode, size } = fileStatus(fd);
    if ((mode & FileType.MASK) !== FileType.REGULAR) throw new Error("it is not a regular file");
    if (size > most) throw new Error(`it has ${size} bytes, and ${most} are the most`);
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, readAt(fd, 0, bytes));
  } catch (cause) {
    throw new Error(`Cannot read the ${what} ${path}`, { cause });
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}
