import { assertEquals, assertThrows } from "@std/assert";
import { HeaderField, readHeader } from "../../../src/block/qcow2/header.ts";
import { readSnapshotTable, snapshotProblem } from "../../../src/block/qcow2/snapshots.ts";
import { addSnapshot, type CorpusImage, makeImage, patchNumber } from "./corpus.ts";
import { now } from "./workload.ts";

function withSnapshots(version: 2 | 3 = 3): CorpusImage {
  const image = makeImage("image", { version });
  addSnapshot(image, "1");
  addSnapshot(image, "2");
  return image;
}

function read({ file }: CorpusImage) {
  return now(readSnapshotTable(file, now(readHeader(file))));
}

Deno.test("snapshots are listed with all that the table tells", () => {
  const { snapshots, size } = read(withSnapshots());
  assertEquals(snapshots.map(({ id, name }) => [id, name]), [["1", "snapshot 1"], ["2", "snapshot 2"]]);
  const { l1TableOffset: _, l1Size: __, ...fields } = snapshots[0];
  assertEquals(fields, {
    id: "1",
    name: "snapshot 1",
    vmStateSize: 0,
    dateSeconds: 1_700_000_000,
    dateNanoseconds: 123_456_789,
    vmClockSeconds: 3,
    vmClockNanoseconds: 7,
    instructions: undefined,
    diskSize: 96 * 512,
  });
  // 40 bytes, 16 of extra data, "1" and "snapshot 1", padded to a multiple of 8.
  assertEquals(size, 2 * 72);
});

Deno.test("a snapshot of version 2 need not tell the size of its disk", () => {
  assertEquals(read(withSnapshots(2)).snapshots.map(({ diskSize }) => diskSize), [undefined, undefined]);
});

Deno.test("more snapshots than QEMU allows are refused", () => {
  const image = withSnapshots();
  patchNumber(image.file, HeaderField.NB_SNAPSHOTS, 4, 65537n);
  assertThrows(() => read(image), Error, "nb_snapshots 65537 is beyond 65536");
});

Deno.test("a table that the file ends before is refused", () => {
  const image = withSnapshots();
  patchNumber(image.file, HeaderField.NB_SNAPSHOTS, 4, 9n);
  assertThrows(() => read(image), Error, "reaches beyond the end of the file in entry");
});

Deno.test("extra data beyond the limit are refused", () => {
  const image = withSnapshots();
  const { snapshotsOffset } = now(readHeader(image.file));
  patchNumber(image.file, snapshotsOffset + 36, 4, 1025n);
  assertThrows(() => read(image), Error, "snapshot 0: extra_data_size 1025 is beyond 1024");
});

Deno.test("an L1 table that is not in the file, on a cluster boundary, is a problem with a name", () => {
  const image = withSnapshots();
  const header = now(readHeader(image.file));
  const [snapshot] = read(image).snapshots;
  const problem = (change: Partial<typeof snapshot>) =>
    snapshotProblem({ ...snapshot, ...change }, header, image.file.size);
  assertEquals(problem({}), undefined);
  assertEquals(problem({ l1TableOffset: 513 }), "l1_table_offset 0x201 is not a multiple of the cluster size 512");
  assertEquals(problem({ l1TableOffset: 0 }), "l1_table_offset 0x0 is in the header");
  assertEquals(problem({ l1Size: 2 ** 22 + 1 }), "l1_size 4194305 is beyond 4194304");
  assertEquals(
    problem({ l1TableOffset: 2 ** 40 }),
    `l1_table_offset 0x10000000000: ${snapshot.l1Size} entries there reach beyond the end of the file`,
  );
});
