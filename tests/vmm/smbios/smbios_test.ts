/** Expectations follow DMTF DSP0134 (SMBIOS), section numbers as in version 3.6. */
import { assertEquals } from "@std/assert";
import { buildSmbios, placeSmbios, type SmbiosMachine } from "../../../src/vmm/smbios/smbios.ts";

const GIB = 2 ** 30;

const MACHINE: SmbiosMachine = {
  ram: { low: 2 * GIB, high: 4 * GIB },
  cpus: 4,
  processor: { vendor: "GenuineIntel", signature: 0x306c3, features: 0x0783_fbff, brand: "A processor" },
  uuid: "00112233-4455-6677-8899-aabbccddeeff",
};

interface Structure {
  readonly type: number;
  readonly handle: number;
  /** The formatted part, header included. */
  readonly data: DataView;
  readonly strings: readonly string[];
}

/** Section 6.1: walks the structures as an operating system does. */
function structures(tables: Uint8Array): Structure[] {
  const found: Structure[] = [];
  for (let at = 0; at < tables.length;) {
    const length = tables[at + 1];
    const data = new DataView(tables.slice(at, at + length).buffer);
    let end = at + length;
    while (tables[end] !== 0 || tables[end + 1] !== 0) end++;
    const strings = new TextDecoder().decode(tables.subarray(at + length, end)).split("\0");
    found.push({ type: tables[at], handle: data.getUint16(2, true), data, strings: strings[0] === "" ? [] : strings });
    at = end + 2;
  }
  return found;
}

function built(changes: Partial<SmbiosMachine> = {}, bios = true): Structure[] {
  return structures(buildSmbios({ ...MACHINE, ...changes }, { bios }).tables);
}

function ofType(wanted: number, all = built()): Structure {
  return all.find(({ type }) => type === wanted)!;
}

/** The text that a byte of the formatted part refers to. */
function textAt({ data, strings }: Structure, offset: number): string | undefined {
  return strings[data.getUint8(offset) - 1];
}

const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

Deno.test("the tables have what the standard requires of a machine, and an end", () => {
  // Section 6.2: required structures; 5, 7 and 9 are for what this machine does not have.
  assertEquals(built().map(({ type }) => type), [0, 1, 3, 4, 16, 17, 19, 19, 32, 127]);
});

Deno.test("lengths are those of version 2.8, by type", () => {
  const lengths = new Map(built().map(({ type, data }) => [type, data.byteLength]));
  const expected = [[0, 24], [1, 27], [3, 22], [4, 42], [16, 23], [17, 40], [19, 31], [32, 11], [127, 4]];
  assertEquals([...lengths], expected);
});

Deno.test("every structure has a handle of its own", () => {
  const handles = built().map(({ handle }) => handle);
  assertEquals(new Set(handles).size, handles.length);
});

Deno.test("with firmware, BIOS information is left to it", () => {
  assertEquals(built({}, false).map(({ type }) => type).includes(0), false);
});

Deno.test("without firmware, the BIOS is splitvm's, and says that the machine is virtual", () => {
  const bios = ofType(0);
  assertEquals(textAt(bios, 4), "splitvm");
  assertEquals(bios.data.getUint8(0x13) & 0x10, 0x10);
});

Deno.test("the release date has the form that readers expect", () => {
  assertEquals(/^\d\d\/\d\d\/\d{4}$/.test(textAt(ofType(0), 8)!), true);
});

Deno.test("the system's UUID has its first three groups little-endian", () => {
  const { data } = ofType(1);
  assertEquals(new Uint8Array(data.buffer, 8, 16).toHex(), "33221100554477668899aabbccddeeff");
});

Deno.test("a machine without a UUID shows none", () => {
  const { data } = ofType(1, built({ uuid: undefined }));
  assertEquals(new Uint8Array(data.buffer, 8, 16).toHex(), "00".repeat(16));
});

Deno.test("the processor has its CPUID identity, its name, and as many cores as the machine has vCPUs", () => {
  const processor = ofType(4);
  assertEquals([textAt(processor, 7), textAt(processor, 0x10)], ["GenuineIntel", "A processor"]);
  assertEquals([processor.data.getUint32(8, true), processor.data.getUint32(12, true)], [0x306c3, 0x0783_fbff]);
  assertEquals([0x23, 0x24, 0x25].map((at) => processor.data.getUint8(at)), [4, 4, 4]);
});

Deno.test("RAM is mapped below and above the hole under 4 GiB", () => {
  const mappings = built().filter(({ type }) => type === 19);
  const ranges = mappings.map(({ data }) => [data.getUint32(4, true), data.getUint32(8, true)]);
  // In KiB; the end is the last one that belongs to the range.
  assertEquals(ranges, [[0, 0x1f_ffff], [0x40_0000, 0x7f_ffff]]);
});

Deno.test("a small machine's RAM is one range", () => {
  assertEquals(built({ ram: { low: GIB, high: 0 } }).filter(({ type }) => type === 19).length, 1);
});

Deno.test("memory devices and mappings belong to the memory array", () => {
  const all = built();
  const { handle, data } = ofType(16, all);
  assertEquals(data.getUint32(7, true), 6 * GIB / 1024);
  assertEquals(ofType(17, all).data.getUint16(4, true), handle);
  assertEquals(ofType(19, all).data.getUint16(12, true), handle);
});

for (const [size, field, extended] of [[6 * GIB, 6144, 0], [32 * GIB, 0x7fff, 32768], [2 ** 40, 0x7fff, 2 ** 20]]) {
  Deno.test(`a memory device of ${size / GIB} GiB has its size where it fits`, () => {
    const { data } = ofType(17, built({ ram: { low: 2 * GIB, high: size - 2 * GIB } }));
    assertEquals([data.getUint16(12, true), data.getUint32(28, true)], [field, extended]);
  });
}

Deno.test("text that is not ASCII does not end a string early, nor make it too long", () => {
  const processor = { ...MACHINE.processor, brand: `a\0b\u00b5${"x".repeat(100)}` };
  assertEquals(textAt(ofType(4, built({ processor })), 0x10), `a?b?${"x".repeat(60)}`);
});

Deno.test("without firmware, the entry point is where operating systems search, and leads to the tables", () => {
  const image = buildSmbios(MACHINE, { bios: true });
  const [entry, tables] = placeSmbios(image);
  assertEquals(entry.gpa % 16, 0);
  assertEquals(entry.gpa >= 0xf_0000 && tables.gpa + tables.bytes.length <= 0x10_0000, true);
  assertEquals(tables.gpa >= entry.gpa + entry.bytes.length, true);
  const view = new DataView(entry.bytes.slice().buffer);
  assertEquals(new TextDecoder().decode(entry.bytes.subarray(0, 4)), "_SM_");
  assertEquals(new TextDecoder().decode(entry.bytes.subarray(16, 21)), "_DMI_");
  assertEquals([sum(entry.bytes), sum(entry.bytes.subarray(16))], [0, 0]);
  assertEquals([view.getUint8(5), view.getUint8(6), view.getUint8(7), view.getUint8(0x1e)], [0x1f, 2, 8, 0x28]);
  assertEquals([view.getUint16(0x16, true), view.getUint32(0x18, true)], [tables.bytes.length, tables.gpa]);
  assertEquals(view.getUint16(0x1c, true), structures(tables.bytes).length);
});

Deno.test("the entry point names the size of the largest structure, its strings included", () => {
  const { entryPoint, tables } = buildSmbios(MACHINE, { bios: true });
  const sizes = structures(tables).map(({ data, strings }) =>
    data.byteLength + Math.max(2, strings.reduce((total, string) => total + string.length + 1, 1))
  );
  assertEquals(new DataView(entryPoint.buffer).getUint16(8, true), Math.max(...sizes));
});
