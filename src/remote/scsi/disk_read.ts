/**
 * READ (SBC-3, sections 5.11 to 5.14).
 *
 * @module
 */
import { type BlockRange, blockRange } from "./cdb.ts";
import { type Chunk, Stage } from "./chunk.ts";
import type { DiskModel } from "./disk_model.ts";
import type { Command, Task } from "./task.ts";
import { Transfer } from "./transfer.ts";
import { checkTransfer, hasFua } from "./transfer_cdb.ts";

/** READ (6), (10), (12), (16). */
export function read(disk: DiskModel, task: Task): Command {
  const range = blockRange(task.cdb);
  const refusal = checkTransfer(disk, task.cdb, range);
  if (refusal !== undefined || range.blocks === 0) return refusal;
  // FUA: what is read is what the medium has, so a dirty cache goes there first.
  return new Reading(disk, task, range, hasFua(task.cdb) && disk.drive.writeCache && !disk.drive.readOnly);
}

/**
 * Reads ahead of the initiator, and hands on in order.
 *
 * Where the image answers at once, from the host's memory, nothing is gained by reading ahead: the data would only leave the processor's cache
 * before they are moved.
 */
class Reading extends Transfer {
  #flushFirst: boolean;
  #submitting = false;
  #answersAtOnce = false;

  constructor(disk: DiskModel, task: Task, range: BlockRange, flushFirst: boolean) {
    super(disk, task, "in", range);
    this.#flushFirst = flushFirst;
  }

  moved(): void {
    const chunk = this.offered;
    if (chunk === undefined) return;
    this.offered = undefined;
    this.give(chunk);
    this.advance();
  }

  override requestEnded(chunk: Chunk, error: Error | undefined): void {
    this.#answersAtOnce = this.#submitting;
    super.requestEnded(chunk, error);
  }

  protected step(): boolean {
    const first: Chunk | undefined = this.chunks[0];
    if (this.#flushFirst) return this.#flush();
    if (first?.operation === "flush") return this.#flushed(first);
    if (this.next < this.end && !this.failing && !(this.#answersAtOnce && first?.stage === Stage.DONE)) {
      const chunk = this.take();
      if (chunk !== undefined) return this.#read(chunk);
    }
    if (first === undefined) {
      this.finish(undefined);
    } else if (first.stage === Stage.FAILED) {
      if (this.inFlight === 0) this.finish(first.sense);
    } else if (first.stage === Stage.DONE && this.offered === undefined) {
      this.offered = first;
      this.task.offer(first.bytes);
      return true;
    }
    return false;
  }

  #read(chunk: Chunk): true {
    chunk.operation = "read";
    this.#submitting = true;
    this.submit(chunk);
    this.#submitting = false;
    return true;
  }

  #flush(): true {
    this.#flushFirst = false;
    this.submit(this.takeForFlush());
    return true;
  }

  #flushed(chunk: Chunk): boolean {
    if (chunk.stage === Stage.DONE) this.give(chunk);
    else if (chunk.stage === Stage.FAILED) this.finish(chunk.sense);
    return chunk.stage === Stage.DONE;
  }
}
