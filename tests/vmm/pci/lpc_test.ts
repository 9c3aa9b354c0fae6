/** The ICH9's LPC bridge (Intel ICH9 data sheet, D31:F0 and chipset configuration registers). */
import { assertEquals, assertThrows } from "@std/assert";
import { createChipset, pinsOf, pirqGsi } from "../support/q35.ts";

const PIRQ_ROUT = { A: 0x60, B: 0x61, C: 0x62, D: 0x63, E: 0x68, F: 0x69, G: 0x6a, H: 0x6b } as const;
const RCBA = 0xfed1c000;

Deno.test("the LPC bridge has the IDs of an ICH9 on QEMU's q35", () => {
  const { lpc } = createChipset();
  assertEquals(lpc.readConfig(0x00, 4), 0x29188086);
  assertEquals(lpc.readConfig(0x08, 4), 0x06010002);
  assertEquals(lpc.readConfig(0x0e, 1), 0x80);
  assertEquals(lpc.readConfig(0x2c, 4), 0x11001af4);
});

Deno.test("registers have their data sheet's reset values", () => {
  const { lpc } = createChipset();
  assertEquals(lpc.readConfig(0x40, 4), 0x00000001);
  assertEquals(lpc.readConfig(0x44, 1), 0x00);
  assertEquals(lpc.readConfig(0x60, 4), 0x80808080);
  assertEquals(lpc.readConfig(0x64, 1), 0x10);
  assertEquals(lpc.readConfig(0x68, 4), 0x80808080);
  assertEquals(lpc.readConfig(0xf0, 4), 0);
});

Deno.test("registers keep only the bits that exist", () => {
  const { lpc } = createChipset();
  for (const [register, mask] of [[0x40, 0x0000ff81], [0x60, 0x8f8f8f8f], [0x68, 0x8f8f8f8f], [0xf0, 0xffffc001]]) {
    lpc.writeConfig(register, 4, 0xffffffff);
    assertEquals(lpc.readConfig(register, 4), mask);
  }
  lpc.writeConfig(0x44, 1, 0xff);
  assertEquals(lpc.readConfig(0x44, 1), 0x87);
});

Deno.test("the power management block answers at PMBASE while ACPI_CNTL enables it", () => {
  const { lpc, ports } = createChipset();
  lpc.writeConfig(0x40, 4, 0x601);
  assertEquals(ports.read(0x630, 4), 0xffffffff);
  lpc.writeConfig(0x44, 1, 0x80);
  assertEquals(ports.read(0x630, 4), 0x20);
  lpc.writeConfig(0x40, 4, 0xb001);
  assertEquals([ports.read(0x630, 4), ports.read(0xb030, 4)], [0xffffffff, 0x20]);
});

Deno.test("a dword write over PMBASE, ACPI_CNTL's neighbour, moves nothing else", () => {
  const { lpc } = createChipset();
  lpc.writeConfig(0x44, 1, 0x80);
  lpc.writeConfig(0x40, 4, 0);
  assertEquals(lpc.pmRange(), undefined);
});

Deno.test("SCI_IRQ_SEL chooses GSI 9, 10, 11, 20 or 21, and the rest is reserved", () => {
  const { lpc } = createChipset();
  const gsis = [0, 1, 2, 3, 4, 5, 6, 7].map((value) => {
    lpc.writeConfig(0x44, 1, value);
    return lpc.sciGsi();
  });
  assertEquals(gsis, [9, 10, 11, undefined, 20, 21, undefined, undefined]);
});

Deno.test("GEN_PMCON_1.SMI_LOCK stays set until reset", () => {
  const { lpc } = createChipset();
  lpc.writeConfig(0xa0, 2, 0x0010);
  lpc.writeConfig(0xa0, 2, 0);
  assertEquals(lpc.readConfig(0xa0, 2), 0x0010);
  lpc.reset();
  assertEquals(lpc.readConfig(0xa0, 2), 0);
});

Deno.test("pins of slots 0 to 24 go round PIRQE to PIRQH, beginning at the slot's number", () => {
  const { lpc } = createChipset();
  for (let slot = 0; slot <= 24; slot++) {
    for (let pin = 0; pin < 4; pin++) assertEquals(lpc.pirqOf({ slot, pin }), 4 + (slot + pin) % 4);
  }
});

Deno.test("pins of slots 25 to 31 are wired to PIRQA to PIRQD after reset, those of slot 30 to PIRQE to PIRQH", () => {
  const { lpc } = createChipset();
  for (const slot of [25, 26, 27, 28, 29, 31]) {
    assertEquals([0, 1, 2, 3].map((pin) => lpc.pirqOf({ slot, pin })), [0, 1, 2, 3]);
  }
  assertEquals([0, 1, 2, 3].map((pin) => lpc.pirqOf({ slot: 30, pin })), [4, 5, 6, 7]);
});

Deno.test("the root complex registers answer at RCBA while it is enabled", () => {
  const { lpc, memory } = createChipset();
  assertEquals(memory.read(RCBA + 0x3140, 2), 0xffff);
  lpc.writeConfig(0xf0, 4, RCBA + 1);
  assertEquals(memory.read(RCBA + 0x3140, 2), 0x3210);
  assertEquals(memory.read(RCBA, 4), 0);
  lpc.writeConfig(0xf0, 4, RCBA);
  assertEquals(memory.read(RCBA + 0x3140, 2), 0xffff);
});

for (
  const [slot, register] of [[31, 0x3140], [29, 0x3144], [28, 0x3146], [27, 0x3148], [26, 0x314c], [25, 0x3150]]
) {
  Deno.test(`D${slot}IR wires the pins of slot ${slot}`, () => {
    const { lpc, memory } = createChipset();
    lpc.writeConfig(0xf0, 4, RCBA + 1);
    memory.write(RCBA + register, 2, 0x0fe5);
    assertEquals(memory.read(RCBA + register, 2), 0x0765);
    assertEquals([0, 1, 2, 3].map((pin) => lpc.pirqOf({ slot, pin })), [5, 6, 7, 0]);
    lpc.reset();
    assertEquals(lpc.pirqOf({ slot, pin: 0 }), 0);
  });
}

Deno.test("D30IR and reserved root complex registers cannot be written", () => {
  const { lpc, memory } = createChipset();
  lpc.writeConfig(0xf0, 4, RCBA + 1);
  for (const register of [0x3142, 0x314a, 0x314e, 0x3152, 0x0000, 0x3ffc]) {
    memory.write(RCBA + register, 2, 0xffff);
    assertEquals(memory.read(RCBA + register, 2), 0);
  }
});

Deno.test("GCS says that the watchdog cannot reboot", () => {
  const { lpc, memory } = createChipset();
  lpc.writeConfig(0xf0, 4, RCBA + 1);
  memory.write(RCBA + 0x3410, 4, 0);
  assertEquals(memory.read(RCBA + 0x3410, 4), 0x20);
});

Deno.test("a device's pin is attached to GSI 16 to 23 while PIRQs are not steered", () => {
  const { intx } = createChipset();
  assertEquals(intx.connect({ slot: 1, pin: 0 }), pirqGsi("F"));
  assertEquals(intx.connect({ slot: 2, pin: 1 }), pirqGsi("H"));
  assertEquals(intx.gsi({ slot: 3, pin: 0 }), undefined);
});

Deno.test("steering a PIRQ moves its devices' pins, because what lies behind their GSI changes", () => {
  const { intx, lpc, rerouted } = createChipset();
  intx.connect({ slot: 1, pin: 0 });
  rerouted.length = 0;
  lpc.writeConfig(PIRQ_ROUT.F, 1, 10);
  assertEquals(rerouted.map(({ moved }) => moved), [[{ slot: 1, pin: 0, from: 21, to: 21 }]]);
  assertEquals(pinsOf(rerouted[0], 21), ["ioapic 21", "pic-slave 2"]);
});

Deno.test("steering a PIRQ that no device drives reports nothing", () => {
  const { intx, lpc, rerouted } = createChipset();
  intx.connect({ slot: 1, pin: 0 });
  rerouted.length = 0;
  lpc.writeConfig(PIRQ_ROUT.A, 4, 0x0a0a0a0a);
  lpc.writeConfig(PIRQ_ROUT.F, 1, 0x80);
  assertEquals(rerouted, []);
});

Deno.test("devices whose PIRQs come to share an ISA IRQ move to its GSI, and back when steering ends", () => {
  const { intx, lpc, rerouted } = createChipset();
  intx.connect({ slot: 4, pin: 0 });
  intx.connect({ slot: 1, pin: 0 });
  lpc.writeConfig(PIRQ_ROUT.E, 1, 10);
  rerouted.length = 0;
  lpc.writeConfig(PIRQ_ROUT.F, 1, 10);
  assertEquals(rerouted[0].moved, [{ slot: 1, pin: 0, from: 21, to: 10 }, { slot: 4, pin: 0, from: 20, to: 10 }]);
  lpc.writeConfig(PIRQ_ROUT.E, 4, 0x80808080);
  assertEquals(rerouted[1].moved, [{ slot: 1, pin: 0, from: 10, to: 21 }, { slot: 4, pin: 0, from: 10, to: 20 }]);
});

Deno.test("rewiring a slot through DxxIR moves its device", () => {
  const { intx, lpc, memory, rerouted } = createChipset();
  assertEquals(intx.connect({ slot: 25, pin: 0 }), pirqGsi("A"));
  lpc.writeConfig(0xf0, 4, RCBA + 1);
  rerouted.length = 0;
  memory.write(RCBA + 0x3150, 2, 0x3217);
  assertEquals(rerouted[0].moved, [{ slot: 25, pin: 0, from: 16, to: 23 }]);
});

Deno.test("a reset ends steering, and pins move back", () => {
  const { intx, lpc, rerouted } = createChipset();
  intx.connect({ slot: 1, pin: 0 });
  lpc.writeConfig(PIRQ_ROUT.F, 1, 5);
  rerouted.length = 0;
  lpc.reset();
  assertEquals(pinsOf(rerouted[0], 21), ["ioapic 21"]);
  assertEquals(rerouted[0].moved, [{ slot: 1, pin: 0, from: 21, to: 21 }]);
});

Deno.test("a device that comes to a steered PIRQ gets the PIC pin with it, and gives it back when it goes", () => {
  const { intx, lpc, rerouted } = createChipset();
  lpc.writeConfig(PIRQ_ROUT.F, 1, 5);
  assertEquals(intx.connect({ slot: 1, pin: 0 }), 21);
  assertEquals(pinsOf(rerouted[0], 21), ["ioapic 21", "pic-master 5"]);
  intx.disconnect({ slot: 1, pin: 0 });
  assertEquals(pinsOf(rerouted[1], 21), ["ioapic 21"]);
  assertEquals(intx.gsi({ slot: 1, pin: 0 }), undefined);
});

Deno.test("a pin that does not exist is refused", () => {
  const { intx } = createChipset();
  for (const pin of [{ slot: 32, pin: 0 }, { slot: 0, pin: 4 }, { slot: -1, pin: 0 }]) {
    assertThrows(() => intx.connect(pin), RangeError, "no interrupt pin");
  }
});
