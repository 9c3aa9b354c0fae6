import { assertEquals, assertStrictEquals } from "@std/assert";
import { defineState } from "../../src/device/state.ts";
import { SharedRecords } from "../../src/vmm/shared_records.ts";

const Layout = defineState("timer", 1, { reload: "u16" });

Deno.test("threads with the same buffers have the same records", () => {
  const first = new SharedRecords();
  first.record(Layout).reload = 7;
  assertEquals(new SharedRecords(structuredClone(first.buffers)).record(Layout).reload, 7);
});

Deno.test("instances of one kind are told apart", () => {
  const records = new SharedRecords();
  records.record(Layout, "0").reload = 1;
  records.record(Layout, "1").reload = 2;
  assertEquals([records.record(Layout, "0").reload, records.record(Layout, "1").reload], [1, 2]);
});

Deno.test("other memory is zero at first, and the same for the same name", () => {
  const records = new SharedRecords();
  const memory = records.memory("lock", 4);
  assertEquals(new Uint8Array(memory), new Uint8Array(4));
  assertStrictEquals(records.memory("lock", 4), memory);
});
