/**
 * Images that keep no zeroes: what a guest writes is looked at first (QEMU's `detect-zeroes=`).
 *
 * @module
 */
import type { BlockCompletion, BlockDevice } from "./block_device.ts";
import { isZero } from "./zeroes.ts";

/**
 * Has `device` zero the range of each write that is nothing but zeroes.
 *
 * @param unmap Whether the range may give its space back.
 */
export function detectZeroes(device: BlockDevice, unmap: boolean): BlockDevice {
  return {
    size: device.size,
    readOnly: device.readOnly,
    writeCache: device.writeCache,
    discardGranularity: device.discardGranularity,
    read: (offset, into, done) => device.read(offset, into, done),
    write(offset, from, fua, done) {
      if (from.length === 0 || !isZero(from)) return device.write(offset, from, fua, done);
      device.writeZeroes(offset, from.length, unmap, fua ? flushing(device, done) : done);
    },
    flush: (done) => device.flush(done),
    discard: (offset, length, done) => device.discard(offset, length, done),
    writeZeroes: (offset, length, unmap, done) => device.writeZeroes(offset, length, unmap, done),
    close: (done) => device.close(done),
  };
}

/** Zeroes have no FUA of their own. */
function flushing(device: BlockDevice, done: BlockCompletion): BlockCompletion {
  return (error) => error === undefined ? device.flush(done) : done(error);
}
