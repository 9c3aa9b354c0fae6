/**
 * A file in memory, for tests of image formats. It is sparse: what was never written takes no memory.
 *
 * @module
 */
import type { Extent } from "../../src/block/block_device.ts";
import type { Completion } from "../../src/block/coroutine.ts";
import type { HostFile } from "../../src/block/host_file.ts";

/** A change of the file's contents: a write, zeroes, a discard, or the end that a truncation moved. */
export interface Change {
  readonly offset: number;
  readonly length: number;
}

const PAGE = 4096;

/** A {@linkcode HostFile} whose requests complete at once. */
export class MemoryFile implements HostFile {
  readonly name: string;
  readonly kind: "file" | "device";
  readonly readOnly: boolean;
  readonly alignment = 1;
  /** Every change since it was last emptied, in order. */
  readonly changes: Change[] = [];
  #size = 0;
  readonly #pages = new Map<number, Uint8Array<ArrayBuffer>>();

  constructor(
    { name = "image", kind = "file", readOnly = false, size = 0 }: Partial<
      Pick<HostFile, "name" | "kind" | "readOnly" | "size">
    > = {},
  ) {
    this.name = name;
    this.kind = kind;
    this.readOnly = readOnly;
    this.#size = size;
  }

  /** A file with the contents of one on the disk. */
  static load(path: string, options: { readonly name?: string; readonly readOnly?: boolean } = {}): MemoryFile {
    const bytes = Deno.readFileSync(path);
    const file = new MemoryFile({ ...options, size: bytes.length });
    for (let at = 0; at < bytes.length; at += PAGE) file.#put(at, bytes.subarray(at, at + PAGE), false);
    return file;
  }

  /** Writes the contents to the disk, with holes where they are zero. */
  save(path: string): void {
    using disk = Deno.openSync(path, { write: true, create: true, truncate: true });
    disk.truncateSync(this.#size);
    for (const [page, bytes] of this.#pages) {
      const end = Math.min(PAGE, this.#size - page * PAGE);
      if (end <= 0) continue;
      disk.seekSync(page * PAGE, Deno.SeekMode.Start);
      disk.writeSync(bytes.subarray(0, end));
    }
  }

  /** A file of its own with the same contents. */
  copy(options: { readonly name?: string; readonly readOnly?: boolean } = {}): MemoryFile {
    const copy = new MemoryFile({ name: this.name, kind: this.kind, size: this.#size, ...options });
    for (const [page, bytes] of this.#pages) copy.#pages.set(page, bytes.slice());
    return copy;
  }

  get size(): number {
    return this.#size;
  }

  /** Reads at once. */
  bytes(offset: number, length: number): Uint8Array<ArrayBuffer> {
    const into = new Uint8Array(length);
    this.#get(offset, into, false);
    return into;
  }

  /** @param clear Whether `into` may hold something already. */
  #get(offset: number, into: Uint8Array, clear: boolean): void {
    for (let at = 0; at < into.length;) {
      const within = (offset + at) % PAGE;
      const count = Math.min(PAGE - within, into.length - at);
      const page = this.#pages.get(Math.floor((offset + at) / PAGE));
      if (page !== undefined) into.set(page.subarray(within, within + count), at);
      else if (clear) into.fill(0, at, at + count);
      at += count;
    }
  }

  /** Writes at once, past {@linkcode changes}. */
  patch(offset: number, bytes: Uint8Array): void {
    this.#put(offset, bytes, false);
  }

  /** Whole pages of zeroes need no memory. */
  #put(offset: number, bytes: Uint8Array, record: boolean): void {
    if (record) this.changes.push({ offset, length: bytes.length });
    this.#size = Math.max(this.#size, offset + bytes.length);
    for (let at = 0; at < bytes.length;) {
      const index = Math.floor((offset + at) / PAGE);
      const within = (offset + at) % PAGE;
      const count = Math.min(PAGE - within, bytes.length - at);
      const part = bytes.subarray(at, at + count);
      let page = this.#pages.get(index);
      if (page === undefined && part.some((byte) => byte !== 0)) this.#pages.set(index, page = new Uint8Array(PAGE));
      page?.set(part, within);
      at += count;
    }
  }

  #zero(offset: number, length: number): void {
    this.changes.push({ offset, length });
    const end = offset + length;
    for (const [index, page] of this.#pages) {
      const start = index * PAGE;
      if (start + PAGE <= offset || start >= end) continue;
      page.fill(0, Math.max(0, offset - start), Math.min(PAGE, end - start));
    }
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    this.#get(offset, into, true);
    done();
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    if (this.readOnly) return done(new Error(`Cannot write to ${this.name}: it is open for reading only`));
    this.#put(offset, from, true);
    done();
  }

  sync(done: Completion): void {
    done();
  }

  discard(offset: number, length: number, done: Completion): void {
    this.#zero(offset, length);
    done();
  }

  writeZeroes(offset: number, length: number, _unmap: boolean, done: Completion): void {
    this.#zero(offset, Math.max(0, Math.min(length, this.#size - offset)));
    done();
  }

  truncate(size: number, done: Completion): void {
    if (size < this.#size) this.#zero(size, this.#size - size);
    this.#size = size;
    done();
  }

  /** Tells pages that were never written as zeroes. */
  status(offset: number, length: number, done: (error?: Error, extent?: Extent) => void): void {
    const inPage = Math.min(length, PAGE - offset % PAGE);
    done(undefined, { length: inPage, zero: !this.#pages.has(Math.floor(offset / PAGE)) });
  }

  close(): void {}
}
