/**
 * What the parts of the qcow2 engine share: the files, the header, and what is wrong with the image.
 *
 * @module
 */
import type { BlockDevice } from "../block_device.ts";
import { type Coroutine, waitFor } from "../coroutine.ts";
import type { HostFile } from "../host_file.ts";
import { Mutex, RangeLock } from "../range_lock.ts";
import { DecompressedCluster } from "./decompressed.ts";
import {
  Autoclear,
  bytesPerL1Entry,
  hasFeature,
  HeaderField,
  Incompatible,
  type Qcow2Header,
  setUint64,
} from "./header.ts";
import type { MetadataSet } from "./metadata_set.ts";

/** Thrown for metadata that contradict the specification, or each other. */
export class CorruptImageError extends Error {
  override readonly name = "CorruptImageError";
}

/** The header is rewritten by sectors, which disks write whole or not at all. */
export const SECTOR = 512;

/** An image that is open. */
export class ImageState {
  readonly clusterSize: number;
  /** Whether L2 entries have 128 bits and clusters have subclusters. */
  readonly extended: boolean;
  /** Bytes that are allocated together: a cluster or a subcluster. */
  readonly unitSize: number;
  /** L2 entries of a table. */
  readonly l2Entries: number;
  /** Guest bytes that an L2 table covers. */
  readonly l2Span: number;
  /** Where guest data are: the image itself, or the external data file. */
  readonly dataFile: HostFile;
  readonly external: boolean;
  readonly rawExternal: boolean;
  /** Virtual size in whole sectors. */
  readonly size: number;
  readonly ranges = new RangeLock();
  readonly decompressed = new DecompressedCluster();
  /** Held by whoever changes metadata or writes them back. */
  readonly mutex = new Mutex();
  /** References that may go, once no table in the image has them any more: numbers of clusters, as often as they were referred to. */
  readonly released: number[] = [];
  /** Why nothing may be written any more. */
  corruption: Error | undefined;
  #autoclearDone: boolean;

  /** @param sector The first sector of the image. */
  constructor(
    readonly file: HostFile,
    readonly header: Qcow2Header,
    readonly sector: Uint8Array,
    readonly metadata: MetadataSet,
    readonly readOnly: boolean,
    readonly mayDiscard: boolean,
    readonly backing: BlockDevice | undefined,
    dataFile: HostFile | undefined,
  ) {
    const features = header.incompatibleFeatures;
    this.clusterSize = 2 ** header.clusterBits;
    this.extended = hasFeature(features, Incompatible.EXTENDED_L2);
    this.unitSize = this.extended ? this.clusterSize / 32 : this.clusterSize;
    this.l2Entries = this.clusterSize / (this.extended ? 16 : 8);
    this.l2Span = bytesPerL1Entry(header);
    this.external = hasFeature(features, Incompatible.EXTERNAL_DATA_FILE);
    this.rawExternal = hasFeature(header.autoclearFeatures, Autoclear.RAW_EXTERNAL_DATA);
    this.dataFile = dataFile ?? file;
    // As QEMU does: the disk is the same one under both.
    this.size = Math.floor(header.size / SECTOR) * SECTOR;
    this.#autoclearDone = (header.autoclearFeatures & ~Autoclear.RAW_EXTERNAL_DATA) === 0n;
  }

  get #view(): DataView {
    return new DataView(this.sector.buffer, this.sector.byteOffset);
  }

  /** The end of the file, in whole clusters: metadata lie before it. */
  get fileEnd(): number {
    return Math.ceil(this.file.size / this.clusterSize) * this.clusterSize;
  }

  corrupt(problem: string): never {
    throw new CorruptImageError(`${this.file.name} is corrupt: ${problem}`);
  }

  /** @throws {Error} when nothing may be written. */
  checkWritable(): void {
    if (this.corruption !== undefined) {
      throw new Error(`${this.file.name} takes no more writes since it was found corrupt`, { cause: this.corruption });
    }
  }

  /** Whether a write has nothing to prepare, and no reason to be refused. */
  get isReadyForWrites(): boolean {
    return this.#autoclearDone && !this.readOnly && this.corruption === undefined;
  }

  /** Whether there are autoclear bits that the first change of the image has to clear. */
  get hasStaleAutoclear(): boolean {
    return !this.#autoclearDone;
  }

  /**
   * Clears the autoclear bits of what is not kept up to date here (bitmaps among it), on stable storage.
   */
  *clearAutoclear(): Coroutine<void> {
    if (this.#autoclearDone) return;
    const kept = this.header.autoclearFeatures & Autoclear.RAW_EXTERNAL_DATA;
    this.#view.setBigUint64(HeaderField.AUTOCLEAR_FEATURES, kept);
    yield* this.writeHeader();
    this.#autoclearDone = true;
  }

  /** Puts a refcount table in another place. It takes effect with {@linkcode writeHeader}. */
  setRefcountTable(offset: number, clusters: number): void {
    setUint64(this.#view, HeaderField.REFCOUNT_TABLE_OFFSET, offset);
    this.#view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, clusters);
  }

  *writeHeader(): Coroutine<void> {
    yield* waitFor((done) => this.file.write(0, this.sector, done));
    yield* waitFor((done) => this.file.sync(done));
  }

  /** Remembers that the image is corrupt, here and, where the version can, in the image. */
  *markCorrupt(error: Error): Coroutine<void> {
    if (this.corruption !== undefined) return;
    this.corruption = error;
    if (this.readOnly || this.header.version < 3) return;
    const word = this.#view.getBigUint64(HeaderField.INCOMPATIBLE_FEATURES);
    this.#view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, word | Incompatible.CORRUPT);
    yield* this.writeHeader();
  }
}
