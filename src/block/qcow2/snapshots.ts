/**
 * The table of internal snapshots (qcow2 specification, "Snapshots").
 *
 * Snapshots are listed and left alone: nothing here changes one. Their L1 tables matter to the rest, since whatever they lead to
 * is in use.
 *
 * @module
 */
import type { Coroutine } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { readBytes } from "./file_io.ts";
import { getUint64, Limits, type Qcow2Header } from "./header.ts";

/** An internal snapshot. Offsets and sizes are bytes. */
export interface Snapshot {
  /** Unique among the image's snapshots. */
  readonly id: string;
  readonly name: string;
  /** Size of the saved state of the virtual machine; 0 where only the disk was saved. */
  readonly vmStateSize: number;
  /** When it was taken: seconds and nanoseconds since 1970 (UTC). */
  readonly dateSeconds: number;
  readonly dateNanoseconds: number;
  /** How long the guest had been running. */
  readonly vmClockSeconds: number;
  readonly vmClockNanoseconds: number;
  /** Instructions that the guest had carried out; `undefined` where they were not counted. */
  readonly instructions: bigint | undefined;
  /** Virtual size of the disk when it was taken; `undefined` where the entry does not tell, as in version 2. */
  readonly diskSize: number | undefined;
  readonly l1TableOffset: number;
  /** Entries of its L1 table. */
  readonly l1Size: number;
}

/** The snapshots, in the table's order, and how long the table is. */
export interface SnapshotTable {
  readonly snapshots: readonly Snapshot[];
  /** Bytes. */
  readonly size: number;
}

/** Where the fields of a table entry are; ID, name and padding follow the extra data. */
const Field = {
  L1_TABLE_OFFSET: 0,
  L1_SIZE: 8,
  ID_SIZE: 12,
  NAME_SIZE: 14,
  DATE_SECONDS: 16,
  DATE_NANOSECONDS: 20,
  VM_CLOCK: 24,
  VM_STATE_SIZE_32: 32,
  EXTRA_DATA_SIZE: 36,
  VM_STATE_SIZE: 40,
  DISK_SIZE: 48,
  INSTRUCTIONS: 56,
} as const;

const FIXED_SIZE = 40;

/** QEMU's limits: of an entry's extra data, and of the table. */
const EXTRA_DATA_MAX = 1024;
const TABLE_MAX = 64 * 1024 * 1024;

/** The longest entry there can be. */
const ENTRY_MAX = FIXED_SIZE + EXTRA_DATA_MAX + 2 * 65535;

/** The table is read in pieces of this size. */
const WINDOW = 256 * 1024;

const decoder = new TextDecoder();

/**
 * Reads the snapshot table.
 *
 * The L1 tables are not looked at; see {@linkcode snapshotProblem}.
 *
 * @throws {Error} in one line that names the entry and the field when the table is malformed.
 */
export function* readSnapshotTable(file: HostFile, header: Qcow2Header): Coroutine<SnapshotTable> {
  const refuse = (problem: string): never => {
    throw new Error(`Cannot open ${file.name}: ${problem}`);
  };
  const { snapshotCount: count, snapshotsOffset: start } = header;
  if (count > Limits.MAX_SNAPSHOTS) refuse(`nb_snapshots ${count} is beyond ${Limits.MAX_SNAPSHOTS}`);
  const snapshots: Snapshot[] = [];
  const end = Math.min(file.size - start, TABLE_MAX);
  let window = new DataView(new ArrayBuffer(0));
  let windowStart = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_MAX > windowStart + window.byteLength) {
      windowStart = at;
      window = new DataView((yield* readBytes(file, start + at, WINDOW)).buffer);
    }
    const entry = new DataView(window.buffer, at - windowStart);
    const extra = entry.getUint32(Field.EXTRA_DATA_SIZE);
    if (extra > EXTRA_DATA_MAX) refuse(`snapshot ${i}: extra_data_size ${extra} is beyond ${EXTRA_DATA_MAX}`);
    const size = entrySize(entry, extra);
    if (at + size > end) {
      const what = end === TABLE_MAX ? `${TABLE_MAX} bytes` : "the end of the file";
      refuse(`the snapshot table at snapshots_offset 0x${start.toString(16)} reaches beyond ${what} in entry ${i}`);
    }
    snapshots.push(decodeSnapshot(entry, extra));
    at += Math.ceil(size / 8) * 8;
  }
  return { snapshots, size: at };
}

/** Bytes of an entry without the padding to a multiple of 8, which a table's last entry need not have. */
function entrySize(entry: DataView, extra: number): number {
  return FIXED_SIZE + extra + entry.getUint16(Field.ID_SIZE) + entry.getUint16(Field.NAME_SIZE);
}

function decodeSnapshot(entry: DataView, extra: number): Snapshot {
  const has = (field: number) => FIXED_SIZE + extra >= field + 8;
  const strings = FIXED_SIZE + extra;
  const idSize = entry.getUint16(Field.ID_SIZE);
  const clock = entry.getBigUint64(Field.VM_CLOCK);
  const instructions = has(Field.INSTRUCTIONS) ? entry.getBigUint64(Field.INSTRUCTIONS) : NOT_COUNTED;
  return {
    id: decodeString(entry, strings, idSize),
    name: decodeString(entry, strings + idSize, entry.getUint16(Field.NAME_SIZE)),
    vmStateSize: has(Field.VM_STATE_SIZE)
      ? getUint64(entry, Field.VM_STATE_SIZE)
      : entry.getUint32(Field.VM_STATE_SIZE_32),
    dateSeconds: entry.getUint32(Field.DATE_SECONDS),
    dateNanoseconds: entry.getUint32(Field.DATE_NANOSECONDS),
    vmClockSeconds: Number(clock / 1_000_000_000n),
    vmClockNanoseconds: Number(clock % 1_000_000_000n),
    instructions: instructions === NOT_COUNTED ? undefined : instructions,
    diskSize: has(Field.DISK_SIZE) ? getUint64(entry, Field.DISK_SIZE) : undefined,
    l1TableOffset: getUint64(entry, Field.L1_TABLE_OFFSET),
    l1Size: entry.getUint32(Field.L1_SIZE),
  };
}

const NOT_COUNTED = 2n ** 64n - 1n;

function decodeString(entry: DataView, at: number, length: number): string {
  return decoder.decode(new Uint8Array(entry.buffer, entry.byteOffset + at, length));
}

/**
 * What is wrong with where a snapshot's L1 table is said to be.
 *
 * @returns `undefined` where it lies in the file, on a cluster boundary.
 */
export function snapshotProblem(snapshot: Snapshot, header: Qcow2Header, fileSize: number): string | undefined {
  const { l1TableOffset: offset, l1Size } = snapshot;
  const cluster = 2 ** header.clusterBits;
  if (l1Size * 8 > Limits.MAX_L1_TABLE) return `l1_size ${l1Size} is beyond ${Limits.MAX_L1_TABLE / 8}`;
  if (l1Size === 0) return undefined;
  const place = `l1_table_offset 0x${offset.toString(16)}`;
  if (offset % cluster !== 0) return `${place} is not a multiple of the cluster size ${cluster}`;
  if (offset === 0) return `${place} is in the header`;
  if (offset + l1Size * 8 > Math.ceil(fileSize / cluster) * cluster) {
    return `${place}: ${l1Size} entries there reach beyond the end of the file`;
  }
  return undefined;
}
