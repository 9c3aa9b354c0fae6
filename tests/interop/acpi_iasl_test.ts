/**
 * The ACPI tables through ACPICA's compiler: every table can be disassembled, what comes out compiles without an error or a
 * warning, and compiling it again gives the same data.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { type AcpiMachine, buildAcpi } from "../../src/vmm/acpi/acpi.ts";
import { relocate } from "../../src/vmm/acpi/image.ts";
import { program, testNeeding } from "../support/requirements.ts";

const MACHINES: Readonly<Record<string, AcpiMachine>> = {
  "a small machine": {
    cpus: 1,
    ram: { low: 0x1000_0000, high: 0 },
    physicalAddressBits: 36,
    serialPorts: [{ port: 0x3f8, irq: 4 }],
  },
  "a large machine with everything": {
    cpus: 255,
    ram: { low: 0x8000_0000, high: 2 ** 39 },
    physicalAddressBits: 46,
    serialPorts: [0x3f8, 0x2f8, 0x3e8, 0x2e8].map((port, i) => ({ port, irq: i % 2 === 0 ? 4 : 3 })),
    keyboard: true,
    vga: true,
  },
};

/** Length of the common header's fields that name the compiler, which iasl replaces with its own. */
const CREATOR = { start: 28, end: 36 } as const;
const CHECKSUM = 9;

function run(directory: string, ...args: string[]): { success: boolean; text: string } {
  const { success, stdout, stderr } = new Deno.Command("iasl", { args, cwd: directory }).outputSync();
  return { success, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

/** The tables at an address, by signature. */
function tablesOf(machine: AcpiMachine): Map<string, Uint8Array> {
  const { tables, rsdp } = relocate(buildAcpi(machine), 0x0ff0_0000);
  const offset = (address: number) => address - 0x0ff0_0000;
  const view = new DataView(tables.buffer, tables.byteOffset);
  const u32 = (at: number) => view.getUint32(at, true);
  const rsdt = offset(new DataView(rsdp.buffer, rsdp.byteOffset).getUint32(16, true));
  const xsdt = offset(new DataView(rsdp.buffer, rsdp.byteOffset).getUint32(24, true));
  const listed = Array.from({ length: (u32(rsdt + 4) - 36) / 4 }, (_, i) => offset(u32(rsdt + 36 + 4 * i)));
  const fadt = listed[0];
  const places = [rsdt, xsdt, ...listed, offset(u32(fadt + 36)), offset(u32(fadt + 40))];
  return new Map(places.map((at) => {
    const bytes = tables.slice(at, at + u32(at + 4));
    return [new TextDecoder().decode(bytes.subarray(0, 4)), bytes];
  }));
}

/** What a table says, without who compiled it. */
function substance(table: Uint8Array): Uint8Array {
  const copy = table.slice();
  if (new TextDecoder().decode(copy.subarray(0, 4)) === "FACS") return copy;
  copy.fill(0, CREATOR.start, CREATOR.end);
  copy[CHECKSUM] = 0;
  return copy;
}

const IASL = program("iasl", "acpica-tools");

for (const [title, machine] of Object.entries(MACHINES)) {
  for (const [signature, table] of tablesOf(machine)) {
    testNeeding([IASL], `iasl takes the ${signature} of ${title} without a complaint`, () => {
      const directory = Deno.makeTempDirSync({ prefix: "splitvm-acpi-" });
      try {
        Deno.writeFileSync(join(directory, "table.aml"), table);
        const disassembled = run(directory, "-d", "table.aml");
        assertEquals(disassembled.success, true, disassembled.text);
        // -oa switches optimisations off, which would shorten names.
        const compiled = run(directory, "-oa", "-p", "again", "table.dsl");
        assertStringIncludes(compiled.text, "0 Errors, 0 Warnings, 0 Remarks");
        const again = Deno.readFileSync(join(directory, "again.aml"));
        assertEquals(substance(again), substance(table));
      } finally {
        Deno.removeSync(directory, { recursive: true });
      }
    });
  }
}
