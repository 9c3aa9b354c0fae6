/**
 * Resource descriptors: what `_CRS` and `_PRS` are made of (ACPI Specification 6.5, section 6.4).
 *
 * @module
 */
import { buffer, concatenate, littleEndian, type Term } from "./aml.ts";

/** Tags of small (section 6.4.2) and large (6.4.3) descriptors. */
const Tag = {
  IRQ_NO_FLAGS: 0x22,
  IO_PORT: 0x47,
  END: 0x79,
  FIXED_MEMORY_32: 0x86,
  DWORD_ADDRESS_SPACE: 0x87,
  WORD_ADDRESS_SPACE: 0x88,
  EXTENDED_INTERRUPT: 0x89,
  QWORD_ADDRESS_SPACE: 0x8a,
} as const;

/** Resource types of address space descriptors (section 6.4.3.5). */
const Space = { MEMORY: 0, IO: 1, BUS_NUMBER: 2 } as const;

/** A bridge's window: produced, positively decoded, first and last address fixed. */
const WINDOW_FLAGS = 0x0c;
/** Type specific flags of I/O windows: the whole range, ISA aliases included (table 6.51). */
const IO_ENTIRE_RANGE = 0x03;
/** Type specific flags of memory windows (table 6.50). */
const MEMORY_READ_WRITE = 0x01;
const MEMORY_CACHEABLE = 0x02;

const DECODE_16 = 0x01;
/** A consumed, level-triggered, active-high, shared interrupt (table 6.56). */
const SHARED_LEVEL_HIGH = 0x09;

/** `ResourceTemplate`: descriptors, and an end tag whose checksum of zero means that there is none (section 6.4.2.9). */
export function resourceTemplate(...descriptors: readonly Term[]): Term {
  return buffer(concatenate(...descriptors, [Tag.END, 0]));
}

/** `IO (Decode16, …)`: `count` ports from `base`, 1 to 255. */
export function ioPorts(base: number, count: number): Term {
  return concatenate([Tag.IO_PORT, DECODE_16], littleEndian(base, 2), littleEndian(base, 2), [1, count]);
}

/** `IRQNoFlags`: one edge-triggered ISA interrupt. */
export function isaInterrupt(irq: number): Term {
  return concatenate([Tag.IRQ_NO_FLAGS], littleEndian(1 << irq, 2));
}

/** `Interrupt (ResourceConsumer, Level, ActiveHigh, Shared)`: GSIs to choose from, or the one in use. */
export function interrupts(...gsis: readonly number[]): Term {
  const numbers = gsis.flatMap((gsi) => littleEndian(gsi, 4));
  return concatenate(large(Tag.EXTENDED_INTERRUPT, [SHARED_LEVEL_HIGH, gsis.length, ...numbers]));
}

/** Where the interrupt number is in a template that begins with {@linkcode interrupts}: tag, length, flags and count precede. */
export const INTERRUPT_NUMBER_OFFSET = 5;

/** `Memory32Fixed (ReadWrite, …)`. */
export function fixedMemory(base: number, length: number): Term {
  const range = [...littleEndian(base, 4), ...littleEndian(length, 4)];
  return large(Tag.FIXED_MEMORY_32, [MEMORY_READ_WRITE, ...range]);
}

/** `WordBusNumber`: the buses behind a host bridge, both ends included. */
export function busNumbers(first: number, last: number): Term {
  return window(Tag.WORD_ADDRESS_SPACE, 2, Space.BUS_NUMBER, 0, first, last);
}

/** `WordIO`: a window of ports, both ends included. */
export function ioWindow(first: number, last: number): Term {
  return window(Tag.WORD_ADDRESS_SPACE, 2, Space.IO, IO_ENTIRE_RANGE, first, last);
}

/** `DWordMemory` or `QWordMemory`, as `last` needs: a window of memory, both ends included. */
export function memoryWindow(first: number, last: number, options: { cacheable?: boolean } = {}): Term {
  const flags = MEMORY_READ_WRITE | (options.cacheable ? MEMORY_CACHEABLE : 0);
  return last <= 0xffff_ffff
    ? window(Tag.DWORD_ADDRESS_SPACE, 4, Space.MEMORY, flags, first, last)
    : window(Tag.QWORD_ADDRESS_SPACE, 8, Space.MEMORY, flags, first, last);
}

/** Granularity, first, last, translation offset and length, each of `width` bytes (section 6.4.3.5). */
function window(tag: number, width: number, space: number, flags: number, first: number, last: number): Term {
  const numbers = [0, first, last, 0, last - first + 1].flatMap((value) => littleEndian(value, width));
  return large(tag, [space, WINDOW_FLAGS, flags, ...numbers]);
}

function large(tag: number, contents: readonly number[]): Term {
  return concatenate([tag], littleEndian(contents.length, 2), contents);
}
