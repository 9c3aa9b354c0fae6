/**
 * The directory of persistent bitmaps (qcow2 specification, "Bitmaps").
 *
 * Bitmaps are listed, not used: the first write to an image clears the autoclear bit that makes them valid, since nothing here keeps
 * them up to date.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { readBytes } from "./file_io.ts";
import { getUint64, type Qcow2Header } from "./header.ts";

/** A bitmap, in the words of QEMU's Qcow2BitmapInfo. */
export interface BitmapInfo {
  readonly name: string;
  /** Bytes of the disk that a bit stands for. */
  readonly granularity: number;
  readonly flags: readonly ("in-use" | "auto")[];
}

/** A bitmap and where its table is. */
export interface BitmapEntry {
  readonly info: BitmapInfo;
  /** Byte offset; not checked against anything. */
  readonly tableOffset: number;
  /** Entries of 8 bytes. */
  readonly tableSize: number;
}

/** Where the fields of a directory entry are; extra data and name follow. */
const Field = {
  TABLE_OFFSET: 0,
  TABLE_SIZE: 8,
  FLAGS: 12,
  TYPE: 16,
  GRANULARITY_BITS: 17,
  NAME_SIZE: 18,
  EXTRA_DATA_SIZE: 20,
} as const;

const FIXED_SIZE = 24;
const IN_USE = 1;
const AUTO = 2;

/** QEMU's limits (block/qcow2-bitmap.c): bitmaps, bytes of a name, and of the directory with the largest entries. */
const MOST_BITMAPS = 65535;
const LONGEST_NAME = 1023;
const LARGEST_DIRECTORY = MOST_BITMAPS * (FIXED_SIZE + LONGEST_NAME);
const GRANULARITY_BITS = { min: 9, max: 31 } as const;

/**
 * Lists the bitmaps of an image.
 *
 * @throws {Error} in one line that names the field when the directory is malformed.
 */
export function* readBitmapDirectory(file: HostFile, header: Qcow2Header): Coroutine<BitmapInfo[]> {
  return (yield* readBitmapEntries(file, header)).map(({ info }) => info);
}

/**
 * Reads the directory of bitmaps.
 *
 * @throws {Error} in one line that names the field when it is malformed.
 */
export function* readBitmapEntries(file: HostFile, { bitmaps }: Qcow2Header): Coroutine<BitmapEntry[]> {
  if (bitmaps === undefined || bitmaps.count === 0) return [];
  const { count, directoryOffset, directorySize } = bitmaps;
  const refuse = (problem: string): never => {
    throw new Error(`Cannot open ${file.name}: ${problem}`);
  };
  if (count > MOST_BITMAPS) refuse(`nb_bitmaps ${count} is beyond ${MOST_BITMAPS}`);
  const largest = Math.min(LARGEST_DIRECTORY, file.size - directoryOffset);
  if (directorySize > largest) {
    refuse(
      `bitmap_directory_size ${directorySize} at 0x${directoryOffset.toString(16)} is beyond the file or the limits`,
    );
  }
  const directory = new DataView((yield* readBytes(file, directoryOffset, directorySize)).buffer);
  const found: BitmapEntry[] = [];
  for (let at = 0; found.length < count;) {
    const here = `bitmap ${found.length}`;
    if (at + FIXED_SIZE > directorySize) refuse(`${here} is beyond bitmap_directory_size ${directorySize}`);
    const nameSize = directory.getUint16(at + Field.NAME_SIZE);
    const start = at + FIXED_SIZE + directory.getUint32(at + Field.EXTRA_DATA_SIZE);
    if (start + nameSize > directorySize) refuse(`${here} is beyond bitmap_directory_size ${directorySize}`);
    const bits = directory.getUint8(at + Field.GRANULARITY_BITS);
    if (bits < GRANULARITY_BITS.min || bits > GRANULARITY_BITS.max) {
      refuse(`${here}: granularity_bits ${bits} is not in ${GRANULARITY_BITS.min}..${GRANULARITY_BITS.max}`);
    }
    const type = directory.getUint8(at + Field.TYPE);
    if (type !== 1) refuse(`${here}: type ${type} is not 1`);
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, start, nameSize));
    found.push({
      info: { flags: flagNames(directory.getUint32(at + Field.FLAGS)), name, granularity: 2 ** bits },
      tableOffset: getUint64(directory, at + Field.TABLE_OFFSET),
      tableSize: directory.getUint32(at + Field.TABLE_SIZE),
    });
    at = Math.ceil((start + nameSize) / 8) * 8;
  }
  return found;
}

function flagNames(flags: number): BitmapInfo["flags"] {
  return [...((flags & IN_USE) !== 0 ? ["in-use"] as const : []), ...((flags & AUTO) !== 0 ? ["auto"] as const : [])];
}
