/**
 * Finding out what BARs a device behind a link has, before any guest runs.
 *
 * @module
 */
import { type BarDescription, PciConfig } from "../device/config_space.ts";

/** Configuration accesses to the device. */
export interface ConfigAccess {
  /** Reads 4 bytes. */
  read(offset: number): number;
  /** Writes 4 bytes. */
  write(offset: number, value: number): void;
}

const BAR_COUNT = 6;
const SPACE_IO = 0x1;
const MEMORY_TYPE = 0x6;
const MEMORY_TYPE_64 = 0x4;

/**
 * Sizes the six BARs of a function: writes all-ones, reads back which bits stuck, and restores (PCI Local Bus Specification
 * 3.0, section 6.2.5.1, implementation note).
 *
 * @throws {RangeError} when a register answers what no BAR can: a size that is no power of two, or a 64-bit BAR, which neither
 * the link's protocol nor a stock peer of it knows.
 */
export function probeBars(config: ConfigAccess): BarDescription[] {
  const bars: BarDescription[] = [];
  for (let index = 0; index < BAR_COUNT; index++) {
    const offset = PciConfig.BAR0 + 4 * index;
    const before = config.read(offset);
    config.write(offset, 0xffffffff);
    const sized = config.read(offset);
    config.write(offset, before);
    const bar = describe(index, sized);
    if (bar !== undefined) bars.push(bar);
  }
  return bars;
}

function describe(index: number, sized: number): BarDescription | undefined {
  // A register that is not there reads as zero; one that answers all-ones (a dead function) has no size either.
  if (sized === 0 || sized === 0xffffffff) return undefined;
  const io = (sized & SPACE_IO) !== 0;
  if (!io && (sized & MEMORY_TYPE) === MEMORY_TYPE_64) {
    throw new RangeError(`BAR ${index} is a 64-bit one, which cannot be forwarded`);
  }
  // An I/O BAR may leave its upper 16 bits at zero: ports have no more (PCI 3.0, section 6.2.5.1).
  const mask = io ? (sized | 0xffff0000) & ~0x3 : sized & ~0xf;
  const size = (~mask >>> 0) + 1;
  const smallest = io ? 4 : 16;
  if (size < smallest || size > (io ? 0x10000 : 0x80000000) || (size & (size - 1)) !== 0) {
    throw new RangeError(`BAR ${index} answers 0x${sized.toString(16)} to sizing, which is no size`);
  }
  return { index, space: io ? "io" : "memory", size };
}
