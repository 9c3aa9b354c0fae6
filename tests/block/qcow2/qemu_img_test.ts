import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BlockDevice } from "../../../src/block/block_device.ts";
import { openQcow2 } from "../../../src/block/qcow2/qcow2.ts";
import { openRaw } from "../../../src/block/raw.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { program, testNeeding } from "../../support/requirements.ts";
import { runs } from "../../support/runs.ts";
import { runTool } from "../../support/tool.ts";
import { anyStep, contents, ends, now, pattern, type Step, work } from "./workload.ts";

const QEMU_IMG = program("qemu-img", "qemu-utils");

const SECTOR = 512;
/** Not a multiple of the larger cluster sizes. */
const SIZE = 1_234_432;

/** How an image is made. `size` is that of the raw file that it begins as. */
interface Variant {
  readonly name: string;
  readonly options: string;
  /** Begins with the contents of a raw file: as they are, or compressed. */
  readonly filled?: "plain" | "compressed";
  /** Size of a raw backing file. */
  readonly backing?: number;
  readonly snapshot?: boolean;
  readonly dataFile?: boolean;
}

const VARIANTS: readonly Variant[] = [
  { name: "the defaults", options: "" },
  { name: "version 2", options: "compat=0.10" },
  { name: "version 2 with a backing file and a snapshot", options: "compat=0.10", backing: 700_416, snapshot: true },
  {
    name: "clusters of 512 bytes and refcounts of 1 bit",
    options: "cluster_size=512,refcount_bits=1",
    filled: "plain",
  },
  { name: "clusters of 512 bytes and refcounts of 64 bits", options: "cluster_size=512,refcount_bits=64" },
  { name: "clusters of 2 MiB", options: "cluster_size=2M", filled: "plain" },
  { name: "lazy refcounts", options: "lazy_refcounts=on,cluster_size=1k", filled: "plain" },
  { name: "a backing file larger than the image", options: "cluster_size=4k", backing: 2_000_384 },
  { name: "a smaller backing file", options: "cluster_size=1k", backing: 300_032, snapshot: true },
  { name: "clusters compressed by deflate", options: "cluster_size=4k", filled: "compressed" },
  { name: "clusters compressed by deflate and a snapshot", options: "", filled: "compressed", snapshot: true },
  { name: "clusters compressed by Zstandard", options: "compression_type=zstd,cluster_size=8k", filled: "compressed" },
  { name: "a snapshot", options: "cluster_size=2k", filled: "plain", snapshot: true },
  { name: "extended L2 entries", options: "extended_l2=on,cluster_size=16k", filled: "plain", snapshot: true },
  { name: "extended L2 entries and a backing file", options: "extended_l2=on,cluster_size=32k", backing: SIZE },
  {
    name: "extended L2 entries and compressed clusters",
    options: "extended_l2=on",
    filled: "compressed",
    snapshot: true,
  },
  { name: "an external data file", options: "cluster_size=4k", dataFile: true },
  { name: "a raw external data file", options: "cluster_size=4k,data_file_raw=on", dataFile: true },
  { name: "preallocated metadata", options: "preallocation=metadata,cluster_size=4k" },
];

/** Data of which some clusters compress well, some are zero, and some are noise. */
function rawData(size: number, seed: number): Uint8Array {
  const bytes = pattern(size, seed);
  for (let at = 0; at < size; at += 16384) {
    if (at % 65536 === 16384) bytes.fill(0, at, at + 16384);
    if (at % 65536 === 32768) {
      for (let i = at; i < Math.min(size, at + 16384); i++) bytes[i] = (i * 2654435761) >>> 13;
    }
  }
  return bytes;
}

/** Makes an image in a folder. @returns what its disk holds. */
function makeImage(folder: string, { options, filled, backing, snapshot, dataFile }: Variant): Uint8Array {
  const image = `${folder}/image.qcow2`;
  const model = new Uint8Array(SIZE);
  const given = [options, dataFile ? `data_file=${folder}/data` : ""].filter((option) => option !== "").join(",");
  const flags = given === "" ? [] : ["-o", given];
  if (filled !== undefined) {
    model.set(rawData(SIZE, 5));
    Deno.writeFileSync(`${folder}/raw`, model);
    const compress = filled === "compressed" ? ["-c"] : [];
    runTool("qemu-img", "convert", ...compress, "-f", "raw", "-O", "qcow2", ...flags, `${folder}/raw`, image);
  } else if (backing !== undefined) {
    const below = rawData(backing, 9);
    Deno.writeFileSync(`${folder}/backing`, below);
    model.set(below.subarray(0, SIZE));
    runTool(
      "qemu-img",
      "create",
      "-q",
      "-f",
      "qcow2",
      "-b",
      `${folder}/backing`,
      "-F",
      "raw",
      ...flags,
      image,
      `${SIZE}`,
    );
  } else {
    runTool("qemu-img", "create", "-q", "-f", "qcow2", ...flags, image, `${SIZE}`);
  }
  if (snapshot) runTool("qemu-img", "snapshot", "-c", "before", image);
  return model;
}

/** Does random work on a copy of the image in memory, and puts it back. @returns what the disk holds then. */
function workOn(folder: string, variant: Variant, before: Uint8Array, steps: readonly Step[]): Uint8Array {
  const model = before.slice();
  const file = MemoryFile.load(`${folder}/image.qcow2`);
  const data = variant.dataFile ? MemoryFile.load(`${folder}/data`) : undefined;
  const backing = variant.backing === undefined ? undefined : MemoryFile.load(`${folder}/backing`, { readOnly: true });
  const open = (): BlockDevice =>
    now(openQcow2(file, {
      discard: true,
      ...(backing === undefined ? {} : { backing: openRaw(backing) }),
      ...(data === undefined ? {} : { dataFile: data }),
    }));
  const close = (disk: BlockDevice) => ends((done) => disk.close(done));
  const reopen = (disk: BlockDevice) => {
    close(disk);
    return open();
  };
  assertEquals(contents(open()), model);
  close(work(open(), model, steps, reopen, SECTOR));
  file.save(`${folder}/after.qcow2`);
  data?.save(`${folder}/data`);
  if (variant.options.includes("data_file_raw")) assertEquals(data?.bytes(0, model.length), model);
  return model;
}

/** Lets qemu-img judge an image. */
function judge(folder: string, { snapshot }: Variant, model: Uint8Array, before: Uint8Array): void {
  const image = `${folder}/after.qcow2`;
  Deno.writeFileSync(`${folder}/twin`, model);
  runTool("qemu-img", "check", "-q", image);
  runTool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", image, `${folder}/twin`);
  if (!snapshot) return;
  runTool("qemu-img", "convert", "-l", "snapshot.name=before", "-O", "raw", image, `${folder}/snapshot`);
  assertEquals(Deno.readFileSync(`${folder}/snapshot`), before);
}

/** Workloads for each variant. */
const RUNS = runs(4, 30);

for (const variant of VARIANTS) {
  testNeeding([QEMU_IMG], `qemu-img finds nothing wrong after work on an image with ${variant.name}`, () => {
    const folder = Deno.makeTempDirSync();
    try {
      const before = makeImage(folder, variant);
      const property = fc.property(fc.array(anyStep, { minLength: 5, maxLength: 60 }), (steps) => {
        judge(folder, variant, workOn(folder, variant, before, steps), before);
      });
      // An external data file keeps what was written to it, so that there is one run only.
      fc.assert(property, { numRuns: variant.dataFile ? 1 : RUNS, endOnFailure: variant.dataFile });
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
