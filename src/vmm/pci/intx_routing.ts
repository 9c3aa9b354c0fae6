/**
 * How the eight PCI interrupt lines PIRQA# to PIRQH# reach the interrupt controllers, as a KVM GSI routing table.
 *
 * In the ICH9, PIRQ n always arrives at IOAPIC input 16 + n, and when its PIRQx_ROUT register says so at an ISA IRQ of
 * the two 8259s as well (ICH9, section 5.8 and PIRQ[n]_ROUT). Firmware sets the registers for operating systems that
 * use the 8259s; one that uses the IOAPIC masks those. So a device's interrupt should reach both, and KVM can do it: a
 * GSI may have one route to each chip, and an end of interrupt at either makes a level-triggered irqfd sample its line
 * again.
 *
 * But at an end of interrupt KVM looks the pin up in a table that holds *one* GSI for each pin, the one whose route
 * comes last, and only that GSI's irqfds are sampled again (`virt/kvm/irqchip.c`, `kvm_irq_map_chip_pin`). Two PIRQs
 * with devices that share an ISA IRQ would therefore lose interrupts if each kept a GSI of its own. Their devices share
 * the ISA IRQ's GSI instead, and are not seen at IOAPIC inputs 16 to 23. That matters only to a guest that uses the
 * IOAPIC and leaves the PIRQ registers alone: with ACPI, operating systems switch all PIRQ links off (`_DIS`) before
 * they use any.
 *
 * @module
 */
import { Gsi } from "../layout.ts";

/** An interrupt controller of KVM's in-kernel irqchip. */
export type Irqchip = "pic-master" | "pic-slave" | "ioapic";

/** One entry of the routing table: GSI → pin. */
export interface GsiRoute {
  readonly gsi: number;
  readonly irqchip: Irqchip;
  /** 0 to 7 of an 8259, 0 to 23 of the IOAPIC. */
  readonly pin: number;
}

/** What decides about the routes. */
export interface PirqTable {
  /** For PIRQA# to PIRQH#, the ISA IRQ that it is steered to, or `undefined`. */
  readonly isaIrqs: readonly (number | undefined)[];
  /** Bit n: a device drives PIRQ n. */
  readonly used: number;
}

/** Where a PIRQ goes. */
export interface PirqRoute {
  /** The GSI to attach the irqfds of its devices to. */
  readonly gsi: number;
  /** The ISA IRQ that it reaches too. */
  readonly isaIrq: number | undefined;
}

/** The ISA IRQs that PIRQx_ROUT can name; the other encodings are reserved. */
const STEERABLE = new Set([3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15]);

/**
 * Decodes a PIRQx_ROUT register: the ISA IRQ, or `undefined` when bit 7 switches it off or the encoding is reserved.
 */
export function decodePirqRout(register: number): number | undefined {
  const irq = register & 0xf;
  return (register & 0x80) === 0 && STEERABLE.has(irq) ? irq : undefined;
}

/** Where `pirq` (0 to 7 for A to H) goes, assuming that a device drives it. */
export function routePirq({ isaIrqs, used }: PirqTable, pirq: number): PirqRoute {
  const isaIrq = isaIrqs[pirq];
  const shared = isaIrq !== undefined &&
    isaIrqs.some((other, i) => i !== pirq && other === isaIrq && (used & (1 << i)) !== 0);
  return { gsi: shared ? isaIrq : Gsi.PIRQ_BASE + pirq, isaIrq };
}

function picRoute(gsi: number, isaIrq: number): GsiRoute {
  return isaIrq < 8 ? { gsi, irqchip: "pic-master", pin: isaIrq } : { gsi, irqchip: "pic-slave", pin: isaIrq - 8 };
}

/** The routing table for KVM_SET_GSI_ROUTING. Order matters: of two GSIs on one pin, the later is told of its EOI. */
export function buildGsiRoutes(table: PirqTable): GsiRoute[] {
  const routes: GsiRoute[] = [];
  for (let gsi = 0; gsi < Gsi.ISA_COUNT; gsi++) {
    if (gsi === Gsi.CASCADE) continue;
    routes.push(picRoute(gsi, gsi));
    routes.push({ gsi, irqchip: "ioapic", pin: gsi === Gsi.TIMER ? Gsi.TIMER_IOAPIC_PIN : gsi });
  }
  for (let pirq = 0; pirq < Gsi.PIRQ_COUNT; pirq++) {
    const own = Gsi.PIRQ_BASE + pirq;
    routes.push({ gsi: own, irqchip: "ioapic", pin: own });
    const { gsi, isaIrq } = routePirq(table, pirq);
    const driven = (table.used & (1 << pirq)) !== 0;
    if (driven && gsi === own && isaIrq !== undefined) routes.push(picRoute(own, isaIrq));
  }
  return routes;
}
