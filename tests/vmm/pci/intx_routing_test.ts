/** PIRQ steering (ICH9 data sheet, PIRQ[n]_ROUT) as KVM GSI routes. */
import { assertEquals } from "@std/assert";
import { buildGsiRoutes, decodePirqRout, routePirq } from "../../../src/vmm/pci/intx_routing.ts";
import { gsiAtEoi, pinsOf } from "../support/q35.ts";

const NOT_STEERED = new Array(8).fill(undefined);

function steer(irqs: Record<number, number>): (number | undefined)[] {
  return NOT_STEERED.map((_, pirq) => irqs[pirq]);
}

Deno.test("PIRQx_ROUT names an ISA IRQ unless bit 7 is set or the encoding is reserved", () => {
  const valid = [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15];
  for (let value = 0; value < 16; value++) {
    assertEquals(decodePirqRout(value), valid.includes(value) ? value : undefined);
    assertEquals(decodePirqRout(0x80 | value), undefined);
  }
});

Deno.test("without steering PIRQA to PIRQH are GSIs 16 to 23, at the IOAPIC only", () => {
  const table = { isaIrqs: NOT_STEERED, used: 0xff };
  const routes = buildGsiRoutes(table);
  for (let pirq = 0; pirq < 8; pirq++) {
    assertEquals(routePirq(table, pirq), { gsi: 16 + pirq, isaIrq: undefined });
    assertEquals(pinsOf({ routes }, 16 + pirq), [`ioapic ${16 + pirq}`]);
  }
});

Deno.test("ISA IRQs reach both PIC and IOAPIC, the timer at IOAPIC pin 2, and the cascade is nobody's", () => {
  const routes = buildGsiRoutes({ isaIrqs: NOT_STEERED, used: 0 });
  assertEquals(pinsOf({ routes }, 0), ["ioapic 2", "pic-master 0"]);
  assertEquals(pinsOf({ routes }, 2), []);
  assertEquals(pinsOf({ routes }, 4), ["ioapic 4", "pic-master 4"]);
  assertEquals(pinsOf({ routes }, 9), ["ioapic 9", "pic-slave 1"]);
  assertEquals(pinsOf({ routes }, 15), ["ioapic 15", "pic-slave 7"]);
});

Deno.test("a steered PIRQ reaches its IOAPIC pin and the PIC pin by one GSI, which KVM finds at the PIC's EOI", () => {
  const table = { isaIrqs: steer({ 5: 10 }), used: 1 << 5 };
  const routes = buildGsiRoutes(table);
  assertEquals(routePirq(table, 5), { gsi: 21, isaIrq: 10 });
  assertEquals(pinsOf({ routes }, 21), ["ioapic 21", "pic-slave 2"]);
  assertEquals(gsiAtEoi({ routes }, "pic-slave", 2), 21);
  assertEquals(gsiAtEoi({ routes }, "ioapic", 21), 21);
});

Deno.test("a steered PIRQ without devices does not take the PIC pin", () => {
  const routes = buildGsiRoutes({ isaIrqs: steer({ 0: 10, 4: 10 }), used: 1 << 4 });
  assertEquals(pinsOf({ routes }, 16), ["ioapic 16"]);
  assertEquals(gsiAtEoi({ routes }, "pic-slave", 2), 20);
});

Deno.test("PIRQs with devices that share an ISA IRQ share its GSI", () => {
  const table = { isaIrqs: steer({ 4: 11, 5: 11, 6: 5 }), used: 0b1110000 };
  const routes = buildGsiRoutes(table);
  assertEquals([4, 5, 6].map((pirq) => routePirq(table, pirq).gsi), [11, 11, 22]);
  assertEquals(gsiAtEoi({ routes }, "pic-slave", 3), 11);
  assertEquals(gsiAtEoi({ routes }, "pic-master", 5), 22);
});

Deno.test("no GSI has two routes to one chip, which KVM would refuse", () => {
  for (let used = 0; used < 256; used++) {
    for (const isaIrqs of [steer({ 0: 9, 1: 9, 2: 3, 7: 15 }), new Array(8).fill(10), NOT_STEERED]) {
      const keys = buildGsiRoutes({ isaIrqs, used }).map(({ gsi, irqchip }) => `${gsi} ${irqchip}`);
      assertEquals(new Set(keys).size, keys.length);
    }
  }
});

Deno.test("whatever is steered where, every device's GSI is the one that KVM finds at its pins", () => {
  const irqs = [undefined, 5, 10, 11];
  for (let choice = 0; choice < 4 ** 4; choice++) {
    const isaIrqs = [0, 1, 2, 3, 4, 5, 6, 7].map((pirq) => irqs[(choice >> (2 * (pirq % 4))) & 3]);
    const table = { isaIrqs, used: 0xff & (choice * 37) };
    const routes = buildGsiRoutes(table);
    for (let pirq = 0; pirq < 8; pirq++) {
      if ((table.used & (1 << pirq)) === 0) continue;
      const { gsi } = routePirq(table, pirq);
      for (const route of routes) {
        if (route.gsi === gsi) assertEquals(gsiAtEoi({ routes }, route.irqchip, route.pin), gsi);
      }
    }
  }
});
