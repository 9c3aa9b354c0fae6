/**
 * Tables of a qcow2 image in memory: L2 tables and refcount blocks, a cluster each.
 *
 * Tables that have changed stay until a commit has written them; the others make room for each other, least recently used
 * first.
 *
 * @module
 */
import { type Completion, type Coroutine, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";

/** Tables that are kept, whatever their size. */
const LEAST_TABLES = 8;
const MOST_TABLES = 8192;

/** A table in memory. */
export interface Table {
  /** Byte offset in the image. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Whether it differs from what is in the image. */
  dirty: boolean;
}

interface Loading {
  readonly waiting: Completion[];
  /** Whether the cluster has been given to another use meanwhile. */
  dropped: boolean;
}

/** A cache of tables of one size. */
export class TableCache {
  readonly #file: HostFile;
  readonly #tableSize: number;
  readonly #capacity: number;
  /** In order of their last use. */
  readonly #tables = new Map<number, Table>();
  readonly #dirty = new Set<Table>();
  readonly #loading = new Map<number, Loading>();
  #latest: Table | undefined;

  /**
   * @param tableSize Bytes.
   * @param memory Bytes of tables that are kept, if no more of them have changed.
   */
  constructor(file: HostFile, tableSize: number, memory: number) {
    this.#file = file;
    this.#tableSize = tableSize;
    this.#capacity = Math.min(MOST_TABLES, Math.max(LEAST_TABLES, Math.floor(memory / tableSize)));
  }

  /** Whether so many tables have changed that a commit is due. */
  get isCrowded(): boolean {
    return this.#dirty.size * 2 >= this.#capacity;
  }

  get hasDirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** The tables that have changed, now. */
  dirtyTables(): Table[] {
    return [...this.#dirty];
  }

  /** A table that is in memory. */
  get(offset: number): Table | undefined {
    if (this.#latest?.offset === offset) return this.#latest;
    const table = this.#tables.get(offset);
    if (table === undefined) return undefined;
    this.#tables.delete(offset);
    this.#tables.set(offset, table);
    this.#latest = table;
    return table;
  }

  /** Reads a table that is not in memory yet, or finds that it is. */
  *load(offset: number): Coroutine<Table> {
    for (;;) {
      const present = this.get(offset);
      if (present !== undefined) return present;
      const loading = this.#loading.get(offset);
      if (loading === undefined) return yield* this.#read(offset);
      yield* waitFor((done) => loading.waiting.push(done));
    }
  }

  *#read(offset: number): Coroutine<Table> {
    const loading: Loading = { waiting: [], dropped: false };
    this.#loading.set(offset, loading);
    const table = this.#make(offset);
    let failure: Error | undefined;
    try {
      yield* waitFor((done) => this.#file.read(offset, table.bytes, done));
    } catch (error) {
      failure = error as Error;
    }
    if (this.#loading.get(offset) === loading) this.#loading.delete(offset);
    const present = this.#tables.get(offset);
    if (failure === undefined && !loading.dropped && present === undefined) this.#insert(table);
    for (const done of loading.waiting) done(failure);
    if (failure !== undefined) throw failure;
    return present ?? table;
  }

  /** A new table, zeroed, that is to be written. */
  create(offset: number): Table {
    this.drop(offset);
    const table = this.#make(offset);
    this.setDirty(table);
    return table;
  }

  #make(offset: number): Table {
    const bytes = new Uint8Array(this.#tableSize);
    return { offset, bytes, view: new DataView(bytes.buffer), dirty: false };
  }

  /** Says that a table was changed. */
  setDirty(table: Table): void {
    if (table.dirty) return;
    table.dirty = true;
    this.#dirty.add(table);
    // It may have made room for others while it was looked at.
    this.#insert(table);
  }

  /** Says that a table is in the image as it is here. */
  setClean(table: Table): void {
    table.dirty = false;
    this.#dirty.delete(table);
  }

  /** Forgets the table at an offset: the cluster is none any more. */
  drop(offset: number): void {
    const table = this.#tables.get(offset);
    if (table !== undefined) {
      this.setClean(table);
      this.#tables.delete(offset);
    }
    const loading = this.#loading.get(offset);
    if (loading !== undefined) {
      loading.dropped = true;
      this.#loading.delete(offset);
    }
    if (this.#latest?.offset === offset) this.#latest = undefined;
  }

  #insert(table: Table): void {
    this.#tables.delete(table.offset);
    this.#tables.set(table.offset, table);
    this.#latest = table;
    if (this.#tables.size <= this.#capacity) return;
    for (const [offset, { dirty }] of this.#tables) {
      if (dirty || offset === table.offset) continue;
      this.#tables.delete(offset);
      if (this.#tables.size <= this.#capacity) return;
    }
  }
}
