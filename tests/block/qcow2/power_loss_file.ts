/**
 * A file that completes requests later and in any order, fails when it is told to, and loses power.
 *
 * @module
 */
import type { Completion } from "../../../src/block/coroutine.ts";
import type { HostFile } from "../../../src/block/host_file.ts";
import { MemoryFile } from "../../support/memory_file.ts";

/** Numbers that look random and are the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Effect = (disk: MemoryFile) => void;

const SECTOR = 512;

/** A {@linkcode HostFile} over memory with a volatile cache. Nothing completes before {@linkcode turn} says so. */
export class PowerLossFile implements HostFile {
  readonly kind = "file";
  readonly readOnly = false;
  readonly alignment = 1;
  readonly name = "image";
  /** What the file holds as long as there is power. */
  readonly current: MemoryFile;
  /** What survives for certain. */
  readonly #stable: MemoryFile;
  /** Changes since the last sync, sector by sector. */
  #volatile: Effect[] = [];
  #pending: (() => void)[] = [];
  readonly #random: () => number;
  /** How often a write, discard or sync fails: 0 to 1. */
  failures = 0;

  constructor(image: MemoryFile, random: () => number) {
    this.current = image.copy();
    this.#stable = image.copy();
    this.#random = random;
  }

  get size(): number {
    return this.current.size;
  }

  get isIdle(): boolean {
    return this.#pending.length === 0;
  }

  /** Completes one of the requests in flight. */
  turn(): void {
    const [request] = this.#pending.splice(Math.floor(this.#random() * this.#pending.length), 1);
    request?.();
  }

  /** What a machine finds after power was lost now: any of the sectors that were not synced may be there. */
  crash(): MemoryFile {
    const survivor = this.#stable.copy();
    for (const effect of this.#volatile) if (this.#random() < 0.5) effect(survivor);
    return survivor;
  }

  read(offset: number, into: Uint8Array, done: Completion): void {
    this.#pending.push(() => this.current.read(offset, into, done));
  }

  write(offset: number, from: Uint8Array, done: Completion): void {
    // The parts of a request reach the disk in any order, and its beginning may before the whole fails.
    this.#change(done, () => {
      for (let at = 0; at < from.length;) {
        const place = offset + at;
        const part = from.slice(at, at + SECTOR - place % SECTOR);
        this.#apply((disk) => disk.patch(place, part));
        at += part.length;
      }
    });
  }

  sync(done: Completion): void {
    this.#change(done, () => {
      for (const effect of this.#volatile) effect(this.#stable);
      this.#volatile = [];
    });
  }

  discard(offset: number, length: number, done: Completion): void {
    this.#change(done, () => this.#apply((disk) => disk.discard(offset, length, () => {})));
  }

  writeZeroes(offset: number, length: number, unmap: boolean, done: Completion): void {
    this.#change(done, () => this.#apply((disk) => disk.writeZeroes(offset, length, unmap, () => {})));
  }

  truncate(size: number, done: Completion): void {
    this.#change(done, () => this.#apply((disk) => disk.truncate(size, () => {})));
  }

  close(): void {}

  #apply(effect: Effect): void {
    effect(this.current);
    this.#volatile.push(effect);
  }

  #change(done: Completion, effect: () => void): void {
    this.#pending.push(() => {
      if (this.#random() < this.failures) return done(new Error("EIO"));
      effect();
      done();
    });
  }
}
