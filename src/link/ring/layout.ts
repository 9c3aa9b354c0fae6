/**
 * The memory of a ring: how vCPU threads of a VMM and the thread of a device process hand accesses over without a system call.
 *
 * One memory file holds a header and a lane for each vCPU. All words are 32 bits, little-endian; offsets below are in words.
 * What one side writes often and the other reads lies 128 bytes from what the other writes: caches move lines of 64 bytes, and prefetch the
 * second line of a pair (Intel 64 and IA-32 Optimization Reference Manual, "Data Prefetching", spatial prefetcher).
 *
 * | offset | header field | written by |
 * | --- | --- | --- |
 * | 0 | magic | the VMM, once |
 * | 1 | version | the VMM, once |
 * | 2 | how many lanes | the VMM, once |
 * | 3 | how many slots a lane has | the VMM, once |
 * | 32 | order: how many requests have been numbered in all lanes together | producers |
 * | 64 | asleep: not zero while the consumer has to be rung for | both |
 * | 65 | closed: not zero once the VMM has given the device up | the VMM |
 * | 66 | rung at: when the doorbell was rung last, see {@linkcode doorbellTime} | producers |
 *
 * Lanes follow at {@linkcode laneAt}. Each is a queue of requests from one vCPU thread to the device process:
 *
 * | offset | lane field | written by |
 * | --- | --- | --- |
 * | 0 | head: how many requests have been published | the producer |
 * | 1 | waiting: not zero while the producer has to be woken | both |
 * | 2 | wake at: the tail from which on the producer is to be woken | the producer |
 * | 32 | tail: how many requests have been carried out; a futex | the consumer |
 * | 33 | value: what the last load returned | the consumer |
 * | 64 | the slots, 8 words each | the producer |
 *
 * Counts of requests start at zero and wrap around at 2^32; a difference of two is exact, since a lane holds far fewer. Request `n` lies
 * in slot `n` modulo the number of slots:
 *
 * | offset | slot field |
 * | --- | --- |
 * | 0 | sequence: `n` once the request is complete; before, `n` minus the number of slots |
 * | 1 | access: kind in bits 0 to 7, size in bytes in bits 8 to 15, space in bits 16 to 23, zeroes above |
 * | 2 | offset in the space |
 * | 3 | value to store |
 * | 4 | order: how many requests of all lanes come before this one |
 *
 * The sequence publishes a request, so that a consumer which has read it has the request's cache line; the head would cost it a
 * second one. In the same way the tail and a load's value come in one line.
 *
 * @module
 */
import { LinkError } from "../link_error.ts";

/** How many lanes a ring has, and how many requests a lane holds. */
export interface RingGeometry {
  /** 1 to {@linkcode MAX_LANES}. */
  readonly lanes: number;
  /** A power of two from 2 to {@linkcode MAX_SLOTS}. */
  readonly slots: number;
}

/** The width of an access in bytes. */
export type AccessSize = 1 | 2 | 4;

/** The memory of a ring as one process has it mapped. */
export interface RingMemory {
  readonly words: Int32Array;
  /** The address of the first word; 0 for memory that no other process has, where nobody sleeps. */
  readonly address: bigint;
}

/** What a request asks for. */
export const RequestKind = { LOAD: 1, STORE: 2, RESET: 3, FENCE: 4 } as const;

/** Address spaces of a PCI function: a BAR by its index, or configuration space. */
export const Space = { BAR0: 0, CONFIG: 6, COUNT: 7 } as const;

export const MAX_LANES = 256;
export const MAX_SLOTS = 1024;

/** "svrg", little-endian. */
export const RING_MAGIC = 0x67727673;
export const RING_VERSION = 1;

/** A time in nanoseconds of CLOCK_MONOTONIC, which all processes share, as RUNG_AT has it: in microseconds, modulo 2^32. */
export function doorbellTime(now: number): number {
  return Math.floor(now / 1000) | 0;
}

/** How long ago the doorbell was rung, in nanoseconds; below zero, or far too much, when a producer says what is not so. */
export function sinceDoorbell(rungAt: number, now: number): number {
  return 1000 * ((doorbellTime(now) - rungAt) | 0);
}

/** The bits of a value that an access of `size` bytes moves, unsigned. */
export function narrowed(value: number, size: AccessSize): number {
  return size === 4 ? value >>> 0 : size === 2 ? value & 0xffff : value & 0xff;
}

/** Words of the header. */
export const Header = {
  MAGIC: 0,
  VERSION: 1,
  LANES: 2,
  SLOTS: 3,
  ORDER: 32,
  ASLEEP: 64,
  CLOSED: 65,
  RUNG_AT: 66,
  WORDS: 96,
} as const;

/** Words of a lane. */
export const Lane = { HEAD: 0, WAITING: 1, WAKE_AT: 2, TAIL: 32, VALUE: 33, SLOTS: 64 } as const;

/** Words of a slot. */
export const Slot = { SEQUENCE: 0, ACCESS: 1, OFFSET: 2, VALUE: 3, ORDER: 4, WORDS: 8 } as const;

const PAGE_SIZE = 4096;

/** @throws {RangeError} for numbers of lanes or slots that no ring has. */
export function checkGeometry({ lanes, slots }: RingGeometry): void {
  if (!Number.isInteger(lanes) || lanes < 1 || lanes > MAX_LANES) {
    throw new RangeError(`A ring cannot have ${lanes} lanes`);
  }
  if (!Number.isInteger(slots) || slots < 2 || slots > MAX_SLOTS || (slots & (slots - 1)) !== 0) {
    throw new RangeError(`A lane cannot have ${slots} slots`);
  }
}

/** The first word of a lane. */
export function laneAt(lane: number, { slots }: RingGeometry): number {
  // A lane of 2 or 4 slots ends within a pair of lines; the next begins with its own.
  const words = Lane.SLOTS + Math.max(Slot.WORDS * slots, 32);
  return Header.WORDS + lane * words;
}

/** The size in bytes of a ring's memory, whole pages. */
export function ringSize(geometry: RingGeometry): number {
  checkGeometry(geometry);
  return Math.ceil(4 * laneAt(geometry.lanes, geometry) / PAGE_SIZE) * PAGE_SIZE;
}

/**
 * Makes an empty ring out of zeroed memory. The VMM does so, before its peer has it.
 *
 * @param first The number of each lane's first request; for tests, which cannot wait until numbers wrap around. @default {0}
 */
export function initializeRing(words: Int32Array, geometry: RingGeometry, first = 0): void {
  words[Header.MAGIC] = RING_MAGIC;
  words[Header.VERSION] = RING_VERSION;
  words[Header.LANES] = geometry.lanes;
  words[Header.SLOTS] = geometry.slots;
  for (let lane = 0; lane < geometry.lanes; lane++) {
    const base = laneAt(lane, geometry);
    words[base + Lane.HEAD] = words[base + Lane.TAIL] = first;
    for (let request = first - geometry.slots; request < first; request++) {
      words[base + Lane.SLOTS + Slot.WORDS * (request & (geometry.slots - 1))] = request;
    }
  }
  words[Header.ORDER] = Math.imul(first, geometry.lanes);
}

/** Says that the device is given up: what has been asked for and is not done is not to be done any more. */
export function markClosed(words: Int32Array): void {
  Atomics.store(words, Header.CLOSED, 1);
}

/**
 * Makes sure that memory which came from a peer is a ring of the geometry that was agreed upon. Nothing but the agreement is used later: the
 * peer can change the header at any time.
 *
 * @throws {LinkError} when it is not.
 */
export function checkHeader(words: Int32Array, geometry: RingGeometry): void {
  const expect = (what: string, index: number, expected: number) => {
    const found = Atomics.load(words, index);
    if (found !== expected) throw new LinkError(`ring: its ${what} is ${found >>> 0}, not ${expected}`);
  };
  expect("magic number", Header.MAGIC, RING_MAGIC);
  expect("version", Header.VERSION, RING_VERSION);
  expect("number of lanes", Header.LANES, geometry.lanes);
  expect("number of slots", Header.SLOTS, geometry.slots);
}
