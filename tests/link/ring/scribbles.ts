/**
 * What a hostile peer writes to a ring's memory.
 *
 * @module
 */
import { Header, Lane, laneAt, type RingMemory, Slot } from "../../../src/link/ring/layout.ts";

export const GEOMETRY = { lanes: 3, slots: 4 };
export const SIZES = [1, 2, 4] as const;

/** See {@linkcode randomNumbers}. */
type Random = (below: number) => number;

/** A word for somewhere: often one that means something there, or is next to it. */
function someWord(random: Random, { words }: RingMemory): number {
  switch (random(5)) {
    case 0:
      return random(0x10000) * 0x10000 + random(0x10000);
    case 1:
      return random(16) - 8;
    case 2:
      return words[random(words.length)];
    case 3:
      return words[laneAt(random(GEOMETRY.lanes), GEOMETRY) + Lane.TAIL] + random(7) - 3;
    default:
      return random(7) | (1 << random(4) << 8) | (random(9) << 16) | (random(50) === 0 ? 1 << 25 : 0);
  }
}

/** A place: any, or one that is looked at. */
function somePlace(random: Random, { words }: RingMemory): number {
  const lane = laneAt(random(GEOMETRY.lanes), GEOMETRY);
  switch (random(8)) {
    case 0:
      return random(words.length);
    case 1:
      return [Header.ORDER, Header.ASLEEP][random(2)];
    case 2:
      return lane + [Lane.HEAD, Lane.WAITING, Lane.WAKE_AT, Lane.TAIL, Lane.VALUE][random(5)];
    default:
      return lane + Lane.SLOTS + Slot.WORDS * random(GEOMETRY.slots) + random(5);
  }
}

/** Changes a few words. */
export function scribble(random: Random, memory: RingMemory): void {
  for (let i = random(3); i >= 0; i--) memory.words[somePlace(random, memory)] = someWord(random, memory);
}

/**
 * A request as a producer would make it, or nearly so.
 *
 * @param order The number of the request that is next.
 */
export function forge(random: Random, memory: RingMemory, order: number): void {
  const lane = laneAt(random(GEOMETRY.lanes), GEOMETRY);
  const tail = memory.words[lane + Lane.TAIL];
  const slot = lane + Lane.SLOTS + Slot.WORDS * (tail & (GEOMETRY.slots - 1));
  memory.words[slot + Slot.ACCESS] = random(30) === 0
    ? someWord(random, memory)
    : 1 + random(2) | SIZES[random(3)] << 8 | (random(20) === 0 ? 6 : 1) << 16;
  memory.words[slot + Slot.OFFSET] = random(30) === 0 ? someWord(random, memory) : random(0xfd);
  memory.words[slot + Slot.VALUE] = someWord(random, memory);
  memory.words[slot + Slot.ORDER] = order + (random(40) === 0 ? random(5) - 2 : 0);
  memory.words[slot + Slot.SEQUENCE] = tail;
}
