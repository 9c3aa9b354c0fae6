/**
 * What READ and WRITE have in common: chunks that are on their way at the same time, their errors, and their end.
 *
 * @module
 */
import type { BlockRange } from "./cdb.ts";
import { blockErrorSense } from "./block_errors.ts";
import { type Chunk, type ChunkUser, Stage } from "./chunk.ts";
import { MAX_CHUNK } from "./chunk_pool.ts";
import type { DiskModel } from "./disk_model.ts";
import type { DataDirection } from "./scsi.ts";
import type { Execution, Outcome, Task } from "./task.ts";

/** Most chunks that a transfer uses at a time. */
const MOST_CHUNKS = 4;

/**
 * How often {@linkcode Transfer.advance} runs inside itself. Once, so that an initiator that moves a chunk from within the offer finds the next
 * one offered when it comes back; not more often, so that the stack does not grow with the transfer.
 */
const DEPTH = 2;

/** A data phase with the image at its other end. */
export abstract class Transfer implements Execution, ChunkUser {
  protected readonly disk: DiskModel;
  protected readonly task: Task;
  /** The chunks in use, in the order of their blocks. */
  protected readonly chunks: Chunk[] = [];
  /** The next block that is in no chunk yet. */
  protected next: number;
  protected readonly end: number;
  /** The chunk that the initiator moves. */
  protected offered: Chunk | undefined;
  /** Block requests in flight. */
  protected inFlight = 0;
  /** A chunk has failed: no more are begun. */
  protected failing = false;
  readonly #direction: DataDirection;
  #depth = 0;
  #over = false;
  #cancelled = false;

  constructor(disk: DiskModel, task: Task, direction: DataDirection, { lba, blocks }: BlockRange) {
    this.disk = disk;
    this.task = task;
    this.next = lba;
    this.end = lba + blocks;
    this.#direction = direction;
  }

  /** Does one thing that can be done now. @returns Whether there may be another. */
  protected abstract step(): boolean;

  abstract moved(): void;

  begin(): void {
    this.task.expect(this.#direction, (this.end - this.next) * this.disk.blockSize);
    this.advance();
  }

  cancel(): boolean {
    this.#cancelled = true;
    if (this.inFlight > 0) return false;
    this.#release();
    return true;
  }

  requestEnded(chunk: Chunk, error: Error | undefined): void {
    this.inFlight--;
    if (this.#cancelled) {
      if (this.inFlight > 0) return;
      this.#release();
      return this.task.dropped();
    }
    chunk.stage = error === undefined ? Stage.DONE : this.#judge(chunk, error);
    this.advance();
  }

  /** Does what can be done now. */
  protected advance(): void {
    if (this.#depth === DEPTH) return; // those below go on
    this.#depth++;
    while (!this.#over && this.step());
    this.#depth--;
  }

  /** Takes a chunk for the next blocks. @returns Nothing when enough are in use. */
  protected take(): Chunk | undefined {
    const { disk, chunks, next } = this;
    const length = Math.min((this.end - next) * disk.blockSize, MAX_CHUNK);
    if (chunks.length >= MOST_CHUNKS) return undefined;
    const chunk = chunks.length === 0 ? disk.buffers.take(length) : disk.buffers.takeMore(length);
    if (chunk === undefined) return undefined;
    chunk.use(this, next, length);
    chunks.push(chunk);
    this.next += length / disk.blockSize;
    return chunk;
  }

  /** Takes a chunk for a flush. To be called while none is in use. */
  protected takeForFlush(): Chunk {
    const chunk = this.disk.buffers.take(0);
    chunk.use(this, 0, 0);
    chunk.operation = "flush";
    this.chunks.push(chunk);
    return chunk;
  }

  /** Starts a chunk's request. */
  protected submit(chunk: Chunk): void {
    const { drive, blockSize } = this.disk;
    chunk.stage = Stage.IN_FLIGHT;
    this.inFlight++;
    if (chunk.operation === "read") drive.read(chunk.lba * blockSize, chunk.bytes, chunk.completed);
    else if (chunk.operation === "write") drive.write(chunk.lba * blockSize, chunk.bytes, chunk.fua, chunk.completed);
    else drive.flush(chunk.completed);
  }

  /** Gives back a chunk that is not used any more. */
  protected give(chunk: Chunk): void {
    const place = this.chunks.indexOf(chunk);
    if (place === 0) this.chunks.shift();
    else this.chunks.splice(place, 1);
    this.#return(chunk);
  }

  /** Ends the command. Nothing is in flight. */
  protected finish(outcome: Outcome): void {
    this.#release();
    this.task.end(outcome);
  }

  #judge(chunk: Chunk, error: Error): Chunk["stage"] {
    const { errors } = this.disk;
    const action = errors.decide(chunk.operation, error);
    if (action === "ignore") {
      // What cannot be read is not to be what the buffer held before.
      if (chunk.operation === "read") chunk.bytes.fill(0);
      return Stage.DONE;
    }
    if (action === "stop") {
      chunk.held = errors.hold(() => {
        chunk.held = undefined;
        this.submit(chunk);
      });
      return Stage.HELD;
    }
    this.failing = true;
    chunk.sense = blockErrorSense(chunk.operation, error);
    if (chunk.operation !== "flush") chunk.sense = { ...chunk.sense, information: chunk.lba };
    return Stage.FAILED;
  }

  #release(): void {
    this.#over = true;
    this.offered = undefined;
    for (const chunk of this.chunks) this.#return(chunk);
    this.chunks.length = 0;
  }

  #return(chunk: Chunk): void {
    chunk.held?.cancel();
    chunk.held = chunk.user = undefined;
    this.disk.buffers.give(chunk);
  }
}
