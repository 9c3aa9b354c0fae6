/** What firmware finds in fw_cfg, against what SeaBIOS reads (src/fw/paravirt.c, src/boot.c). */
import { assertEquals, assertThrows } from "@std/assert";
import { buildAcpi } from "../../src/vmm/acpi/acpi.ts";
import type { VmmConfig } from "../../src/vmm/config.ts";
import { buildFirmwareItems } from "../../src/vmm/firmware_items.ts";
import { buildSmbios } from "../../src/vmm/smbios/smbios.ts";
import type { FwCfgItems } from "../../src/vmm/platform/fw_cfg_items.ts";

const RAM = { low: 0x8000_0000, high: 0x4000_0000 };

const CONFIG: VmmConfig = {
  name: undefined,
  uuid: "00112233-4455-6677-8899-aabbccddeeff",
  memory: { size: 0xc000_0000, id: "ram", seal: true },
  cpus: 3,
  cpuModel: "host",
  firmware: undefined,
  kernel: undefined,
  devices: [],
  characterDevices: [{ id: "com1", backend: { kind: "null" }, mux: false }],
  serialPorts: [0],
  debugConsoles: [],
  debugExit: undefined,
  firmwareFiles: [],
  boot: { order: "cad", menu: false },
  rtcBase: "utc",
  noReboot: false,
  startPaused: false,
  sandboxed: true,
  monitors: [],
  humanMonitors: [],
  escapeKey: 1,
};

function build(changes: Partial<VmmConfig> = {}): FwCfgItems {
  const acpi = buildAcpi({ cpus: 3, ram: RAM, physicalAddressBits: 40, serialPorts: [] });
  const processor = { vendor: "GenuineIntel", signature: 0x306c3, features: 0xfff, brand: "A processor" };
  const smbios = buildSmbios({ ram: RAM, cpus: 3, processor }, { bios: false });
  return buildFirmwareItems({ ...CONFIG, ...changes }, { ram: RAM, acpi, smbios });
}

/** A file by its name, by way of the directory. */
function file(items: FwCfgItems, wanted: string): Uint8Array | undefined {
  const directory = items.get(0x19)!.slice();
  const view = new DataView(directory.buffer);
  for (let at = 4; at < directory.length; at += 64) {
    const name = new TextDecoder().decode(directory.subarray(at + 8, at + 64)).replace(/\0+$/, "");
    if (name === wanted) return items.get(view.getUint16(at + 4))!.slice();
  }
  return undefined;
}

Deno.test("firmware learns of RAM, CPUs, the boot menu and the timer's route", () => {
  const items = build();
  const number = (key: number) => items.get(key)!.reduceRight((value, byte) => value * 256 + byte, 0);
  assertEquals([0x03, 0x05, 0x0e, 0x0f, 0x8002].map(number), [0xc000_0000, 3, 0, 3, 1]);
});

Deno.test("the UUID is in the order of its text", () => {
  assertEquals([...build().get(0x02)!], Array.from({ length: 16 }, (_, i) => i * 0x11));
});

Deno.test("etc/e820 lists RAM and KVM's pages, 20 bytes an entry", () => {
  const view = new DataView(file(build(), "etc/e820")!.buffer);
  const entries = [0, 20, 40].map((at) => [
    Number(view.getBigUint64(at, true)),
    Number(view.getBigUint64(at + 8, true)),
    view.getUint32(at + 16, true),
  ]);
  assertEquals(entries, [[0, 0x8000_0000, 1], [0xfeff_c000, 0x4000, 2], [0x1_0000_0000, 0x4000_0000, 1]]);
});

Deno.test("firmware finds the ACPI tables and the script that places them", () => {
  const items = build();
  for (const name of ["etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader"]) {
    assertEquals(file(items, name) !== undefined, true, name);
  }
});

Deno.test("a user's file is there, and cannot replace one of the machine's", () => {
  const user = (name: string) => ({ firmwareFiles: [{ name, source: { string: "x" } }] });
  assertEquals(file(build(user("opt/user")), "opt/user"), Uint8Array.of(0x78));
  assertThrows(
    () => build(user("etc/e820")),
    Error,
    "-fw_cfg name=etc/e820: the machine has a file of that name itself",
  );
});

Deno.test("the SMBIOS tables are there: the entry point, and as many bytes of tables as it says", () => {
  const items = build();
  const entry = file(items, "etc/smbios/smbios-anchor")!;
  const tables = file(items, "etc/smbios/smbios-tables")!;
  assertEquals(new TextDecoder().decode(entry.subarray(0, 4)), "_SM_");
  assertEquals(new DataView(entry.buffer).getUint16(0x16, true), tables.length);
});
