/**
 * WRITE (SBC-3, sections 5.33 to 5.36).
 *
 * @module
 */
import { type BlockRange, blockRange } from "./cdb.ts";
import { type Chunk, Stage } from "./chunk.ts";
import { MAX_CHUNK } from "./chunk_pool.ts";
import { type DiskModel, writesThrough } from "./disk_model.ts";
import type { Command, Task } from "./task.ts";
import { Transfer } from "./transfer.ts";
import { checkTransfer, hasFua } from "./transfer_cdb.ts";

/** WRITE (6), (10), (12), (16). */
export function write(disk: DiskModel, task: Task): Command {
  const range = blockRange(task.cdb);
  const refusal = checkTransfer(disk, task.cdb, range);
  if (refusal !== undefined || range.blocks === 0) return refusal;
  return new Writing(disk, task, range, hasFua(task.cdb));
}

/** Takes the next chunk from the initiator while those before it are written. */
class Writing extends Transfer {
  readonly #fua: boolean;
  readonly #single: boolean;
  /** Something was written that may still be in a volatile cache. */
  #volatile = false;

  constructor(disk: DiskModel, task: Task, range: BlockRange, fua: boolean) {
    super(disk, task, "out", range);
    this.#fua = fua;
    this.#single = range.blocks * disk.blockSize <= MAX_CHUNK;
  }

  moved(): void {
    const chunk = this.offered;
    if (chunk === undefined) return;
    this.offered = undefined;
    if (this.failing) this.give(chunk);
    else this.#write(chunk);
    this.advance();
  }

  protected step(): boolean {
    const done = this.chunks.find(({ stage }) => stage === Stage.DONE);
    if (done !== undefined) {
      this.give(done);
      return true;
    }
    if (this.failing) return this.#fail();
    if (this.next < this.end && this.offered === undefined) {
      const chunk = this.take();
      if (chunk !== undefined) return this.#ask(chunk);
    }
    return this.chunks.length === 0 && this.#finish();
  }

  #ask(chunk: Chunk): true {
    chunk.operation = "write";
    this.offered = chunk;
    this.task.offer(chunk.bytes);
    return true;
  }

  #write(chunk: Chunk): void {
    // One flush at the end is cheaper than FUA on each of several chunks.
    chunk.fua = this.#single && writesThrough(this.disk, this.#fua);
    this.#volatile ||= !chunk.fua;
    this.submit(chunk);
  }

  /** All is written. The write cache may have been switched off meanwhile: what the status says is true when it is sent. */
  #finish(): boolean {
    if (this.#volatile && writesThrough(this.disk, this.#fua)) {
      this.#volatile = false;
      this.submit(this.takeForFlush());
      return true;
    }
    this.finish(undefined);
    return false;
  }

  #fail(): false {
    const failed = this.chunks.find(({ stage }) => stage === Stage.FAILED);
    if (this.inFlight === 0 && this.offered === undefined) this.finish(failed?.sense);
    return false;
  }
}
