/**
 * qcow2 images that somebody has made up: an input is which image to begin with, what to change in it, and what the
 * guest and `splitvm img` then do with it.
 *
 * The tests of `tests/block/qcow2` spoil each field by itself, and compare with qemu-img; here several are spoilt
 * together.
 *
 * @module
 */
import type { BlockDevice } from "../../../src/block/block_device.ts";
import type { Completion, Coroutine } from "../../../src/block/coroutine.ts";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { repairQcow2 } from "../../../src/block/qcow2/repair.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { corpus, type CorpusImage } from "../../block/qcow2/corpus.ts";
import { sitesOf } from "../../block/qcow2/mutations.ts";
import { now } from "../../block/qcow2/workload.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input, u16 } from "../engine/byte_writer.ts";
import type { Features } from "../engine/features.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";

const Step = { FIELD: 0, BYTES: 1, READ: 2, WRITE: 3, ZERO: 4, DISCARD: 5, FLUSH: 6, COMPRESS: 7, COUNT: 8 } as const;
/** What is done with the image as a whole, after the steps that spoil it. */
const Use = { DISK: 0, CHECK: 1, REPAIR: 2, REPAIR_LEAKS: 3, COUNT: 4 } as const;

const Kind = { OPENED: 0, REFUSED: 1, STEP: 2, CHECKED: 3 } as const;

/** Requests to a file that no work on these small images needs. */
const MOST_REQUESTS = 20_000;
/** The disks of the corpus have 48 KiB; what claims to be much larger is not worked on. */
const LARGEST_DISK = 2 ** 20;

/** Defects of the program, not of an image. */
const DEFECTS = [TypeError, RangeError, ReferenceError, SyntaxError];

/** A file that does not go on for ever. */
class BoundedFile extends MemoryFile {
  #left = MOST_REQUESTS;

  static of(original: MemoryFile): BoundedFile {
    const file = new BoundedFile({ name: original.name, size: original.size });
    file.patch(0, original.bytes(0, original.size));
    return file;
  }

  override read(offset: number, into: Uint8Array, done: Completion): void {
    this.#spend();
    super.read(offset, into, done);
  }

  override write(offset: number, from: Uint8Array, done: Completion): void {
    this.#spend();
    super.write(offset, from, done);
  }

  #spend(): void {
    invariant(this.#left-- > 0, "an image is read and written for ever");
  }
}

/** An image, and where its fields are: 32 bits each that an input can name. */
interface Original extends CorpusImage {
  readonly sites: readonly { readonly offset: number; readonly bytes: number }[];
}

class Run {
  readonly #input: ByteReader;
  readonly #features: Features;
  readonly #original: Original;
  readonly #file: BoundedFile;
  readonly #use: number;

  constructor(bytes: Uint8Array, features: Features, originals: readonly Original[]) {
    this.#input = new ByteReader(bytes);
    this.#features = features;
    this.#original = this.#input.pick(originals);
    this.#use = this.#input.u8() % Use.COUNT;
    this.#file = BoundedFile.of(this.#original.file);
    for (let left = this.#input.u8() & 0xf; left > 0; left--) this.#spoil(this.#input.u8() % 2);
  }

  perform(): void {
    if (this.#use === Use.CHECK) return this.#check(checkQcow2(this.#file));
    if (this.#use === Use.REPAIR) this.#check(repairQcow2(this.#file, "all"));
    if (this.#use === Use.REPAIR_LEAKS) this.#check(repairQcow2(this.#file, "leaks"));
    const disk = this.#open();
    if (disk === undefined || disk.size > LARGEST_DISK) return;
    while (!this.#input.done) this.#work(disk, this.#input.u8() % Step.COUNT);
    this.#attempt(Step.COUNT, (done) => disk.close(done));
  }

  #spoil(how: number): void {
    if (how === Step.FIELD) {
      const { offset, bytes } = this.#original.sites[this.#input.u16() % this.#original.sites.length];
      this.#file.patch(offset, this.#input.bytes(bytes));
    } else {
      const at = this.#input.u16() % this.#file.size;
      this.#file.patch(at, this.#input.bytes(1 + (this.#input.u8() & 7)));
    }
  }

  #check(body: Coroutine<{ readonly corruptions?: number; readonly leaks?: number }>): void {
    try {
      now(body);
      this.#features.hit(Kind.CHECKED, this.#use);
    } catch (error) {
      this.#refused(Kind.CHECKED, error);
    }
  }

  #open(): BlockDevice | undefined {
    const { dataFile, backing } = this.#original;
    try {
      const disk = now(
        openQcow2(this.#file, { discard: true, dataFile: dataFile?.copy(), backing: backing && openRaw(backing) }),
      );
      this.#features.hit(Kind.OPENED, 32 - Math.clz32(disk.size), disk.discardGranularity);
      return disk;
    } catch (error) {
      this.#refused(Kind.REFUSED, error);
      return undefined;
    }
  }

  #work(disk: BlockDevice, step: number): void {
    const at = this.#input.u16() * 512;
    const grain = step === Step.COMPRESS ? disk.discardGranularity ?? 512 : 512;
    const offset = Math.floor(at % Math.max(disk.size, 1) / grain) * grain;
    const length = Math.min(disk.size - offset, step === Step.COMPRESS ? grain : 512 * (1 + (this.#input.u8() & 0x1f)));
    if (length <= 0) return;
    this.#attempt(step, (done) => {
      if (step === Step.WRITE) disk.write(offset, new Uint8Array(length).fill(at), false, done);
      else if (step === Step.ZERO) disk.writeZeroes(offset, length, true, done);
      else if (step === Step.DISCARD) disk.discard(offset, length, done);
      else if (step === Step.FLUSH) disk.flush(done);
      else if (step === Step.COMPRESS) disk.writeCompressed!(offset, new Uint8Array(length).fill(at), done);
      else disk.read(offset, new Uint8Array(length), done);
    });
  }

  /** A request ends once, and where it fails the image is to blame. */
  #attempt(step: number, start: (done: Completion) => void): void {
    let ends = 0;
    start((error) => {
      ends++;
      this.#features.hit(Kind.STEP, step, Number(error === undefined));
      if (error !== undefined) this.#refused(Kind.STEP, error);
    });
    invariant(ends === 1, `a request has ended ${ends} times`);
  }

  #refused(kind: number, error: unknown): void {
    for (let next: unknown = error; next instanceof Error; next = next.cause) {
      if (DEFECTS.some((defect) => next instanceof defect) || next.name === "Broken") throw error;
      invariant(/^[^\n]*$/.test(next.message), `an error of several lines: ${next.message}`);
      this.#features.message(kind, next.message);
    }
  }
}

function seeds(originals: readonly Original[]): Seed[] {
  const work = [Step.READ, Step.WRITE, Step.ZERO, Step.COMPRESS, Step.DISCARD, Step.FLUSH, Step.WRITE].flatMap((
    step,
    i,
  ) => [step, ...u16(i * 9), 7]);
  return originals.flatMap(({ name }, index) =>
    Object.entries(Use).filter(([, use]) => use !== Use.COUNT).map(([use, code]) => ({
      name: `${name.replaceAll(" ", "-")}-${use.toLowerCase().replace("_", "-")}`,
      bytes: input(index, code, 0, work),
    }))
  );
}

/** See the module. */
export function qcow2Target(): Target {
  const originals = corpus().map((image) => ({ ...image, sites: sitesOf(image.file) }));
  return {
    name: "qcow2",
    maxLength: 256,
    dictionary: [
      [0, 0, 0, 0, 0, 0, 2, 0],
      [0x80, 0, 0, 0, 0, 0, 2, 0],
      [0x40, 0, 0, 0, 0, 0, 2, 0],
      new Array(8).fill(0xff),
      [0, 0, 0, 0, 0, 0, 0, 1],
    ]
      .map((bytes) => Uint8Array.from(bytes)),
    seeds: seeds(originals),
    run: (bytes, features) => new Run(bytes, features, originals).perform(),
  };
}
