import { assertEquals } from "@std/assert";
import { buildStubLibrary } from "../../src/ffi/stub_library.ts";

const STUBS = [{ name: "getpid", number: 39 }, { name: "close", number: 3 }];

/** The program headers of an ELF64 file. */
function programHeaders(elf: Uint8Array<ArrayBuffer>) {
  const view = new DataView(elf.buffer);
  const at = Number(view.getBigUint64(32, true));
  return Array.from({ length: view.getUint16(56, true) }, (_, i) => ({
    type: view.getUint32(at + 56 * i, true),
    flags: view.getUint32(at + 56 * i + 4, true),
    offset: Number(view.getBigUint64(at + 56 * i + 8, true)),
    fileSize: Number(view.getBigUint64(at + 56 * i + 32, true)),
  }));
}

Deno.test("the stub library is a shared object for x86-64", () => {
  const elf = buildStubLibrary(STUBS, "stubs");
  assertEquals([...elf.subarray(0, 6)], [0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  const view = new DataView(elf.buffer);
  assertEquals(view.getUint16(16, true), 3); // ET_DYN
  assertEquals(view.getUint16(18, true), 62); // EM_X86_64
});

Deno.test("no segment of the stub library is both writable and executable, and stacks stay non-executable", () => {
  const headers = programHeaders(buildStubLibrary(STUBS, "stubs"));
  assertEquals(headers.filter(({ flags }) => (flags & 3) === 3), []);
  assertEquals(headers.find(({ type }) => type === 0x6474e551)?.flags, 6); // PT_GNU_STACK: read, write
});

Deno.test("every segment of the stub library lies inside the file", () => {
  const elf = buildStubLibrary(STUBS, "stubs");
  for (const { offset, fileSize } of programHeaders(elf)) assertEquals(offset + fileSize <= elf.length, true);
});
