/** Writes of zeroes that are stored as no data. */
import { assertEquals } from "@std/assert";
import { detectZeroes } from "../../src/block/zero_detection.ts";
import { MemoryDevice } from "../remote/scsi/memory_device.ts";

/** What becomes of a write to an image of 64 KiB. */
function traceOfWrite(bytes: Uint8Array, { fua = false, unmap = false } = {}): readonly string[] {
  const image = new MemoryDevice(65536);
  image.bytes.fill(0xee);
  const errors: unknown[] = [];
  detectZeroes(image, unmap).write(4096, bytes, fua, (error) => errors.push(error));
  assertEquals(errors, [undefined]);
  assertEquals(image.bytes.subarray(4096, 4096 + bytes.length), bytes);
  return image.trace;
}

Deno.test("a write of zeroes becomes a range of zeroes", () => {
  assertEquals(traceOfWrite(new Uint8Array(8192)), ["zero 8192 @ 4096"]);
});

Deno.test("zeroes give space back where they may", () => {
  assertEquals(traceOfWrite(new Uint8Array(8192), { unmap: true }), ["zero+unmap 8192 @ 4096"]);
});

Deno.test("zeroes that have to be on stable storage are, before the write ends", () => {
  assertEquals(traceOfWrite(new Uint8Array(512), { fua: true }), ["zero 512 @ 4096", "flush"]);
});

Deno.test("a write with a single other byte is written", () => {
  for (const place of [0, 100, 8191]) {
    const bytes = new Uint8Array(8192);
    bytes[place] = 1;
    assertEquals(traceOfWrite(bytes, { fua: true }), ["write+fua 8192 @ 4096"]);
  }
});

Deno.test("zeroes that cannot be flushed are a failed write", () => {
  const image = new MemoryDevice(65536);
  image.failures.push({ operation: "flush", error: new Error("no disk") });
  const errors: (Error | undefined)[] = [];
  detectZeroes(image, false).write(0, new Uint8Array(512), true, (error) => errors.push(error));
  assertEquals(errors.map((error) => error?.message), ["no disk"]);
});
