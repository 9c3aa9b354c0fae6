/**
 * The parts of the file of guest RAM that no proxy has said a device may use: nobody writes to them.
 *
 * @module
 */
import { Command, HEADER_SIZE } from "../../../src/link/message.ts";
import { invariant } from "../engine/target.ts";
import type { StreamPiece } from "./wire.ts";

const CANARY = 0x25c3965a;

/** In 32-bit words: regions begin and end with a page. */
const PAGE_WORDS = 1024;

/** Arrays of a SYNC_SYSMEM's payload: sizes and offsets, 64 bits each (see message.ts). */
const SIZES_AT = HEADER_SIZE + 64;
const OFFSETS_AT = HEADER_SIZE + 128;
const REGION_SLOTS = 8;

/** Watches the file during one input. */
export class UnmappedRam {
  readonly #words: Int32Array;
  /** By page: whether any message has named it, be it one that was refused. */
  readonly #named: Uint8Array;
  /** Whether it is not known what was said: messages came in pieces, or the file may have become a ring. */
  #unknown = false;

  /** @param words The whole file. */
  constructor(words: Int32Array) {
    this.#words = words.fill(CANARY);
    this.#named = new Uint8Array(words.length / PAGE_WORDS);
  }

  /** Takes note of what is sent to the device process. */
  sent({ bytes }: StreamPiece): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const whole = bytes.length >= HEADER_SIZE && bytes.length === HEADER_SIZE + view.getUint32(8, true);
    const command = whole ? view.getInt32(0, true) : undefined;
    if (!whole || command === Command.RING_SETUP) this.#unknown = true;
    if (command !== Command.SYNC_SYSMEM || bytes.length < OFFSETS_AT + 8 * REGION_SLOTS) return;
    for (let i = 0; i < REGION_SLOTS; i++) {
      const [size, offset] = [SIZES_AT, OFFSETS_AT].map((at) => Number(view.getBigUint64(at + 8 * i, true)));
      this.#named.fill(1, Math.floor(offset / (4 * PAGE_WORDS)), Math.ceil((offset + size) / (4 * PAGE_WORDS)));
    }
  }

  /** @throws {Broken} when something else has been written to. */
  check(): void {
    if (this.#unknown) return;
    let damage = 0;
    this.#named.forEach((named, page) => {
      if (named !== 0) return;
      const end = (page + 1) * PAGE_WORDS;
      for (let i = page * PAGE_WORDS; i < end; i++) damage |= this.#words[i] ^ CANARY;
    });
    invariant(damage === 0, "guest RAM that is not mapped was written to");
  }
}
