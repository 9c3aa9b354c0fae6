/** What firmware would have done about interrupts: the ICH9's PIRQx_ROUT and edge/level control registers, and Interrupt Line. */
import { assertEquals } from "@std/assert";
import { ConfigSpace } from "../../../src/device/config_space.ts";
import { KVM_PIC_ELCR, KvmIrqchip } from "../../../src/ffi/kvm_abi.ts";
import { makeLevelTriggered, routeInterrupts } from "../../../src/vmm/pci/chipset_setup.ts";
import type { PciFunction } from "../../../src/vmm/pci/pci_bus.ts";
import { createChipset } from "../support/q35.ts";

const INTERRUPT_LINE = 0x3c;

/** A function with the interrupt pin of that number, 0 for none. */
function functionWithPin(interruptPin: number): PciFunction {
  const config = new ConfigSpace();
  config.identify({ vendorId: 0x1000, deviceId: 0x12, classCode: 0x010000, interruptPin });
  return {
    readConfig: (offset, size) => config.read(offset, size),
    writeConfig: (offset, size, value) => config.write(offset, size, value),
  };
}

Deno.test("the PIRQs are steered to ISA IRQs that are free in a PC", () => {
  const { pci, lpc } = createChipset();
  routeInterrupts(pci, lpc);
  assertEquals([0, 1, 2, 3, 4, 5, 6, 7].map((pirq) => lpc.isaIrqOf(pirq)), [10, 10, 11, 11, 10, 10, 11, 11]);
});

Deno.test("Interrupt Line names the ISA IRQ of the function's own pin, and stays as it is without one", () => {
  const { pci, lpc } = createChipset();
  const pins = [[4, 1], [4, 3], [5, 2], [6, 0]];
  const functions = pins.map(([slot, pin], fn) => {
    const target = functionWithPin(pin);
    pci.attach({ slot, fn }, target);
    return target;
  });
  routeInterrupts(pci, lpc);
  const lines = functions.map((target) => target.readConfig(INTERRUPT_LINE, 1));
  assertEquals(lines, [...pins.slice(0, 3).map(([slot, pin]) => lpc.isaIrqOf(lpc.pirqOf({ slot, pin: pin - 1 }))), 0]);
});

Deno.test("a device that is gone, whose pin reads as all-ones, is passed over", () => {
  const { pci, lpc } = createChipset();
  const written: number[] = [];
  pci.attach({ slot: 4, fn: 0 }, { readConfig: () => 0xff, writeConfig: (offset) => void written.push(offset) });
  routeInterrupts(pci, lpc);
  assertEquals(written, []);
});

Deno.test("the SCI and the PIRQs' ISA IRQs become level-triggered, and nothing else changes", () => {
  const chips = new Map([0, 1, 2].map((chip) => [chip, new Uint8Array(520).fill(0xa0).fill(chip, 0, 1)]));
  const expected = structuredClone(chips);
  // ELCR2 (ICH9, section 13.4.12): bits 1 to 3 are IRQ 9 to 11.
  expected.get(KvmIrqchip.PIC_SLAVE)![KVM_PIC_ELCR] |= 0b1110;
  makeLevelTriggered({
    irqchip: (chip) => chips.get(chip)!.slice(),
    setIrqchip: (state) => void chips.set(state[0], state),
  });
  assertEquals(chips, expected);
});
