import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { detectFormat, PROBE_SIZE, type ProbedFormat } from "../../src/block/probe.ts";

/** A first sector with bytes at a place. */
function sector(bytes: string | readonly number[], at = 0): Uint8Array {
  const start = new Uint8Array(PROBE_SIZE);
  start.set(typeof bytes === "string" ? Uint8Array.from(bytes, (c) => c.charCodeAt(0)) : bytes, at);
  return start;
}

/** The magic numbers of the formats' specifications. */
const HEADERS: readonly (readonly [ProbedFormat, Uint8Array])[] = [
  ["qcow2", sector("QFI\xfb\0\0\0\x02")],
  ["qcow2", sector("QFI\xfb\0\0\0\x03")],
  ["qcow2", sector("QFI\xfb\0\0\0\x09")],
  ["qcow", sector("QFI\xfb\0\0\0\x01")],
  ["qed", sector("QED\0")],
  ["vmdk", sector("KDMV\x01\0\0\0")],
  ["vmdk", sector("COWD")],
  ["vmdk", sector("# Disk DescriptorFile\nversion=1\nCID=fffffffe\n")],
  ["vmdk", sector("# Disk DescriptorFile\r\n\r\n#\r\nversion=3\r\n")],
  ["vdi", sector([0x7f, 0x10, 0xda, 0xbe], 0x40)],
  ["vpc", sector("conectix")],
  ["vhdx", sector("vhdxfile")],
  ["luks", sector("LUKS\xba\xbe\0\x01")],
  ["parallels", sector("WithoutFreeSpace")],
  ["parallels", sector("WithouFreSpacExt")],
  ["bochs", sector("Bochs Virtual HD Image\0")],
  ["cloop", sector("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n")],
];

for (const [format, header] of HEADERS) {
  Deno.test(`${format} is told by its header: ${JSON.stringify(String.fromCharCode(...header.slice(0, 12)))}`, () => {
    assertEquals(detectFormat(header), format);
  });
}

Deno.test("what has no format's header is raw", () => {
  const boot = sector([0x55, 0xaa], 510);
  const plain = [
    new Uint8Array(),
    new Uint8Array(PROBE_SIZE),
    boot,
    sector("QFI\xfb"),
    sector("QFI\xfb").slice(0, 4),
    sector("#!/bin/sh\n#V2.0 Format\n"),
    sector("#!/bin/sh\nversion=4\n"),
    sector("version=1\n"),
  ];
  for (const start of plain) assertEquals(detectFormat(start), "raw");
});

Deno.test("any bytes are some format's, or raw", () => {
  const begun = fc.constantFrom(...HEADERS).map(([, header]) => header);
  fc.assert(fc.property(begun, fc.nat(PROBE_SIZE), fc.uint8Array({ maxLength: 64 }), (header, cut, rest) => {
    detectFormat(Uint8Array.of(...header.slice(0, cut), ...rest).slice(0, PROBE_SIZE));
  }));
});
