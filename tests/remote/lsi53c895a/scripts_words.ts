/**
 * SCRIPTS instructions as dwords, written as the manual's chapter 5 lays them out, for tests to assemble programs from.
 *
 * @module
 */

/** SCSI phases. */
export const DATA_OUT = 0;
export const DATA_IN = 1;
export const COMMAND = 2;
export const STATUS = 3;
export const MESSAGE_OUT = 6;
export const MESSAGE_IN = 7;

/** The flags of Set and Clear. */
export const ATN = 0x0008;
export const ACK = 0x0040;
export const TARGET = 0x0200;
export const CARRY = 0x0400;

/** Operators of read/write instructions. */
export const Alu = { MOVE: 0, SHL: 1, OR: 2, XOR: 3, AND: 4, SHR: 5, ADD: 6, ADC: 7 } as const;

/** A condition of a transfer control instruction, as its bits. */
export type Condition = number;

const u32 = (value: number) => value >>> 0;

/** MOVE count, address, WHEN phase. */
export function move(phase: number, count: number, address: number): number[] {
  return [u32(0x08000000 | (phase << 24) | count), u32(address)];
}

/** CHMOV: a chained move. */
export function chainedMove(phase: number, count: number, address: number): number[] {
  return [u32((phase << 24) | count), u32(address)];
}

/** MOVE count, PTR address, WHEN phase. */
export function moveIndirect(phase: number, count: number, pointer: number): number[] {
  return [u32(0x28000000 | (phase << 24) | count), u32(pointer)];
}

/** MOVE FROM offset, WHEN phase. */
export function moveTable(phase: number, offset: number): number[] {
  return [u32(0x18000000 | (phase << 24)), u32(offset & 0xffffff)];
}

/** CHMOV FROM offset, WHEN phase. */
export function chainedTable(phase: number, offset: number): number[] {
  return [u32(0x10000000 | (phase << 24)), u32(offset & 0xffffff)];
}

/** SELECT [ATN] id, alternative. */
export function select(id: number, alternative = 0, { attention = true, relative = false } = {}): number[] {
  const flags = (attention ? 0x01000000 : 0) | (relative ? 0x04000000 : 0);
  return [u32(0x40000000 | flags | (id << 16)), u32(alternative)];
}

/** SELECT [ATN] FROM offset, alternative. */
export function selectTable(offset: number, alternative = 0): number[] {
  return [u32(0x43000000 | (offset & 0xffffff)), u32(alternative)];
}

/** WAIT DISCONNECT. */
export const waitDisconnect = (): number[] => [0x48000000, 0];

/** WAIT RESELECT alternative. */
export function waitReselect(alternative: number, { relative = false } = {}): number[] {
  return [u32(0x50000000 | (relative ? 0x04000000 : 0)), u32(alternative)];
}

/** SET and CLEAR. */
export const set = (flags: number): number[] => [u32(0x58000000 | flags), 0];
export const clear = (flags: number): number[] => [u32(0x60000000 | flags), 0];

const registerBits = (register: number) => ((register & 0x7f) << 16) | (register & 0x80);

/** MOVE SFBR op data TO register. */
export function sfbrToRegister(register: number, operator: number, data = 0): number[] {
  return [u32(0x68000000 | (operator << 24) | registerBits(register) | (data << 8)), 0];
}

/** MOVE register op data TO SFBR. */
export function registerToSfbr(register: number, operator: number, data = 0): number[] {
  return [u32(0x70000000 | (operator << 24) | registerBits(register) | (data << 8)), 0];
}

/** MOVE register op data TO register; `useSfbr` takes SFBR for the data. */
export function modify(register: number, operator: number, data = 0, { useSfbr = false } = {}): number[] {
  return [u32(0x78000000 | (operator << 24) | registerBits(register) | (data << 8) | (useSfbr ? 0x800000 : 0)), 0];
}

/** IF/WHEN conditions. */
export const always: Condition = 0x00080000;
export const ifCarry = (wanted = true): Condition => 0x00200000 | (wanted ? always : 0);
export const ifPhase = (phase: number, wanted = true): Condition => (phase << 24) | 0x00020000 | (wanted ? always : 0);
export const whenPhase = (phase: number, wanted = true): Condition => ifPhase(phase, wanted) | 0x00010000;
export const ifData = (data: number, mask = 0, wanted = true): Condition =>
  0x00040000 | (mask << 8) | data | (wanted ? always : 0);

/** JUMP, CALL, RETURN, INT, INTFLY; relative ones count from the instruction that follows. */
export function jump(address: number, condition: Condition = always): number[] {
  return [u32(0x80000000 | condition), u32(address)];
}
export function jumpRelative(offset: number, condition: Condition = always): number[] {
  return [u32(0x80800000 | condition), u32(offset & 0xffffff)];
}
export function call(address: number, condition: Condition = always): number[] {
  return [u32(0x88000000 | condition), u32(address)];
}
export function callRelative(offset: number, condition: Condition = always): number[] {
  return [u32(0x88800000 | condition), u32(offset & 0xffffff)];
}
export function ret(condition: Condition = always): number[] {
  return [u32(0x90000000 | condition), 0];
}
export function int(vector: number, condition: Condition = always): number[] {
  return [u32(0x98000000 | condition), u32(vector)];
}
export function intfly(condition: Condition = always): number[] {
  return [u32(0x98100000 | condition), 0];
}
export const nop = (): number[] => [0x80000000, 0];

/** MOVE MEMORY [NO FLUSH] count, source, destination. */
export function moveMemory(count: number, source: number, destination: number, { noFlush = false } = {}): number[] {
  return [u32(0xc0000000 | (noFlush ? 0x01000000 : 0) | count), u32(source), u32(destination)];
}

/** LOAD and STORE [NO FLUSH] register, count, [DSAREL] address. */
export function load(register: number, count: number, address: number, { relative = false, noFlush = false } = {}) {
  const flags = (relative ? 0x10000000 : 0) | (noFlush ? 0x02000000 : 0);
  return [u32(0xe1000000 | flags | (register << 16) | count), u32(relative ? address & 0xffffff : address)];
}
export function store(register: number, count: number, address: number, { relative = false, noFlush = false } = {}) {
  const flags = (relative ? 0x10000000 : 0) | (noFlush ? 0x02000000 : 0);
  return [u32(0xe0000000 | flags | (register << 16) | count), u32(relative ? address & 0xffffff : address)];
}
