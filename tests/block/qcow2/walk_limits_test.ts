import { assert, assertEquals, assertThrows } from "@std/assert";
import { checkQcow2 } from "../../../src/block/qcow2/check.ts";
import { createQcow2 } from "../../../src/block/qcow2/create.ts";
import { type Qcow2Header, readHeader } from "../../../src/block/qcow2/header.ts";
import { repairQcow2 } from "../../../src/block/qcow2/repair.ts";
import { Effort, TooLargeError } from "../../../src/block/qcow2/walk_limits.ts";
import { MemoryFile } from "../../support/memory_file.ts";
import { copiedEntry, makeImage } from "./corpus.ts";
import { now } from "./workload.ts";

/** An image whose L2 entries each lead to a place of its own, far from the others. @returns it and how many there are. */
function makeScattered(tables: number): { file: MemoryFile; header: Qcow2Header; references: number } {
  const file = new MemoryFile({ name: "image.qcow2" });
  now(createQcow2(file, { size: tables * 64 * 512, clusterSize: 512 }));
  const header = now(readHeader(file));
  const l2 = Math.ceil(file.size / 512) * 512;
  const end = l2 + tables * 512;
  const references = tables * 64;
  const bytes = new DataView(new ArrayBuffer(references * 8));
  for (let i = 0; i < references; i++) bytes.setBigUint64(i * 8, copiedEntry(end + i * 256 * 512));
  file.patch(l2, new Uint8Array(bytes.buffer));
  const l1 = new DataView(new ArrayBuffer(tables * 8));
  for (let i = 0; i < tables; i++) l1.setBigUint64(i * 8, copiedEntry(l2 + i * 512));
  file.patch(header.l1TableOffset, new Uint8Array(l1.buffer));
  file.truncate(end + references * 256 * 512, () => {});
  return { file, header, references };
}

Deno.test("a reference that is far from all others takes 128 bytes of memory at most", () => {
  const { file, references } = makeScattered(100);
  const memory = references * 128;
  now(checkQcow2(file, { effort: new Effort(file.name, { memory, entries: Infinity }) }));
});

Deno.test("a check that would take more memory than it may ends with one line", () => {
  const { file } = makeScattered(100);
  const effort = new Effort(file.name, { memory: 100_000, entries: Infinity });
  const { message } = assertThrows(
    () => now(checkQcow2(file, { effort })),
    TooLargeError,
    "Cannot check image.qcow2: ",
  );
  assert(!message.includes("\n"));
});

Deno.test("a check is spent on each entry of a table, and each refcount of a page that something refers to", () => {
  const { file, references } = makeScattered(10);
  const within = (entries: number) =>
    now(checkQcow2(file, { effort: new Effort(file.name, { memory: Infinity, entries }) }));
  assertThrows(() => within(references), TooLargeError);
  // Here, each is in a page and a refcount block of its own, and a table counts for 256 entries more than it has.
  assertThrows(() => within(references * (1 + 32 + 256)), TooLargeError);
  within(references * (1 + 32 + 256) + 10_000);
});

Deno.test("refcounts that do not fit in a refcount table are not built anew, and nothing is changed", () => {
  const { file } = makeScattered(100);
  // Refcount blocks have 256 refcounts each here, and a table has a million entries.
  const header = now(readHeader(file));
  file.patch(header.refcountTableOffset, new Uint8Array(512));
  const far = new DataView(new ArrayBuffer(8));
  far.setBigUint64(0, copiedEntry(2 ** 39));
  file.truncate(2 ** 40, () => {});
  const l2 = Number(new DataView(file.bytes(header.l1TableOffset, 8).buffer).getBigUint64(0) & 0xffffffffffffffn);
  file.patch(l2, new Uint8Array(far.buffer));
  file.changes.length = 0;
  assertThrows(() => now(repairQcow2(file, "all")), Error, "its refcounts do not fit in a refcount table");
  assertEquals(file.changes, []);
});

Deno.test("a refcount block that many entries lead to counts for the first of them", () => {
  const { file } = makeImage("image", { clusterSize: 512, refcountBits: 1 });
  const { refcountTableOffset } = now(readHeader(file));
  const table = file.bytes(refcountTableOffset, 512);
  for (let at = 8; at < 512; at += 8) table.set(table.subarray(0, 8), at);
  file.patch(refcountTableOffset, table);
  file.truncate(64 * 4096 * 512, () => {});
  const { leaks, corruptions } = now(checkQcow2(file));
  // Each entry but the first says that its block is referred to once more than it should.
  assertEquals({ leaks, corruptions: corruptions >= 63 }, { leaks: 0, corruptions: true });
});
