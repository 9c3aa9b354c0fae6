import { assertEquals, assertThrows } from "@std/assert";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import type { CreateOptions } from "../../../src/block/qcow2/create_options.ts";
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { qemuImg, qemuImgJson, withFolder } from "../../support/qemu_img.ts";
import { QEMU_IMG, testNeeding } from "../../support/requirements.ts";
import { assertClean, u64 } from "./corpus.ts";
import { contents, now } from "./workload.ts";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

function create(options: CreateOptions, file = new MemoryFile()): MemoryFile {
  now(createQcow2(file, options));
  return file;
}

function refused(options: CreateOptions, message: string): void {
  assertThrows(() => create(options), Error, message);
}

Deno.test("a new image has the header that its options ask for", () => {
  const file = create({
    size: 8 * MiB,
    clusterSize: 4096,
    refcountBits: 8,
    lazyRefcounts: true,
    compressionType: "zstd",
    backingFile: "below/base.qcow2",
    backingFormat: "qcow2",
  });
  const header = now(readHeader(file));
  assertEquals(header.version, 3);
  assertEquals(header.size, 8 * MiB);
  assertEquals(header.clusterBits, 12);
  assertEquals(header.refcountOrder, 3);
  assertEquals(header.incompatibleFeatures, 8n);
  assertEquals(header.compatibleFeatures, 1n);
  assertEquals(header.compressionType, 1);
  assertEquals(header.backingFile, "below/base.qcow2");
  assertEquals(header.backingFormat, "qcow2");
});

Deno.test("an image of version 2 has a header of 72 bytes and 16-bit refcounts", () => {
  const file = create({ size: MiB, version: 2 });
  const { headerLength, refcountOrder } = now(readHeader(file));
  assertEquals({ headerLength, refcountOrder }, { headerLength: 72, refcountOrder: 4 });
  assertEquals(file.bytes(72, 32), new Uint8Array(32));
});

Deno.test("the size is rounded up to whole sectors", () => {
  assertEquals(now(readHeader(create({ size: 1000 }))).size, 1024);
});

Deno.test("images of every cluster size and refcount width are clean", () => {
  for (let bits = 9; bits <= 21; bits++) {
    for (const refcountBits of [1, 2, 4, 8, 16, 32, 64]) {
      assertClean(create({ size: 2 ** (bits + 8), clusterSize: 2 ** bits, refcountBits }));
    }
  }
});

Deno.test("preallocated images of every cluster size and refcount width are clean", () => {
  for (let bits = 9; bits <= 16; bits++) {
    for (const refcountBits of [1, 16, 64]) {
      assertClean(create({ size: 300 * 2 ** bits, clusterSize: 2 ** bits, refcountBits, preallocation: "metadata" }));
    }
  }
});

Deno.test("images up to the largest take space for their tables only", () => {
  for (
    const [size, clusterSize, l1] of [
      [8 * TiB, 65536, 16384 * 8],
      [2 ** 53 - 512, 2 * MiB, 16384 * 8],
      [128 * GiB, 512, 32 * MiB],
    ]
  ) {
    const file = create({ size, clusterSize });
    const { l1Size } = now(readHeader(file));
    assertEquals(l1Size * 8, l1);
    assertEquals(file.size < 2 * l1 + 64 * clusterSize, true);
    assertClean(file);
  }
});

Deno.test("metadata of 8 TiB are preallocated", () => {
  const file = create({ size: 8 * TiB, clusterSize: 2 * MiB, preallocation: "metadata" });
  const { l1Size, l1TableOffset } = now(readHeader(file));
  assertEquals(l1Size, 16);
  assertEquals(u64(file, l1TableOffset + 15 * 8) & 0x1ffn, 0n);
  assertClean(file);
});

Deno.test("a preallocated image reads as zeroes", () => {
  for (const preallocation of ["metadata", "falloc", "full"] as const) {
    const file = create({ size: 100 * 512, clusterSize: 512, preallocation });
    const disk = now(openQcow2(file, { readOnly: true }));
    assertEquals(contents(disk), new Uint8Array(100 * 512));
  }
});

Deno.test("preallocation of data writes all of them, or has the host allocate them", () => {
  for (const preallocation of ["falloc", "full"] as const) {
    const file = create({ size: 3 * MiB, preallocation });
    const last = file.changes.reduce((end, { offset, length }) => Math.max(end, offset + length), 0);
    assertEquals(last, file.size);
  }
});

Deno.test("a block device that held something else reads as zeroes", () => {
  for (const version of [2, 3] as const) {
    const file = new MemoryFile({ kind: "device", size: MiB });
    file.patch(0, new Uint8Array(MiB).fill(0xaa));
    create({ size: 100 * 512, clusterSize: 512, version, preallocation: "metadata" }, file);
    assertEquals(contents(now(openQcow2(file, { readOnly: true }))), new Uint8Array(100 * 512));
  }
});

Deno.test("an image that does not fit on a block device is refused", () => {
  const file = new MemoryFile({ name: "/dev/loop0", kind: "device", size: MiB });
  assertThrows(
    () => create({ size: 2 * MiB, preallocation: "metadata" }, file),
    Error,
    "/dev/loop0 holds 1048576 bytes; the image needs 2424832",
  );
});

Deno.test("the header is written last, so that a creation cut short leaves no image", () => {
  const file = create({ size: MiB, preallocation: "full" });
  const headers = file.changes.flatMap(({ offset }, index) => (offset === HeaderField.MAGIC ? [index] : []));
  assertEquals(headers, [file.changes.length - 1]);
});

Deno.test("a data file gets the size of the disk, and a raw one a place for every cluster", () => {
  const dataHostFile = new MemoryFile();
  const file = create({ size: MiB, dataFile: "data", dataFileRaw: true, dataHostFile });
  assertEquals(dataHostFile.size, MiB);
  const { l1TableOffset, autoclearFeatures, incompatibleFeatures } = now(readHeader(file));
  assertEquals([autoclearFeatures, incompatibleFeatures], [2n, 4n]);
  const l2 = Number(u64(file, l1TableOffset) & 0x00fffffffffffe00n);
  assertEquals([0, 1, 15].map((i) => u64(file, l2 + i * 8)), [0, 1, 15].map((i) => 1n << 63n | BigInt(i * 65536)));
});

Deno.test("options that are out of range are refused by name", () => {
  refused({ size: MiB, clusterSize: 513 }, "cluster_size must be a power of two between 512 and 2M, not 513");
  refused({ size: MiB, clusterSize: 256 }, "cluster_size must be a power of two between 512 and 2M, not 256");
  refused({ size: MiB, clusterSize: 4 * MiB }, "cluster_size must be a power of two between 512 and 2M, not 4194304");
  refused({ size: MiB, refcountBits: 3 }, "refcount_bits must be a power of two up to 64, not 3");
  refused({ size: MiB, refcountBits: 128 }, "refcount_bits must be a power of two up to 64, not 128");
  refused({ size: 129 * GiB, clusterSize: 512 }, "too large for cluster_size=512");
  refused({ size: 2 ** 53, clusterSize: 2 * MiB }, "too large for cluster_size=2097152");
  refused({ size: MiB, backingFile: "x".repeat(1024) }, "backing_file is longer than 1023 bytes");
  refused({ size: MiB, backingFile: "x".repeat(600), clusterSize: 512 }, "do not fit in a cluster of 512 bytes");
});

Deno.test("options that do not go together are refused by name", () => {
  const size = MiB;
  refused({ size, version: 2, refcountBits: 8 }, "refcount_bits other than 16 are only supported with compat=1.1");
  refused({ size, version: 2, lazyRefcounts: true }, "lazy_refcounts=on is only supported with compat=1.1");
  refused({ size, version: 2, extendedL2: true }, "extended_l2=on is only supported with compat=1.1");
  refused({ size, version: 2, compressionType: "zstd" }, "compression_type=zstd is only supported with compat=1.1");
  refused({ size, version: 2, dataFile: "d" }, "data_file is only supported with compat=1.1");
  refused({ size, extendedL2: true, clusterSize: 8192 }, "extended_l2=on needs a cluster_size of at least 16384");
  refused({ size, backingFormat: "raw" }, "backing_fmt needs a backing_file");
  refused({ size, dataFileRaw: true }, "data_file_raw=on needs a data_file");
  refused({ size, dataFile: "d", dataFileRaw: true, backingFile: "b" }, "data_file_raw=on cannot be used together");
  refused({ size, backingFile: "b", preallocation: "metadata" }, "only be used together with extended_l2=on");
});

/** Options in our words and in qemu-img's. */
const COMBINATIONS: readonly (readonly [Omit<CreateOptions, "size">, string])[] = [
  [{}, ""],
  [{ version: 2 }, "compat=0.10"],
  [{ clusterSize: 512 }, "cluster_size=512"],
  [{ clusterSize: 2 * MiB }, "cluster_size=2M"],
  [{ refcountBits: 1 }, "refcount_bits=1"],
  [{ refcountBits: 64, clusterSize: 512 }, "refcount_bits=64,cluster_size=512"],
  [{ lazyRefcounts: true }, "lazy_refcounts=on"],
  [{ extendedL2: true, clusterSize: 16384 }, "extended_l2=on,cluster_size=16k"],
  [{ compressionType: "zstd" }, "compression_type=zstd"],
  [{ preallocation: "metadata" }, "preallocation=metadata"],
  [{ preallocation: "full" }, "preallocation=full"],
  [{ preallocation: "metadata", extendedL2: true }, "preallocation=metadata,extended_l2=on"],
  [{ dataFile: "data" }, "data_file=data"],
  [{ dataFile: "data", dataFileRaw: true }, "data_file=data,data_file_raw=on"],
];

/** What depends on the moment, or on how the tables are laid out. */
const INCIDENTAL = ["actual-size", "image-end-offset", "children"];

function described(folder: string, command: string, path: string): Record<string, unknown> {
  const all = Object.entries(qemuImgJson(folder, command, "-f", "qcow2", path) ?? {});
  return Object.fromEntries(all.filter(([key]) => !INCIDENTAL.includes(key)));
}

testNeeding([QEMU_IMG], "qemu-img finds the same in our images as in its own, and nothing wrong", () => {
  withFolder((folder) => {
    for (const [options, text] of COMBINATIONS) {
      const size = 8 * MiB;
      create({ size, ...options }).save(`${folder}/image`);
      Deno.writeFileSync(`${folder}/data`, new Uint8Array());
      Deno.truncateSync(`${folder}/data`, size);
      const ours = [described(folder, "check", "image"), described(folder, "info", "image")];
      const chosen = text === "" ? [] : ["-o", text];
      assertEquals(qemuImg(folder, "create", "-q", "-f", "qcow2", ...chosen, "image", `${size}`).stderr, "");
      const theirs = [described(folder, "check", "image"), described(folder, "info", "image")];
      assertEquals(ours, theirs, text);
    }
  });
});
