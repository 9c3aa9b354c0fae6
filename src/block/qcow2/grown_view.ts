/**
 * An image as it will be when its new size is in the header.
 *
 * @module
 */
import type { Completion } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { HeaderField, setUint64 } from "./header.ts";

/**
 * Shows another virtual size in the header than the file has, so that the engine can prepare the new part of a disk before anybody
 * else sees it. Whatever is written, the file keeps its size field. Closing leaves the file open.
 */
export class GrownView implements HostFile {
  readonly #file: HostFile;
  readonly #shown: Uint8Array;
  readonly #kept: Uint8Array;

  /** @param size The size to show; `kept` is the one in the file. Bytes. */
  constructor(file: HostFile, size: number, kept: number) {
    this.#file = file;
    this.#shown = bytesOf(size);
    this.#kept = bytesOf(kept);
  }

  get name(): string {
    return this.#file.name;
  }

  get kind(): HostFile["kind"] {
    return this.#file.kind;
  }

  get readOnly(): boolean {
    return this.#file.readOnly;
  }

  get size(): number {
    return this.#file.size;
  }

  get alignment(): number {
    return this.#file.alignment;
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    this.#file.read(offset, into, (error) => {
      if (error === undefined) overlay(offset, into, this.#shown);
      done(error);
    });
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    if (offset >= HeaderField.SIZE + 8) return this.#file.write(offset, from, done);
    const bytes = from.slice();
    overlay(offset, bytes, this.#kept);
    this.#file.write(offset, bytes, done);
  }

  sync(done: Completion): void {
    this.#file.sync(done);
  }

  discard(offset: number, length: number, done: Completion): void {
    this.#file.discard(offset, length, done);
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: Completion): void {
    this.#file.writeZeroes(offset, length, unmap, done);
  }

  truncate(size: number, done: Completion): void {
    this.#file.truncate(size, done);
  }

  close(): void {}
}

function bytesOf(size: number): Uint8Array {
  const bytes = new Uint8Array(8);
  setUint64(new DataView(bytes.buffer), 0, size);
  return bytes;
}

/** Puts the size field over what `bytes` have of it. */
function overlay(offset: number, bytes: Uint8Array, field: Uint8Array): void {
  for (let i = 0; i < field.length; i++) {
    const at = HeaderField.SIZE + i - offset;
    if (at >= 0 && at < bytes.length) bytes[at] = field[i];
  }
}
