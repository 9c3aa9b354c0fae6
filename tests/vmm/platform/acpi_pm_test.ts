/** ACPI fixed hardware (ACPI 6.4, section 4.8; ICH9 data sheet, section 13.8.3). */
import { assertEquals } from "@std/assert";
import { createChipset } from "../support/q35.ts";

const PM = 0x600;
const PM1_STS = PM;
const PM1_EN = PM + 2;
const PM1_CNT = PM + 4;
const PM1_TMR = PM + 8;
const GPE0_STS = PM + 0x20;
const GPE0_EN = PM + 0x28;
const SMI_EN = PM + 0x30;
const SMI_CMD = 0xb2;

const SCI_EN = 0x0001;
const PWRBTN = 0x0100;
const TMROF = 0x0001;
const WAK = 0x8000;
const SLP_EN = 0x2000;

const SECOND = 1e9;
const TIMER_HZ = 3_579_545;

/** A chipset with the power management block at 0x600, as SeaBIOS puts it, in ACPI mode. */
function inAcpiMode() {
  const chipset = createChipset();
  chipset.lpc.writeConfig(0x40, 4, PM | 1);
  chipset.lpc.writeConfig(0x44, 1, 0x80);
  chipset.ports.write(SMI_CMD, 1, 2);
  return chipset;
}

Deno.test("the timer counts 3579545 ticks a second", () => {
  const { host, ports } = inAcpiMode();
  assertEquals(ports.read(PM1_TMR, 4), 0);
  host.time = SECOND;
  assertEquals(ports.read(PM1_TMR, 4), TIMER_HZ);
  host.time = 1_000_000;
  assertEquals(ports.read(PM1_TMR, 4), 3579);
});

Deno.test("the timer has 24 bits and wraps to 0", () => {
  const { host, ports } = inAcpiMode();
  host.time = Math.ceil(0xffffff / TIMER_HZ * SECOND);
  assertEquals(ports.read(PM1_TMR, 4), 0xffffff);
  host.time = Math.ceil(0x1000000 / TIMER_HZ * SECOND);
  assertEquals(ports.read(PM1_TMR, 4), 0);
});

Deno.test("the timer never goes back, days after power-on, but for its wrap", () => {
  const { host, ports } = inAcpiMode();
  const start = 30 * 24 * 3600 * SECOND;
  let last = -1;
  for (let i = 0; i < 10_000; i++) {
    host.time = start + i * 100;
    const ticks = ports.read(PM1_TMR, 4);
    const step = last < 0 ? 0 : (ticks - last) & 0xffffff;
    if (step > 1) throw new Error(`the timer went from ${last} to ${ticks} within 100 ns`);
    last = ticks;
  }
});

Deno.test("the timer can be read by byte and word, and not written", () => {
  const { host, ports } = inAcpiMode();
  host.time = Math.ceil(0x123456 / TIMER_HZ * SECOND);
  ports.write(PM1_TMR, 4, 0);
  assertEquals([ports.read(PM1_TMR, 2), ports.read(PM1_TMR + 2, 1), ports.read(PM1_TMR + 3, 1)], [0x3456, 0x12, 0]);
});

Deno.test("TMROF_STS is set when bit 23 of the timer changes either way, and cleared by writing 1", () => {
  const { host, ports } = inAcpiMode();
  for (const half of [1, 2, 3]) {
    host.time = Math.floor(half * 0x800000 / TIMER_HZ * SECOND) - 1000;
    assertEquals(ports.read(PM1_STS, 2), 0);
    host.time += 2000;
    assertEquals(ports.read(PM1_STS, 2), TMROF);
    ports.write(PM1_STS, 2, TMROF);
    assertEquals(ports.read(PM1_STS, 2), 0);
  }
});

Deno.test("the timer raises the SCI at its deadline, once enabled", () => {
  const { host, ports, pm } = inAcpiMode();
  assertEquals(pm.nextDeadline(), undefined);
  ports.write(PM1_EN, 2, TMROF);
  const deadline = pm.nextDeadline()!;
  assertEquals(Math.abs(deadline - 0x800000 / TIMER_HZ * SECOND) < 300, true);
  host.time = deadline - 300;
  pm.expire();
  assertEquals(host.high.has(9), false);
  host.time = deadline;
  pm.expire();
  assertEquals(host.high.has(9), true);
  assertEquals(pm.nextDeadline(), undefined);
  ports.write(PM1_STS, 2, TMROF);
  assertEquals(host.high.has(9), false);
  assertEquals(pm.nextDeadline()! > deadline, true);
});

Deno.test("the deadline of any half period is a moment at which the timer's bit has changed", () => {
  const { host, ports, pm } = inAcpiMode();
  ports.write(PM1_EN, 2, TMROF);
  for (let i = 0; i < 1000; i++) {
    host.time = pm.nextDeadline()!;
    assertEquals(ports.read(PM1_STS, 2), TMROF);
    assertEquals(ports.read(PM1_TMR, 4) & 0x7fffff, 0);
    ports.write(PM1_STS, 2, TMROF);
  }
});

Deno.test("whoever keeps deadlines is told when the timer event is enabled or cleared", () => {
  const { host, ports } = inAcpiMode();
  const before = host.deadlineChanges;
  ports.write(PM1_EN, 2, TMROF);
  ports.write(PM1_STS, 2, TMROF);
  assertEquals(host.deadlineChanges, before + 2);
});

Deno.test("ACPI_ENABLE and ACPI_DISABLE written to SMI_CMD switch SCI_EN", () => {
  const { ports } = inAcpiMode();
  assertEquals(ports.read(PM1_CNT, 2) & SCI_EN, SCI_EN);
  ports.write(SMI_CMD, 1, 3);
  assertEquals(ports.read(PM1_CNT, 2) & SCI_EN, 0);
  ports.write(SMI_CMD, 1, 2);
  assertEquals(ports.read(PM1_CNT, 2) & SCI_EN, SCI_EN);
});

Deno.test("APM control and status can be read back", () => {
  const { ports } = inAcpiMode();
  ports.write(SMI_CMD, 2, 0x55aa);
  assertEquals([ports.read(SMI_CMD, 1), ports.read(SMI_CMD + 1, 1)], [0xaa, 0x55]);
});

Deno.test("the power button raises the SCI while enabled, until its status is cleared", () => {
  const { host, ports, pm } = inAcpiMode();
  ports.write(PM1_EN, 2, PWRBTN);
  pm.pressPowerButton();
  assertEquals([ports.read(PM1_STS, 2), host.high.has(9)], [PWRBTN, true]);
  ports.write(PM1_STS, 2, 0xffff & ~PWRBTN);
  assertEquals(ports.read(PM1_STS, 2), PWRBTN);
  ports.write(PM1_STS, 2, PWRBTN);
  assertEquals([ports.read(PM1_STS, 2), host.high.has(9)], [0, false]);
});

Deno.test("no event raises the SCI outside ACPI mode", () => {
  const { host, ports, pm } = inAcpiMode();
  ports.write(SMI_CMD, 1, 3);
  ports.write(PM1_EN, 2, PWRBTN);
  pm.pressPowerButton();
  assertEquals(host.high.has(9), false);
  ports.write(SMI_CMD, 1, 2);
  assertEquals(host.high.has(9), true);
});

Deno.test("the SCI moves to the GSI that ACPI_CNTL names", () => {
  const { host, ports, pm, lpc } = inAcpiMode();
  ports.write(PM1_EN, 2, PWRBTN);
  pm.pressPowerButton();
  lpc.writeConfig(0x44, 1, 0x84);
  assertEquals(host.irqs, [[9, true], [9, false], [20, true]]);
  lpc.writeConfig(0x44, 1, 0x87);
  assertEquals(host.high.size, 0);
});

for (const [type, meaning] of [[0, "this machine's \\_S5"], [7, "the chipset's S5"]] as const) {
  Deno.test(`SLP_EN with sleep type ${type}, ${meaning}, switches off`, () => {
    const { host, ports } = inAcpiMode();
    ports.write(PM1_CNT, 2, SLP_EN | (type << 10));
    assertEquals(host.exits, [0]);
  });
}

Deno.test("SLP_EN written as a byte takes the sleep type of the same byte", () => {
  const { host, ports } = inAcpiMode();
  ports.write(PM1_CNT + 1, 1, (SLP_EN | (5 << 10)) >> 8);
  assertEquals(host.exits, []);
  ports.write(PM1_CNT + 1, 1, SLP_EN >> 8);
  assertEquals(host.exits, [0]);
});

Deno.test("a sleep state that the machine lacks wakes at once and is reported", () => {
  const { host, ports } = inAcpiMode();
  ports.write(PM1_CNT, 2, SLP_EN | (1 << 10));
  assertEquals(host.exits, []);
  assertEquals(host.warnings.length, 1);
  assertEquals(ports.read(PM1_STS, 2), WAK);
});

Deno.test("SLP_EN and reserved bits of PM1_CNT read as 0, the sleep type as written", () => {
  const { ports } = inAcpiMode();
  ports.write(PM1_CNT, 4, 0xffffd7ff);
  assertEquals(ports.read(PM1_CNT, 4), 0x1403);
});

Deno.test("PM1_EN keeps the enable bits that exist", () => {
  const { ports } = inAcpiMode();
  ports.write(PM1_EN, 2, 0xffff);
  assertEquals(ports.read(PM1_EN, 2), 0x4521);
  assertEquals(ports.read(PM1_STS, 4), 0x45210000);
});

Deno.test("a general purpose event raises the SCI while its enable bit is set, until cleared by writing 1", () => {
  const { host, ports, pm } = inAcpiMode();
  ports.write(GPE0_EN, 4, 1 << 17);
  pm.raiseGpe(16);
  assertEquals(host.high.has(9), false);
  pm.raiseGpe(17);
  assertEquals([ports.read(GPE0_STS, 4), host.high.has(9)], [0x30000, true]);
  ports.write(GPE0_STS + 2, 1, 0x02);
  assertEquals([ports.read(GPE0_STS, 4), host.high.has(9)], [0x10000, false]);
});

Deno.test("GPE0 has 64 events", () => {
  const { ports, pm } = inAcpiMode();
  pm.raiseGpe(63);
  ports.write(GPE0_EN + 4, 4, 0x80000001);
  assertEquals([ports.read(GPE0_STS + 4, 4), ports.read(GPE0_EN + 4, 4)], [0x80000000, 0x80000001]);
});

Deno.test("SMI_EN tells firmware that SMM is set up already, and can be read back", () => {
  const { ports } = inAcpiMode();
  assertEquals(ports.read(SMI_EN, 4), 0x20);
  ports.write(SMI_EN, 4, 0x80000021);
  assertEquals([ports.read(SMI_EN, 4), ports.read(SMI_EN + 4, 4)], [0x80000021, 0]);
});

Deno.test("what the block does not have reads as 0 and ignores writes", () => {
  const { ports } = inAcpiMode();
  for (const offset of [0x0c, 0x10, 0x14, 0x38, 0x50, 0x60, 0x7c]) {
    ports.write(PM + offset, 4, 0xffffffff);
    assertEquals(ports.read(PM + offset, 4), 0);
  }
});

Deno.test("a reset lowers the SCI and forgets events, enables and ACPI mode", () => {
  const { host, ports, pm } = inAcpiMode();
  ports.write(PM1_EN, 2, PWRBTN);
  pm.pressPowerButton();
  ports.write(SMI_EN, 4, 0);
  pm.reset();
  assertEquals(host.high.size, 0);
  assertEquals([ports.read(PM1_STS, 4), ports.read(PM1_CNT, 4), ports.read(SMI_EN, 4)], [0, 0, 0x20]);
});
