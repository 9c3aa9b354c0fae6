/**
 * A file whose writes fail from some time on, as on a disk that goes away.
 *
 * @module
 */
import type { Completion } from "../../../src/block/coroutine.ts";
import { MemoryFile } from "../../support/memory_file.ts";

/** Carries out a number of changes and refuses the others. */
export class FailingFile extends MemoryFile {
  #left: number;

  /** @param changes Writes, discards and truncations that succeed. */
  constructor(original: MemoryFile, changes: number) {
    super({ name: original.name, kind: original.kind, size: original.size });
    this.patch(0, original.bytes(0, original.size));
    this.#left = changes;
  }

  #fails(done: Completion): boolean {
    if (this.#left-- > 0) return false;
    done(new Error("the disk is gone"));
    return true;
  }

  override write(offset: number, from: Uint8Array, done: Completion): void {
    if (!this.#fails(done)) super.write(offset, from, done);
  }

  override discard(offset: number, length: number, done: Completion): void {
    if (!this.#fails(done)) super.discard(offset, length, done);
  }

  override writeZeroes(offset: number, length: number, unmap: boolean, done: Completion): void {
    if (!this.#fails(done)) super.writeZeroes(offset, length, unmap, done);
  }

  override truncate(size: number, done: Completion): void {
    if (!this.#fails(done)) super.truncate(size, done);
  }
}
