/**
 * What SeaBIOS does with the chipset, in its order, and what it expects (its src/fw/shadow.c, paravirt.c, pciinit.c,
 * smm.c, src/hw/ps2port.c, src/resume.c).
 */
import { assertEquals } from "@std/assert";
import { programChipset } from "../../../src/vmm/pci/chipset_setup.ts";
import { configAddress, createChipset, pinsOf } from "../support/q35.ts";

type Chipset = ReturnType<typeof createChipset>;

const ECAM = 0xb0000000;
const PM = 0x600;

function configRead({ ports }: Chipset, slot: number, register: number, size: number): number {
  ports.write(0xcf8, 4, configAddress(slot, 0, register & 0xfc));
  return ports.read(0xcfc + (register & 3), size);
}

function configWrite({ ports }: Chipset, slot: number, register: number, size: number, value: number): void {
  ports.write(0xcf8, 4, configAddress(slot, 0, register & 0xfc));
  ports.write(0xcfc + (register & 3), size, value);
}

/** Goes through POST up to and with PCI set-up. */
function initialise(chipset: Chipset): void {
  const { memory, ports } = chipset;
  configWrite(chipset, 0, 0x90, 4, 0x33333330);
  configWrite(chipset, 0, 0x94, 4, 0x00333333);
  configWrite(chipset, 0, 0x60, 4, 0);
  configWrite(chipset, 0, 0x64, 4, 0);
  configWrite(chipset, 0, 0x60, 4, ECAM | 1);
  const lpc = ECAM + 31 * 0x8000;
  for (const [i, irq] of [10, 10, 11, 11].entries()) {
    memory.write(lpc + 0x60 + i, 1, irq);
    memory.write(lpc + 0x68 + i, 1, irq);
    ports.write(0x4d0 + (irq >> 3), 1, 1 << (irq & 7));
  }
  memory.write(lpc + 0x40, 4, PM | 1);
  memory.write(lpc + 0x44, 1, 0x80);
  memory.write(lpc + 0xf0, 4, 0xfed1c001);
}

Deno.test("firmware finds the host bridge, sees the shadow off and switches it on with two writes", () => {
  const chipset = createChipset();
  assertEquals(configRead(chipset, 0, 0x00, 4), 0x29c08086);
  assertEquals(configRead(chipset, 0, 0x90, 1) & 0x10, 0);
  configWrite(chipset, 0, 0x90, 4, 0x33333330);
  configWrite(chipset, 0, 0x94, 4, 0x00333333);
  assertEquals(chipset.hostBridge.pamSegments().every(({ read, write }) => read && write), true);
  assertEquals(chipset.pam.map(({ start, length }) => [start, length]), [
    [0xc0000, 0x18000],
    [0xf0000, 0x10000],
    [0xd8000, 0x18000],
  ]);
});

Deno.test("firmware recognises QEMU's q35 by the subsystem IDs", () => {
  const chipset = createChipset();
  assertEquals(configRead(chipset, 0, 0x2c, 2), 0x1af4);
  assertEquals(configRead(chipset, 0, 0x2e, 2), 0x1100);
});

Deno.test("firmware's probe of mechanism #1 reads back what it wrote", () => {
  const { ports } = createChipset();
  ports.write(0xcf8, 4, 0x80000000);
  assertEquals(ports.read(0xcf8, 4), 0x80000000);
});

Deno.test("a scan of bus 0 by vendor ID finds host bridge and LPC bridge, and no bridge to another bus", () => {
  const chipset = createChipset();
  initialise(chipset);
  const found: number[] = [];
  for (let devfn = 0; devfn < 256; devfn++) {
    const at = ECAM + devfn * 0x1000;
    if (chipset.memory.read(at, 2) === 0xffff) continue;
    found.push(devfn);
    assertEquals(chipset.memory.read(at + 0x0a, 2) === 0x0604, false);
  }
  assertEquals(found, [0, 31 * 8]);
});

Deno.test("BAR sizing of the chipset's own functions finds no BARs", () => {
  const chipset = createChipset();
  initialise(chipset);
  for (const slot of [0, 31]) {
    for (let register = 0x10; register <= 0x30; register += register === 0x24 ? 12 : 4) {
      chipset.memory.write(ECAM + slot * 0x8000 + register, 4, 0xffffffff);
      assertEquals(chipset.memory.read(ECAM + slot * 0x8000 + register, 4), 0);
    }
  }
});

Deno.test("after PCI set-up the PM timer runs where firmware put it, and the root complex registers answer", () => {
  const chipset = createChipset();
  initialise(chipset);
  chipset.host.time = 1e9;
  assertEquals(chipset.ports.read(PM + 8, 4), 3579545);
  assertEquals(chipset.memory.read(0xfed1c000 + 0x3140, 2), 0x3210);
});

Deno.test("firmware's interrupt lines are the ISA IRQs that its devices' GSIs reach", () => {
  const chipset = createChipset();
  const pins = [[1, 0], [2, 0], [25, 0]].map(([slot, pin]) => ({ slot, pin }));
  for (const pin of pins) chipset.intx.connect(pin);
  initialise(chipset);
  // mch_pci_slot_get_irq: 10, 10, 11, 11 by (slot + pin) mod 4 up to slot 24, by pin alone above.
  const picPins = pins.map((pin) => pinsOf({ routes: chipset.intx.routes() }, chipset.intx.gsi(pin)!)[1]);
  assertEquals(picPins, ["pic-slave 2", "pic-slave 3", "pic-slave 2"]);
});

Deno.test("firmware leaves SMM alone, because APMC_EN is set already", () => {
  const chipset = createChipset();
  initialise(chipset);
  assertEquals(chipset.ports.read(PM + 0x30, 4) & 0x20, 0x20);
});

Deno.test("the keyboard's set-up ends at once: reset is answered with something that is no acknowledgement", () => {
  const { ports } = createChipset();
  const command = (value: number) => ports.write(0x64, 1, value);
  assertEquals(ports.read(0x64, 1) & 0x03, 0);
  command(0xad);
  command(0xa7);
  assertEquals(ports.read(0x64, 1) & 0x03, 0);
  command(0xaa);
  assertEquals(ports.read(0x60, 1), 0x55);
  command(0xab);
  assertEquals(ports.read(0x60, 1), 0x00);
  command(0x60);
  ports.write(0x60, 1, 0x20);
  ports.write(0x60, 1, 0xff);
  assertEquals(ports.read(0x64, 1) & 0x21, 0x01);
  assertEquals(ports.read(0x60, 1), 0xfe);
});

Deno.test("locking the shadow leaves the segments from 0xf0000 read-only", () => {
  const chipset = createChipset();
  initialise(chipset);
  chipset.memory.write(ECAM + 0x90, 4, 0x33331110);
  chipset.memory.write(ECAM + 0x94, 4, 0x00333333);
  const attributes = chipset.hostBridge.pamSegments().map(({ start, read, write }) => [start, read, write]);
  assertEquals(attributes[0], [0xc0000, true, false]);
  assertEquals(attributes[4], [0xd0000, true, true]);
  assertEquals(attributes[12], [0xf0000, true, false]);
});

Deno.test("0x02 and then 0x06 at 0xcf9 reboots", () => {
  const { ports, host } = createChipset();
  ports.write(0xcf9, 1, 0x02);
  assertEquals(host.resets, 0);
  ports.write(0xcf9, 1, 0x06);
  assertEquals(host.resets, 1);
});

Deno.test("0x2000 at PM1_CNT, firmware's APM shutdown, switches off", () => {
  const chipset = createChipset();
  initialise(chipset);
  chipset.ports.write(PM + 4, 2, 0x2000);
  assertEquals(chipset.host.exits, [0]);
});

Deno.test("without firmware the machine programs the chipset to the same addresses", () => {
  const byFirmware = createChipset();
  initialise(byFirmware);
  const direct = createChipset();
  programChipset(direct.pci);
  assertEquals(direct.hostBridge.ecamRange(), byFirmware.hostBridge.ecamRange());
  assertEquals(direct.lpc.pmRange(), byFirmware.lpc.pmRange());
  assertEquals(direct.lpc.rcrbRange(), byFirmware.lpc.rcrbRange());
  assertEquals(direct.hostBridge.pamSegments(), byFirmware.hostBridge.pamSegments());
});
