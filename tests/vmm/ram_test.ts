import { assert, assertEquals, assertThrows } from "@std/assert";
import { closeFd, fileStatus } from "../../src/ffi/file.ts";
import { mapFile } from "../../src/ffi/memory.ts";
import { attachRam, createRam, type GuestRam } from "../../src/vmm/ram.ts";

const MIB = 0x10_0000;
const GIB = 0x4000_0000;

/** RAM lives until the process ends; its descriptor need not. */
function withRam(size: number, body: (ram: GuestRam) => void): void {
  const ram = attachRam(createRam(size, "test-ram", true));
  try {
    body(ram);
  } finally {
    closeFd(ram.handle.fd);
  }
}

Deno.test("RAM is zero at first, and of the size that was asked for", () => {
  withRam(2 * MIB, ({ memory, handle }) => {
    assert(memory.view(0, 2 * MIB)!.every((byte) => byte === 0));
    assertEquals(fileStatus(handle.fd).size, 2 * MIB);
    assertEquals(memory.contains(2 * MIB, 1), false);
  });
});

Deno.test("what one thread writes, another that attaches reads, and so does a process that maps the memfd", () => {
  withRam(2 * MIB, ({ memory, handle }) => {
    memory.write(0x1234, Uint8Array.of(1, 2, 3));
    assertEquals([...attachRam(handle).memory.view(0x1234, 3)!], [1, 2, 3]);
    const mapping = mapFile(handle.fd, 0, 2 * MIB);
    assertEquals([...mapping.bytes.subarray(0x1234, 0x1237)], [1, 2, 3]);
    mapping.unmap();
  });
});

Deno.test("RAM above the PCI hole follows in the memfd what is below it", () => {
  withRam(3 * GIB, ({ memory, handle, split }) => {
    assertEquals(split, { low: 2 * GIB, high: GIB });
    memory.write(4 * GIB, Uint8Array.of(7));
    assertEquals(memory.contains(2 * GIB, 1), false);
    const mapping = mapFile(handle.fd, 2 * GIB, 4096);
    assertEquals(mapping.bytes[0], 7);
    mapping.unmap();
  });
});

Deno.test("RAM that cannot be had is an error that says how much was wanted", () => {
  const error = assertThrows(() => createRam(2 ** 52, "test-ram", true), Error, "4294967296 MiB of guest RAM");
  assert(error.cause instanceof Error);
});
