/**
 * Raw images whose format was guessed: a guest must not make another format of them.
 *
 * A guest that writes, say, a qcow2 header to its first sector would have its disk taken for a qcow2 image at the next start, with a
 * backing file of the guest's choice: any file that the process can open.
 *
 * @module
 */
import { Errno, SyscallError } from "../ffi/errno.ts";
import type { BlockDevice } from "./block_device.ts";
import { detectFormat, PROBE_SIZE } from "./probe.ts";

/**
 * Lets through to `raw` what leaves it a raw image; other writes fail with EPERM, as in QEMU (block/raw-format.c). Zeroes are no
 * format's header, so they always pass. Writes of only a part of the first sector fail as well; disks have no smaller blocks.
 */
export function guardProbedRaw(raw: BlockDevice): BlockDevice {
  const guarded: BlockDevice = {
    size: raw.size,
    readOnly: raw.readOnly,
    writeCache: raw.writeCache,
    read: (offset, into, done) => raw.read(offset, into, done),
    write(offset, from, fua, done) {
      if (offset >= PROBE_SIZE || from.length === 0) return raw.write(offset, from, fua, done);
      // What is checked is what is written, even if the caller's memory changes meanwhile.
      const checked = from.slice();
      const format = offset === 0 && checked.length >= PROBE_SIZE
        ? detectFormat(checked.subarray(0, PROBE_SIZE))
        : undefined;
      if (format === "raw") return raw.write(offset, checked, fua, done);
      const what = format === undefined ? "a part of the first sector" : `a ${format} header to the first sector`;
      const why = "the image's format was not given, and guessed (format=raw allows it)";
      done(new Error(`Cannot write ${what}: ${why}`, { cause: new SyscallError("write", Errno.EPERM) }));
    },
    flush: (done) => raw.flush(done),
    discard: (offset, length, done) => raw.discard(offset, length, done),
    writeZeroes: (offset, length, unmap, done) => raw.writeZeroes(offset, length, unmap, done),
    close: (done) => raw.close(done),
  };
  if (raw.status === undefined) return guarded;
  return { ...guarded, status: (offset, length, done) => raw.status!(offset, length, done) };
}
