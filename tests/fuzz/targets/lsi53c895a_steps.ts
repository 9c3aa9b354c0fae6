/**
 * The steps of which an input of the LSI53C895A's target consists, and how to write them.
 *
 * @module
 */
import { u16, u32 } from "../engine/byte_writer.ts";

/** The first byte of a step. */
export const LsiStep = {
  WRITE_8: 0,
  WRITE_16: 1,
  WRITE_32: 2,
  READ: 3,
  LOAD: 4,
  RUN: 5,
  RUN_IN_RAM: 6,
  START: 7,
  GUEST_RAM: 8,
  CONFIG: 9,
  MAP: 10,
  TIME: 11,
  COMPLETE: 12,
  FAIL: 13,
  RESET: 14,
  KEEP: 15,
  RESTORE: 16,
  COUNT: 17,
} as const;

/** SCRIPTS instructions, each of its dwords. */
export type Program = readonly (readonly number[])[];

/** Steps as bytes. */
export const step = {
  write8: (register: number, value: number) => [LsiStep.WRITE_8, register, value],
  write32: (register: number, value: number) => [LsiStep.WRITE_32, register, ...u32(value)],
  /** Runs a program in SCRIPTS RAM; at most 63 dwords. */
  run: (program: Program) => [LsiStep.RUN, program.flat().length, ...program.flat().flatMap(u32)],
  /** The same in guest RAM, from 0x4000. */
  runInRam: (program: Program) => [LsiStep.RUN_IN_RAM, program.flat().length, ...program.flat().flatMap(u32)],
  /** Points DSP at guest RAM from 0x4000, which holds zeroes. */
  startInEmptyRam: () => [LsiStep.START, 2, 0],
  ram: (address: number, bytes: readonly number[]) => [LsiStep.GUEST_RAM, ...u16(address), bytes.length, ...bytes],
  /** Lets microseconds pass. */
  time: (microseconds: number) => [LsiStep.TIME, ...u16(microseconds * 10)],
  /** The disk completes the oldest of its requests. */
  complete: () => [LsiStep.COMPLETE, 0],
  failRead: () => [LsiStep.FAIL, 0, 0],
  reset: () => [LsiStep.RESET],
  keep: () => [LsiStep.KEEP],
  /** Takes over what was kept, unchanged. */
  restore: () => [LsiStep.RESTORE, 0],
} as const;
