import { assertEquals } from "@std/assert";
import { DecompressedCluster } from "../../../src/block/qcow2/decompressed.ts";

Deno.test("the cluster that was decompressed last is there, until something compressed is written", () => {
  const cluster = new DecompressedCluster();
  const bytes = Uint8Array.of(1);
  assertEquals(cluster.get(0, 0), undefined);
  cluster.set(0x40000000, 5, bytes);
  assertEquals([cluster.get(0x40000000, 5), cluster.get(0x40000000, 6), cluster.get(0x40000001, 5)], [
    bytes,
    undefined,
    undefined,
  ]);
  cluster.clear();
  assertEquals(cluster.get(0x40000000, 5), undefined);
});
