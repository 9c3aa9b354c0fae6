/**
 * A part of a transfer on its way between image and initiator.
 *
 * @module
 */
import type { HeldRequest } from "./block_errors.ts";
import type { Sense } from "./sense.ts";

/** How far a chunk has come. */
export const Stage = {
  /** No block request is in flight, or will be. */
  IDLE: 0,
  /** A block request is in flight. */
  IN_FLIGHT: 1,
  /** It has ended as it should. */
  DONE: 2,
  /** It has failed, and is to be carried out again. */
  HELD: 3,
  /** It has failed, and the initiator is to know. */
  FAILED: 4,
} as const;

/** Who is told of the end of a chunk's request. */
export interface ChunkUser {
  requestEnded(chunk: Chunk, error: Error | undefined): void;
}

/** A buffer, and the block request that it is used for. Chunks are used again and again, so that a request allocates nothing. */
export class Chunk {
  readonly buffer: Uint8Array;
  /** Whether it counts as spare; for the pool. */
  extra = false;
  user: ChunkUser | undefined;
  operation: "read" | "write" | "flush" = "read";
  /** Of a write: whether the data are to be on stable storage at its end. */
  fua = false;
  /** The part of the buffer that is in use. */
  bytes: Uint8Array;
  /** First logical block. */
  lba = 0;
  stage: typeof Stage[keyof typeof Stage] = Stage.IDLE;
  /** Why it {@linkcode Stage.FAILED}. */
  sense: Sense | undefined;
  /** While it is {@linkcode Stage.HELD}. */
  held: HeldRequest | undefined;

  constructor(buffer: Uint8Array) {
    this.buffer = buffer;
    this.bytes = buffer;
  }

  /** Ends the block request in flight. */
  readonly completed = (error?: Error): void => {
    this.user?.requestEnded(this, error);
  };

  /** Begins a new use: `length` bytes of the buffer, for blocks from `lba` on. */
  use(user: ChunkUser, lba: number, length: number): void {
    this.user = user;
    this.lba = lba;
    // A view costs more than all the rest of this; most requests fill their buffer.
    if (this.bytes.length !== length) this.bytes = this.buffer.subarray(0, length);
    this.stage = Stage.IDLE;
    this.sense = undefined;
  }
}
