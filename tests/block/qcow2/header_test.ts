import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  Autoclear,
  HeaderField,
  Incompatible,
  isQcow2,
  parseHeader,
  type Qcow2Header,
  setUint64,
} from "../../../src/block/qcow2/header.ts";

const CLUSTER = 65536;

/** An image of version 3 with an L1 table of two entries: header, refcount table, refcount block, L1 table. */
function image(change: (view: DataView, bytes: Uint8Array) => void = () => {}): Uint8Array {
  const bytes = new Uint8Array(4 * CLUSTER);
  const view = new DataView(bytes.buffer);
  view.setUint32(HeaderField.MAGIC, 0x514649fb);
  view.setUint32(HeaderField.VERSION, 3);
  view.setUint32(HeaderField.CLUSTER_BITS, 16);
  setUint64(view, HeaderField.SIZE, 2 ** 30);
  view.setUint32(HeaderField.L1_SIZE, 2);
  setUint64(view, HeaderField.L1_TABLE_OFFSET, 3 * CLUSTER);
  setUint64(view, HeaderField.REFCOUNT_TABLE_OFFSET, CLUSTER);
  view.setUint32(HeaderField.REFCOUNT_TABLE_CLUSTERS, 1);
  view.setUint32(HeaderField.REFCOUNT_ORDER, 4);
  view.setUint32(HeaderField.HEADER_LENGTH, 112);
  change(view, bytes);
  return bytes;
}

function parse(change?: (view: DataView, bytes: Uint8Array) => void): Qcow2Header {
  const bytes = image(change);
  return parseHeader(bytes.subarray(0, CLUSTER), { name: "disk.qcow2", size: bytes.length });
}

/** Puts header extensions behind the header. */
function putExtensions(bytes: Uint8Array, ...extensions: readonly (readonly [type: number, data: Uint8Array])[]): void {
  const view = new DataView(bytes.buffer);
  let at = 112;
  for (const [type, data] of extensions) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
}

const text = (string: string) => new TextEncoder().encode(string);

Deno.test("a header's fields are read", () => {
  const header = parse((view, bytes) => {
    putExtensions(bytes, [0xe2792aca, text("raw")], [0x12345678, text("unknown")]);
    setUint64(view, HeaderField.BACKING_FILE_OFFSET, 1024);
    view.setUint32(HeaderField.BACKING_FILE_SIZE, 8);
    bytes.set(text("base.img"), 1024);
  });
  assertEquals(header.version, 3);
  assertEquals(header.size, 2 ** 30);
  assertEquals([header.l1Size, header.l1TableOffset], [2, 3 * CLUSTER]);
  assertEquals([header.refcountTableOffset, header.refcountTableClusters], [CLUSTER, 1]);
  assertEquals([header.backingFile, header.backingFormat], ["base.img", "raw"]);
  assertEquals(header.extensions.length, 2);
});

Deno.test("a header of version 2 has 72 bytes and refcounts of 16 bits", () => {
  const header = parse((view) => {
    view.setUint32(HeaderField.VERSION, 2);
    for (let at = 72; at < 112; at += 4) view.setUint32(at, 0);
  });
  assertEquals([header.headerLength, header.refcountOrder, header.incompatibleFeatures], [72, 4, 0n]);
});

Deno.test("an image is known by its magic number", () => {
  assert(isQcow2(image()));
  assert(!isQcow2(new Uint8Array(512)));
});

Deno.test("unknown features are refused by the names that the image gives them", () => {
  const name = new Uint8Array(48);
  name.set([0, 7]);
  name.set(text("time travel"), 2);
  const change = (view: DataView, bytes: Uint8Array) => {
    view.setBigUint64(HeaderField.INCOMPATIBLE_FEATURES, (1n << 7n) | (1n << 63n));
    putExtensions(bytes, [0x6803f857, name]);
  };
  const message = "Cannot open disk.qcow2: it needs incompatible_features that are not supported: " +
    "'time travel' (bit 7), bit 63";
  assertThrows(() => parse(change), Error, message);
});

Deno.test("bits that may be ignored are kept", () => {
  const header = parse((view) => {
    view.setBigUint64(HeaderField.COMPATIBLE_FEATURES, 1n << 40n);
    view.setBigUint64(HeaderField.AUTOCLEAR_FEATURES, 1n << 41n);
  });
  assertEquals([header.compatibleFeatures, header.autoclearFeatures], [1n << 40n, 1n << 41n]);
});

/** What is wrong → the change that makes it so, and what the message says. */
const REFUSED: Readonly<Record<string, [change: (view: DataView, bytes: Uint8Array) => void, message: string]>> = {
  "a wrong magic number": [(view) => view.setUint32(0, 0x51464900), "magic number is 0x51464900"],
  "version 1": [(view) => view.setUint32(4, 1), "version 1 "],
  "clusters of 256 bytes": [(view) => view.setUint32(20, 8), "cluster_bits 8 "],
  "clusters of 4 MiB": [(view) => view.setUint32(20, 22), "cluster_bits 22 "],
  "AES encryption": [(view) => view.setUint32(32, 1), "crypt_method 1, AES"],
  "refcounts of 128 bits": [(view) => view.setUint32(96, 7), "refcount_order 7 "],
  "a short header": [(view) => view.setUint32(100, 96), "header_length 96 "],
  "a header of odd length": [(view) => view.setUint32(100, 108), "header_length 108 "],
  "a header longer than a cluster": [(view) => view.setUint32(100, CLUSTER + 8), "header_length 65544 "],
  "a size beyond what numbers hold": [(view) => view.setUint32(24, 0x80000000), "size 0x80000000"],
  "an L1 table too short for the size": [(view) => view.setUint32(36, 1), "l1_size 1 is below 2"],
  "an L1 table over 32 MiB": [(view) => view.setUint32(36, 4194305), "l1_size 4194305 is beyond 4194304"],
  "an L1 table that is not aligned": [
    (view) => setUint64(view, 40, 3 * CLUSTER + 512),
    "l1_table_offset 0x30200 is not",
  ],
  "an L1 table beyond the end": [(view) => setUint64(view, 40, 4 * CLUSTER), "l1_table_offset 0x40000"],
  "an L1 table in the header": [(view) => setUint64(view, 40, 0), "l1_table_offset 0x0 overlaps the header"],
  "a refcount table in the L1 table": [(view) => setUint64(view, 48, 3 * CLUSTER), "0x30000 overlaps"],
  "a refcount table that is not aligned": [(view) => setUint64(view, 48, CLUSTER + 1), "refcount_table_offset 0x10001"],
  "no refcount table": [(view) => view.setUint32(56, 0), "refcount_table_clusters is 0"],
  "a refcount table over 8 MiB": [(view) => view.setUint32(56, 129), "refcount_table_clusters 129 is beyond 128"],
  "too many snapshots": [(view) => view.setUint32(60, 65537), "nb_snapshots 65537"],
  "snapshots beyond the end": [(view) => {
    view.setUint32(60, 1);
    setUint64(view, 64, 2 ** 40);
  }, "snapshots_offset 0x10000000000"],
  "a long backing name": [(view) => {
    setUint64(view, 8, 1024);
    view.setUint32(16, 1024);
  }, "backing_file_size 1024 is beyond 1023"],
  "a backing name outside of the first cluster": [(view) => {
    setUint64(view, 8, CLUSTER - 4);
    view.setUint32(16, 8);
  }, "backing_file_offset 0xfffc"],
  "a backing name that is no text": [(view, bytes) => {
    setUint64(view, 8, 1024);
    view.setUint32(16, 2);
    bytes.set([0xff, 0xfe], 1024);
  }, "backing file name"],
  "a compression type without its bit": [(_, bytes) => bytes[104] = 1, "compression_type 1 "],
  "the compression type bit without a type": [
    (view) => view.setBigUint64(72, Incompatible.COMPRESSION_TYPE),
    "compression_type 0 ",
  ],
  "an unknown compression type": [(view, bytes) => {
    view.setBigUint64(72, Incompatible.COMPRESSION_TYPE);
    bytes[104] = 2;
  }, "compression_type 2 is not supported"],
  "extended L2 entries in small clusters": [(view) => {
    view.setBigUint64(72, Incompatible.EXTENDED_L2);
    view.setUint32(20, 13);
  }, "cluster_bits 13 "],
  "raw external data without a data file": [
    (view) => view.setBigUint64(88, Autoclear.RAW_EXTERNAL_DATA),
    "raw external data bit",
  ],
  "bitmaps that are not there": [(view) => view.setBigUint64(88, Autoclear.BITMAPS), "bitmaps bit"],
  "an extension that is too long": [(view, bytes) => {
    putExtensions(bytes, [0x12345678, text("x")]);
    view.setUint32(116, 0xffffffff);
  }, "header extension 0x12345678 of 4294967295 bytes"],
  "an extension that is there twice": [
    (_, bytes) => putExtensions(bytes, [0xe2792aca, text("raw")], [0xe2792aca, text("raw")]),
    "header extension 0xe2792aca is there twice",
  ],
  "an encryption header": [(_, bytes) => putExtensions(bytes, [0x0537be77, new Uint8Array(16)]), "encryption header"],
};

for (const [what, [change, message]] of Object.entries(REFUSED)) {
  Deno.test(`a header is refused for ${what}`, () => {
    const error = assertThrows(() => parse(change), Error, message);
    assert(error instanceof Error && /^Cannot open disk\.qcow2: [^\n]*$/.test(error.message));
  });
}

Deno.test("a file that is too short is refused", () => {
  for (const length of [0, 4, 71, 72, 103]) {
    assertThrows(
      () => parseHeader(image().subarray(0, length), { name: "disk.qcow2", size: length }),
      Error,
      "too few",
    );
  }
});
