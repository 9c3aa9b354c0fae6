/**
 * What Linux finds and says of the hardware, started directly and by firmware, with RAM below 4 GiB and above.
 */
import { assert, assertEquals } from "@std/assert";
import { buildAcpi, placeAcpi } from "../../src/vmm/acpi/acpi.ts";
import { Gsi, Port, splitRam } from "../../src/vmm/layout.ts";
import { type GuestResult, type GuestRun, runGuest } from "./guest.ts";
import * as hardware from "./hardware_steps.ts";
import type { Lab } from "./lab.ts";
import { packageFile } from "./parts.ts";
import { reportEnd, reportSteps, scenario } from "./scenario.ts";

/** Where Linux puts what it finds unassigned, and where SeaBIOS puts it. */
const ASSIGNED_BY_LINUX = { io: "1000", registers: "c0002000", ram: "c0000000", systemErrors: false };
const ASSIGNED_BY_FIRMWARE = { io: "c000", registers: "febfe000", ram: "febfc000", systemErrors: true };

/** Runs a guest that has lspci, with RAM above 4 GiB. */
async function run(lab: Lab, cpus: number, guest: Omit<GuestRun, "options" | "append">): Promise<GuestResult> {
  return await runGuest(lab, {
    ...guest,
    programs: [await packageFile("pciutils", "usr/bin/lspci")],
    libraries: [await packageFile("libpci3", "usr/lib/x86_64-linux-gnu/libpci.so.3")],
    append: hardware.APPEND,
    options: ["-m", `${hardware.MEMORY_SIZE / 2 ** 20}`, "-smp", `${cpus}`, "-uuid", hardware.UUID],
  });
}

/** The tables that the guest has shown are, byte by byte, parts of what the machine has built: `acpi_iasl_test.ts` has these checked. */
function assertOwnTables({ console }: GuestResult, cpus: number): void {
  const physicalAddressBits = Number(/^address sizes\s*: (\d+) bits physical/m.exec(console)?.[1]);
  const serialPorts = [{ port: Port.COM1, irq: Gsi.COM1 }];
  const image = buildAcpi({ cpus, ram: splitRam(hardware.MEMORY_SIZE), physicalAddressBits, serialPorts });
  const built = placeAcpi(image).regions.map(({ bytes }) => bytes.toHex()).join();
  const shown = [...console.matchAll(/^table (\w+) (\S+)$/gm)];
  assertEquals(shown.map(([, name]) => name), ["APIC", "DSDT", "FACP", "FACS", "MCFG", "WAET"]);
  for (const [, name, text] of shown) assert(built.includes(Uint8Array.fromBase64(text).toHex()), name);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

scenario("without firmware, the machine is as Linux wants it, and DMA reaches all of its RAM", async (test, lab) => {
  const result = await run(lab, 2, {
    name: "hardware-direct",
    disk: (path) => Deno.writeFile(path, new Uint8Array(hardware.DISK_SIZE)),
    steps: {
      ...hardware.commonSteps(2),
      ...hardware.DIRECT_STEPS,
      ...hardware.lspciSteps(ASSIGNED_BY_LINUX),
      ...hardware.HIGH_DMA_STEPS,
      ...hardware.ACPI_STEPS,
    },
  });
  await reportSteps(test, result);
  await test.step("the ACPI tables are the machine's", () => assertOwnTables(result, 2));
  await test.step("the image holds what the guest wrote from above 4 GiB", async () => {
    const written = /^([0-9a-f]{64}) {2}-$/m.exec(result.console)?.[1];
    assertEquals(await sha256(await Deno.readFile(result.disk)), written);
  });
  await reportEnd(test, result);
});

scenario("with firmware, Linux leaves the machine as firmware has set it up", async (test, lab) => {
  const result = await run(lab, 4, {
    name: "hardware-firmware",
    firmware: true,
    steps: {
      ...hardware.commonSteps(4),
      ...hardware.FIRMWARE_STEPS,
      ...hardware.lspciSteps(ASSIGNED_BY_FIRMWARE),
    },
  });
  await reportSteps(test, result);
  await reportEnd(test, result);
});
