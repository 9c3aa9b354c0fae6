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

Deno.test("functions may be of any length, and each is found under its name", () => {
  // mov eax, n; ret, with so many nops in front
  const answer = (n: number, nops: number) => Uint8Array.of(...new Array(nops).fill(0x90), 0xb8, n, 0, 0, 0, 0xc3);
  const functions = { first: answer(1, 0), second: answer(2, 40), third: answer(3, 10) };
  const stubs = Object.entries(functions).map(([name, code]) => ({ name, code }));
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, buildStubLibrary([...stubs, { name: "last", number: 39 }], "functions"));
  const number = { parameters: [], result: "i32" } as const;
  const library = Deno.dlopen(path, { first: number, second: number, third: number, last: number });
  const { first, second, third, last } = library.symbols;
  assertEquals([first(), second(), third(), last()], [1, 2, 3, Deno.pid]);
  library.close();
  Deno.removeSync(path);
});
