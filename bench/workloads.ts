/**
 * What is measured: operations on the disk, and how many of them are in flight.
 *
 * @module
 */
import { read10, SECTOR, synchronizeCache10, write10 } from "../tests/support/lsi_driver/scsi_disk.ts";
import type { Direction } from "../tests/support/lsi_driver/lsi_driver.ts";
import { BLOCK, checkBlock, stampBlock } from "./images.ts";
import type { Session } from "./session.ts";

/** How a figure is shown. */
export type Unit = "IOPS" | "MiB/s";

/** What a workload counts, and what it does until the time is up. */
export interface Workload {
  readonly name: string;
  readonly unit: Unit;
  /** Runs for at least `seconds`. @returns how many operations were done. */
  run(session: Session, seconds: number): number;
  /** The figure, in {@linkcode unit}, from operations and the seconds that they took. */
  figure(operations: number, seconds: number): number;
}

const MIB = 1024 * 1024;

/** One command of a workload. */
interface Step {
  readonly cdb: Uint8Array;
  readonly direction: Direction;
  readonly length: number;
}

/** Numbers that are the same in each run (xorshift32). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** What a workload does with each tag. */
interface Traffic {
  /** Prepares the next command of a tag; its data, if any, are in `buffer`. */
  next(buffer: Uint8Array): Step;
  /** Looks at what came. */
  check?(buffer: Uint8Array, step: Step): void;
}

/** Keeps `depth` commands in flight. */
function keepBusy({ driver }: Session, depth: number, seconds: number, traffic: Traffic): number {
  const steps: Step[] = [];
  let operations = 0;
  const queue = (tag: number) => {
    const step = steps[tag] = traffic.next(driver.buffer(tag));
    driver.queue(tag, step.cdb, step.direction, step.length);
  };
  for (let tag = 0; tag < depth; tag++) queue(tag);
  driver.kick();
  const end = performance.now() + 1000 * seconds;
  while (driver.inFlight > 0) {
    const more = performance.now() < end;
    let queued = false;
    driver.serve((tag, status) => {
      if (status !== 0) throw new Error(`a command ended with status ${status}`);
      operations++;
      traffic.check?.(driver.buffer(tag), steps[tag]);
      if (!more) return;
      queue(tag);
      queued = true;
    });
    if (queued) driver.kick();
  }
  return operations;
}

/** Which 4 KiB block a READ (10) or WRITE (10) begins with. */
function blockOf(cdb: Uint8Array): number {
  return new DataView(cdb.buffer, cdb.byteOffset).getUint32(2) / (BLOCK / SECTOR);
}

/** Random reads of 4 KiB. */
function randomReads({ blocks }: Session): Traffic {
  const random = randomNumbers(0x2545f491);
  return {
    next: () => ({ cdb: read10(random(blocks) * (BLOCK / SECTOR), BLOCK / SECTOR), direction: "in", length: BLOCK }),
    check: (buffer, { cdb }) => checkBlock(buffer, blockOf(cdb)),
  };
}

/** Random writes of 4 KiB, of what is there already. */
function randomWrites({ blocks }: Session): Traffic {
  const random = randomNumbers(0x9e3779b9);
  return {
    next(buffer) {
      const block = random(blocks);
      stampBlock(buffer, block);
      return { cdb: write10(block * (BLOCK / SECTOR), BLOCK / SECTOR), direction: "out", length: BLOCK };
    },
  };
}

/** Each of `traffic`'s commands, and a flush after it. */
function flushed(traffic: Traffic): Traffic {
  let flush = false;
  return {
    next(buffer) {
      flush = !flush;
      return flush ? traffic.next(buffer) : { cdb: synchronizeCache10(), direction: "none", length: 0 };
    },
  };
}

/** Reads of 1 MiB, one after the other and from the start again. */
function sequentialReads({ blocks }: Session): Traffic {
  let next = 0;
  return {
    next() {
      const block = next;
      next = (next + MIB / BLOCK) % (blocks - blocks % (MIB / BLOCK));
      return { cdb: read10(block * (BLOCK / SECTOR), MIB / SECTOR), direction: "in", length: MIB };
    },
    check(buffer, { cdb }) {
      checkBlock(buffer, blockOf(cdb));
      checkBlock(buffer.subarray(MIB - BLOCK), blockOf(cdb) + MIB / BLOCK - 1);
    },
  };
}

function traffic(name: string, depth: number, make: (session: Session) => Traffic): Workload {
  return {
    name: `${name}, depth ${depth}`,
    unit: "IOPS",
    run: (session, seconds) => keepBusy(session, depth, seconds, make(session)),
    figure: (operations, seconds) => operations / seconds,
  };
}

/** What is done on every image, in this order. */
export const DISK_WORKLOADS: readonly Workload[] = [
  traffic("4 KiB random read", 1, randomReads),
  traffic("4 KiB random read", 4, randomReads),
  traffic("4 KiB random read", 16, randomReads),
  { ...traffic("1 MiB sequential read", 1, sequentialReads), unit: "MiB/s" },
  traffic("4 KiB random write", 1, randomWrites),
  traffic("4 KiB random write", 16, randomWrites),
  {
    ...traffic("4 KiB random write and flush", 1, (session) => flushed(randomWrites(session))),
    figure: (operations, seconds) => operations / 2 / seconds,
  },
];

/** After how many commands V8 has compiled all that one executes, with room to spare. */
const WARM_COMMANDS = 3000;

/** In seconds, where a disk is too slow for as many. */
const LONGEST_WARM_UP = 1.5;

/** Runs a few workloads for long enough that the device process has compiled what it executes. */
export function warmUp(session: Session): void {
  for (const [depth, make] of [[1, randomReads], [4, randomReads], [1, randomWrites], [1, sequentialReads]] as const) {
    const end = performance.now() + 1000 * LONGEST_WARM_UP;
    const traffic = make(session);
    for (let done = 0; done < WARM_COMMANDS && performance.now() < end;) done += keepBusy(session, depth, 0.1, traffic);
  }
}
