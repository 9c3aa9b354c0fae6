/**
 * PCI in the DSDT: the host bridge with its windows, and how interrupt pins reach interrupt controllers.
 *
 * Sources: ACPI Specification 6.5, sections 6.2.11 (_OSC) and 6.2.13 (_PRT); PCI Firmware Specification 3.3, section 4.5 (_OSC for
 * host bridges); ICH9 (Intel 316972), sections 13.1.17 and 13.1.20 (PIRQ[n]_ROUT).
 *
 * @module
 */
import { Gsi, LegacyRegion, MmioLayout, Port, PortCount, RamLayout } from "../layout.ts";
import {
  and,
  argument,
  concatenate,
  createDwordField,
  device,
  eisaId,
  equal,
  field,
  giveBack,
  integer,
  local,
  method,
  name,
  notEqual,
  operationRegion,
  or,
  otherwise,
  path,
  pkg,
  RegionSpace,
  store,
  type Term,
  uuid,
  when,
} from "./aml.ts";
import {
  busNumbers,
  INTERRUPT_NUMBER_OFFSET,
  interrupts,
  ioPorts,
  ioWindow,
  memoryWindow,
  resourceTemplate,
} from "./aml_resources.ts";
import type { AcpiMachine } from "./machine.ts";
import { LAST_BUS } from "./tables.ts";

const SLOT_COUNT = 32;
const PIN_COUNT = 4;
const LINKS = "ABCDEFGH";
const PIRQ_E = 4;

/** PIRQx_ROUT: bit 7 switches steering off, bits 3:0 name the ISA interrupt. */
const Rout = { DISABLED: 0x80, IRQ: 0x0f } as const;
/** ISA interrupts that a PIRQ may be steered to: those that the MADT declares level-triggered, without the SCI's. */
const STEERABLE_IRQS = [5, 10, 11] as const;

/** _STA of an interrupt link: present, hidden, working; and enabled while it is steered somewhere. */
const LinkStatus = { DISABLED: 0x09, ENABLED: 0x0b } as const;

const GIB = 2 ** 30;
/** 64 TiB: beyond what some operating systems' PCI code handles, and no machine of ours needs more. */
const MAX_ADDRESS_BITS = 46;

/**
 * The PIRQ (0 to 7 for A to H) that a pin (0 to 3) of a slot on bus 0 is wired to, as long as firmware leaves the chipset's DxxIR
 * registers alone: rotating over E to H by slot, but A to D in order for the chipset's own slots, and E to H in order for
 * its PCI bridge's.
 */
export function wiredPirq(slot: number, pin: number): number {
  if (slot < 25) return PIRQ_E + (slot + pin) % PIN_COUNT;
  return slot === 30 ? PIRQ_E + pin : pin;
}

/** Where PCI memory above RAM may be: from the first whole GiB to the end of the address space. Both ends included. */
export function highPciWindow({ ram, physicalAddressBits }: AcpiMachine): { first: number; last: number } | undefined {
  const first = Math.ceil((RamLayout.HIGH_BASE + ram.high) / GIB) * GIB;
  const last = 2 ** Math.min(physicalAddressBits, MAX_ADDRESS_BITS) - 1;
  return first < last ? { first, last } : undefined;
}

/** `\_SB.PCI0`, with `children` in it. */
export function hostBridge(machine: AcpiMachine, children: readonly Term[]): Term {
  return device(
    "PCI0",
    name("_HID", eisaId("PNP0A08")),
    name("_CID", eisaId("PNP0A03")),
    name("_UID", integer(0)),
    name("_SEG", integer(0)),
    name("_BBN", integer(0)),
    name("_CRS", windows(machine)),
    operatingSystemCapabilities(),
    name("PRTP", routingTable((pirq) => [path(`\\_SB.LNK${LINKS[pirq]}`), integer(0)])),
    name("PRTA", routingTable((pirq) => [integer(0), integer(Gsi.PIRQ_BASE + pirq)])),
    method("_PRT", 0, when(path("PICM"), giveBack(path("PRTA"))), giveBack(path("PRTP"))),
    ...children,
  );
}

/**
 * Ports but for configuration space's own; memory where firmware puts BARs, too, which the MTRRs say is uncacheable; memory above RAM.
 */
function windows(machine: AcpiMachine): Term {
  const { CONFIG_ADDRESS } = Port;
  const { PCI_HOLE_BASE, PCI_HOLE_END } = MmioLayout;
  const high = highPciWindow(machine);
  return resourceTemplate(
    busNumbers(0, LAST_BUS),
    ioPorts(CONFIG_ADDRESS, PortCount.CONFIG),
    ioWindow(0, CONFIG_ADDRESS - 1),
    ioWindow(CONFIG_ADDRESS + PortCount.CONFIG, 0xffff),
    memoryWindow(LegacyRegion.VGA_BASE, LegacyRegion.VGA_BASE + LegacyRegion.VGA_SIZE - 1, { cacheable: true }),
    memoryWindow(PCI_HOLE_BASE, PCI_HOLE_END - 1),
    ...(high === undefined ? [] : [memoryWindow(high.first, high.last, { cacheable: true })]),
  );
}

/** Of the capabilities buffer: the status bits that _OSC answers with (table 6.12). */
const OscStatus = { UNRECOGNIZED_UUID: 0x04, UNRECOGNIZED_REVISION: 0x08, CAPABILITIES_MASKED: 0x10 } as const;
/** Firmware keeps nothing for itself: hot-plug (PCIe and SHPC), PME, AER and the capability structure are the system's. */
const GRANTED_CONTROL = 0x1f;
const HOST_BRIDGE_UUID = "33db4d5b-1ff7-401c-9657-7441c03dd766";

/** _OSC(UUID, revision, count, capabilities): which PCI features the operating system may drive. */
function operatingSystemCapabilities(): Term {
  const [status, control] = [path("OSST"), path("OSCT")];
  const report = (bit: number) => or(status, integer(bit), status);
  return method(
    "_OSC",
    4,
    createDwordField(argument(3), 0, "OSST"),
    when(
      equal(argument(0), uuid(HOST_BRIDGE_UUID)),
      createDwordField(argument(3), 8, "OSCT"),
      when(notEqual(argument(1), integer(1)), report(OscStatus.UNRECOGNIZED_REVISION)),
      and(control, integer(GRANTED_CONTROL), local(0)),
      when(notEqual(control, local(0)), report(OscStatus.CAPABILITIES_MASKED)),
      store(local(0), control),
    ),
    otherwise(report(OscStatus.UNRECOGNIZED_UUID)),
    giveBack(argument(3)),
  );
}

/** An entry for each pin of each slot: address (all functions of the slot), pin, source and source index (table 6.14). */
function routingTable(source: (pirq: number) => readonly [Term, Term]): Term {
  // A machine starts with this, so each term is made once.
  const sources = Array.from(LINKS, (_, pirq) => source(pirq));
  const pins = Array.from({ length: PIN_COUNT }, (_, pin) => integer(pin));
  const entries: Term[] = [];
  for (let slot = 0; slot < SLOT_COUNT; slot++) {
    const address = integer(slot * 0x1_0000 + 0xffff);
    for (const [pin, term] of pins.entries()) entries.push(pkg(address, term, ...sources[wiredPirq(slot, pin)]));
  }
  return pkg(...entries);
}

/** The LPC bridge's PIRQ[A-D]_ROUT at 0x60 and PIRQ[E-H]_ROUT at 0x68, as fields PRQA to PRQH. */
export function pirqRegisters(): Term {
  const registers = [...LINKS].map((letter) => ({ name: `PRQ${letter}`, bits: 8 }));
  const gap = { skipBits: 32 };
  return concatenate(
    operationRegion("PRQR", RegionSpace.PCI_CONFIG, 0x60, 12),
    field("PRQR", ...registers.slice(0, PIRQ_E), gap, ...registers.slice(PIRQ_E)),
  );
}

/** Interrupt links LNKA to LNKH: how an operating system that uses the 8259s steers PIRQs (section 6.2.13). */
export function interruptLinks(): Term {
  return concatenate(linkStatus(), linkSettings(), ...[...LINKS].map(interruptLink));
}

/** LSTA(register): a link's _STA. */
function linkStatus(): Term {
  return method(
    "LSTA",
    1,
    when(and(argument(0), integer(Rout.DISABLED)), giveBack(integer(LinkStatus.DISABLED))),
    giveBack(integer(LinkStatus.ENABLED)),
  );
}

/** LCRS(register): a link's _CRS. */
function linkSettings(): Term {
  return method(
    "LCRS",
    1,
    store(resourceTemplate(interrupts(0)), local(0)),
    createDwordField(local(0), INTERRUPT_NUMBER_OFFSET, "LINT"),
    and(argument(0), integer(Rout.IRQ), path("LINT")),
    giveBack(local(0)),
  );
}

function interruptLink(letter: string, index: number): Term {
  const register = path(`\\_SB.PCI0.LPCB.PRQ${letter}`);
  return device(
    `LNK${letter}`,
    name("_HID", eisaId("PNP0C0F")),
    name("_UID", integer(index)),
    name("_PRS", resourceTemplate(interrupts(...STEERABLE_IRQS))),
    method("_STA", 0, giveBack(concatenate(path("LSTA"), register))),
    method("_DIS", 0, or(register, integer(Rout.DISABLED), register)),
    method("_CRS", 0, giveBack(concatenate(path("LCRS"), register))),
    method(
      "_SRS",
      1,
      createDwordField(argument(0), INTERRUPT_NUMBER_OFFSET, "LINT"),
      and(path("LINT"), integer(Rout.IRQ), register),
    ),
  );
}
