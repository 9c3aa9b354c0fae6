/**
 * Guest RAM between two guards: bytes that nobody may write, and that tell when somebody has.
 *
 * RAM is a part of a larger buffer, as it is a part of a larger mapping in a running process. What goes through the
 * region's own bytes cannot leave them; what takes the buffer behind them and an offset of its own can, and is found
 * here.
 *
 * @module
 */
import type { MemoryRegion } from "../../../src/device/guest_memory.ts";
import { Broken } from "./target.ts";

/** Bytes on either side. */
const GUARD_SIZE = 4096;

const CANARY = 0x25c3965a;

/** A region of guest RAM with its guards. */
export class GuardedRegion implements MemoryRegion {
  readonly gpa: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #guards: readonly Int32Array[];

  /** @param size In bytes, a multiple of 4. */
  constructor(gpa: number, size: number) {
    const buffer = new ArrayBuffer(size + 2 * GUARD_SIZE);
    this.gpa = gpa;
    this.bytes = new Uint8Array(buffer, GUARD_SIZE, size);
    this.#guards = [0, GUARD_SIZE + size].map((at) => new Int32Array(buffer, at, GUARD_SIZE / 4).fill(CANARY));
  }

  /** @throws {Error} when a guard has been written to. */
  check(): void {
    let damage = 0;
    for (const guard of this.#guards) {
      for (let i = 0; i < guard.length; i++) damage |= guard[i] ^ CANARY;
    }
    if (damage !== 0) throw new Broken(`memory beside guest RAM at 0x${this.gpa.toString(16)} was written to`);
  }
}
