/** The edge/level control registers: ICH9, sections 13.4.11 and 13.4.12 (ELCR1 and ELCR2). */
import { assertEquals } from "@std/assert";
import { KVM_PIC_ELCR, KvmIrqchip } from "../../../src/ffi/kvm_abi.ts";
import { makeSciLevelTriggered } from "../../../src/vmm/pci/chipset_setup.ts";

Deno.test("the SCI, interrupt 9, becomes level-triggered, and nothing else changes", () => {
  const chips = new Map([0, 1, 2].map((chip) => [chip, new Uint8Array(520).fill(0xa4).fill(chip, 0, 1)]));
  const expected = structuredClone(chips);
  expected.get(KvmIrqchip.PIC_SLAVE)![KVM_PIC_ELCR] |= 1 << 1;
  makeSciLevelTriggered({
    irqchip: (chip) => chips.get(chip)!.slice(),
    setIrqchip: (state) => void chips.set(state[0], state),
  });
  assertEquals(chips, expected);
});
