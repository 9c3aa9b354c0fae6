/**
 * ACPI tables as one relocatable image: they point at one another, and where they will lie is not known when they are built.
 *
 * An image has two parts, because firmware puts the RSDP where operating systems search for it and the tables anywhere. A
 * pointer holds the offset of its target in the tables part until the image is relocated, by us or by firmware.
 *
 * @module
 */
import { ascii, concatenate, littleEndian } from "./aml.ts";

/** The two parts. */
export type AcpiPart = "tables" | "rsdp";

/** A little-endian address of something in the tables part. */
export interface AcpiPointer {
  readonly part: AcpiPart;
  readonly offset: number;
  readonly size: 4 | 8;
}

/** A byte that makes a range sum up to 0 modulo 256. */
export interface AcpiChecksum {
  readonly part: AcpiPart;
  readonly start: number;
  readonly length: number;
  /** Where the byte is; inside the range. */
  readonly offset: number;
}

/** What the builder makes. */
export interface AcpiImage {
  readonly tables: Uint8Array;
  readonly rsdp: Uint8Array;
  /** To be resolved before any checksum. */
  readonly pointers: readonly AcpiPointer[];
  /** In this order: a later range may hold an earlier one's byte. */
  readonly checksums: readonly AcpiChecksum[];
}

/** The strictest alignment in the tables part: the FACS's (ACPI 6.5, section 5.2.10). */
export const TABLES_ALIGNMENT = 64;
/** The RSDP is searched at multiples of this (section 5.2.5.1). */
export const RSDP_ALIGNMENT = 16;

/** The header that most tables begin with (section 5.2.6, table 5.4). */
const Header = { LENGTH: 4, CHECKSUM: 9, SIZE: 36 } as const;

/** Who made the tables: 6 characters. The OEM table ID has 8, the signature included, and the creator ID 4. */
export const OEM_ID = "SPLTVM";
const CREATOR_ID = "SPVM";
const REVISION = 1;

/** A pointer inside a table's body. */
export interface BodyPointer {
  /** Offset from the start of the table, header included. */
  readonly at: number;
  readonly size: 4 | 8;
  /** Offset of the target in the tables part. */
  readonly target: number;
}

/** Collects the parts of an image. */
export class AcpiImageBuilder {
  #tables: Uint8Array = new Uint8Array(0);
  #rsdp: Uint8Array = new Uint8Array(0);
  readonly #pointers: AcpiPointer[] = [];
  readonly #checksums: AcpiChecksum[] = [];

  /** Appends bytes that have no common header. Their offset in the tables part. */
  addRaw(bytes: Uint8Array, alignment: number): number {
    const offset = Math.ceil(this.#tables.length / alignment) * alignment;
    this.#tables = concatenate(this.#tables, new Uint8Array(offset - this.#tables.length), bytes);
    return offset;
  }

  /**
   * Appends a table: header, and `body` after it.
   *
   * @returns Its offset in the tables part.
   */
  addTable(signature: string, revision: number, body: Uint8Array, pointers: readonly BodyPointer[] = []): number {
    const length = Header.SIZE + body.length;
    const table = concatenate(
      ascii(signature),
      littleEndian(length, 4),
      [revision, 0],
      ascii(OEM_ID),
      ascii((CREATOR_ID + signature).padEnd(8)),
      littleEndian(REVISION, 4),
      ascii(CREATOR_ID),
      littleEndian(REVISION, 4),
      body,
    );
    for (const { at, size, target } of pointers) table.set(littleEndian(target, size), at);
    const start = this.addRaw(table, 8);
    for (const { at, size } of pointers) this.#pointers.push({ part: "tables", offset: start + at, size });
    this.#checksums.push({ part: "tables", start, length, offset: start + Header.CHECKSUM });
    return start;
  }

  /** Sets the RSDP; its checksums are worked out in the order given. */
  setRsdp(
    bytes: Uint8Array,
    pointers: readonly BodyPointer[],
    checksums: readonly Omit<AcpiChecksum, "part">[],
  ): void {
    this.#rsdp = bytes.slice();
    for (const { at, size, target } of pointers) {
      this.#rsdp.set(littleEndian(target, size), at);
      this.#pointers.push({ part: "rsdp", offset: at, size });
    }
    for (const checksum of checksums) this.#checksums.push({ part: "rsdp", ...checksum });
  }

  build(): AcpiImage {
    return { tables: this.#tables, rsdp: this.#rsdp, pointers: this.#pointers, checksums: this.#checksums };
  }
}

/** Offset of the body in a table that has the common header. */
export const BODY_OFFSET: number = Header.SIZE;

/**
 * The two parts with the tables at `tablesAddress`: pointers and checksums in place.
 *
 * @throws {RangeError} when an address does not fit into its pointer.
 */
export function relocate(image: AcpiImage, tablesAddress: number): Record<AcpiPart, Uint8Array> {
  const parts = { tables: image.tables.slice(), rsdp: image.rsdp.slice() };
  for (const { part, offset, size } of image.pointers) {
    const bytes = parts[part].subarray(offset, offset + size);
    const target = bytes.reduceRight((value, byte) => value * 256 + byte, 0) + tablesAddress;
    if (target >= 2 ** (8 * size)) throw new RangeError(`No ${size}-byte pointer reaches 0x${target.toString(16)}`);
    bytes.set(littleEndian(target, size));
  }
  for (const { part, start, length, offset } of image.checksums) {
    const sum = parts[part].subarray(start, start + length).reduce((total, byte) => total + byte, 0);
    parts[part][offset] -= sum;
  }
  return parts;
}
