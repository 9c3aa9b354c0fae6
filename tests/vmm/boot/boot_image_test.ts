import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { loadKernel } from "../../../src/vmm/boot/boot_image.ts";
import { BootImageError, BootLayout } from "../../../src/vmm/boot/boot_request.ts";
import { E820Type } from "../../../src/vmm/e820.ts";
import { bzImage, elf64, machine, pattern, pvhNote } from "./support/images.ts";

const RAM_SIZE = 0x20_0000;
const FILL = 0xcc;
const pvh = elf64([{ type: 1, physical: 0x10_0000n, bytes: pattern(0x200), memorySize: 0x1000n }, pvhNote(0x10_0000)]);
const linux = bzImage(pattern(0x1000), { init_size: 0x1_0000 });

Deno.test("a kernel's kind is told by its content", () => {
  assertEquals(loadKernel(pvh, machine().request).rip, 0x10_0000);
  assertEquals(loadKernel(linux, machine().request).rip, 0x10_0200);
});

Deno.test("what is neither ELF nor bzImage is refused in one line", () => {
  for (const image of [new Uint8Array(), new TextEncoder().encode("#!/bin/sh\n"), new Uint8Array(0x1000)]) {
    const error = assertThrows(() => loadKernel(image, machine().request), BootImageError);
    assertEquals(error.message, "is neither an ELF file nor a Linux bzImage");
  }
});

/** Overwrites some bytes of a good image's headers. */
function mutated(image: Uint8Array, headers: [start: number, end: number]): fc.Arbitrary<Uint8Array> {
  const byte = fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }));
  const change = fc.tuple(fc.integer({ min: headers[0], max: headers[1] - 1 }), byte);
  const changes = fc.array(change, { minLength: 1, maxLength: 12 });
  return fc.tuple(changes, fc.nat({ max: image.length })).map(([list, cut]) => {
    const copy = image.slice(0, list.length % 4 === 0 ? cut : image.length);
    for (const [at, value] of list) if (at < copy.length) copy[at] = value;
    return copy;
  });
}

Deno.test("a hostile image is loaded into usable RAM or refused, and never touches anything else", () => {
  const images = fc.oneof(mutated(pvh, [4, pvh.length]), mutated(linux, [0x1f1, 0x268]));
  const initrds = fc.option(fc.nat({ max: 0x2000 }).map(pattern), { nil: undefined });
  const { ram, request } = machine(RAM_SIZE, FILL);
  fc.assert(
    fc.property(images, initrds, (image, initrd) => {
      ram.fill(FILL);
      try {
        const { rip } = loadKernel(image, { ...request, initrd });
        assertEquals(rip >= BootLayout.END && rip < RAM_SIZE, true, `entered at ${rip}`);
      } catch (error) {
        if (!(error instanceof BootImageError)) throw error;
        assertEquals(error.message.includes("\n"), false);
      }
      assertEquals(firstForeignByte(ram), undefined);
    }),
    { numRuns: 300 },
  );

  /** The first byte that changed outside of the usable ranges, or in the page that holds the interrupt vectors. */
  function firstForeignByte(ram: Uint8Array): number | undefined {
    const usable = request.e820.filter(({ type }) => type === E820Type.USABLE);
    const gaps = [
      [0, BootLayout.GDT],
      ...usable.map(({ base, size }, index) => [
        base + size,
        usable[index + 1]?.base ?? ram.length,
      ]),
    ];
    for (const [start, end] of gaps) {
      const at = ram.subarray(start, end).findIndex((byte) => byte !== FILL);
      if (at >= 0) return start + at;
    }
    return undefined;
  }
});
