import { assertEquals } from "@std/assert";
import { Dcntl, Dstat, Istat0, Istat1, Reg, Sist0, Sist1 } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench, dataInTarget } from "./harness.ts";
import * as S from "./scripts_words.ts";

const GENERAL_TIMER = 1;
const EXPIRED = 125_000;

Deno.test("an INT sets DIP, and the pin where DIEN lets it; reading DSTAT takes both back", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, Dstat.SIR);
  bench.run([S.int(0)]);
  assertEquals(bench.pin, true);
  assertEquals(bench.read8(Reg.ISTAT0), Istat0.DIP);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  assertEquals(bench.pin, false);
  assertEquals(bench.read8(Reg.ISTAT0), 0);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE);
});

Deno.test("a masked fatal interrupt sets DIP or SIP and stops SCRIPTS, without the pin", () => {
  const bench = new Bench();
  bench.run([S.int(0)]);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [false, Istat0.DIP]);
  bench.write8(Reg.DIEN, Dstat.SIR);
  assertEquals(bench.pin, true, "the mask works on what is pending");
  bench.read8(Reg.DSTAT);
  bench.run([S.select(5), S.move(S.MESSAGE_OUT, 1, 0), S.int(1)]);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [false, Istat0.SIP]);
  assertEquals(bench.read8(Reg.ISTAT1) & Istat1.SRUN, 0);
  assertEquals(bench.read8(Reg.SIST1), Sist1.STO);
});

Deno.test("SIEN0 and SIEN1 work on SCSI interrupts that are pending", () => {
  const bench = new Bench();
  bench.write8(Reg.SCNTL1, 0x08);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [false, Istat0.SIP], "fatal");
  bench.write8(Reg.SIEN0, Sist0.RST);
  assertEquals(bench.pin, true);
  bench.write8(Reg.SIEN0, 0);
  assertEquals(bench.pin, false);
  bench.read16(Reg.SIST0);
  bench.write8(Reg.STIME1, GENERAL_TIMER);
  bench.clock.advance(EXPIRED);
  assertEquals(bench.read8(Reg.ISTAT0), 0, "nonfatal");
  bench.write8(Reg.SIEN1, Sist1.GEN);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [true, Istat0.SIP]);
  bench.write8(Reg.SIEN1, 0);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [false, 0]);
});

Deno.test("a masked nonfatal interrupt is only posted: no SIP, no stop", () => {
  const bench = new Bench();
  bench.run([S.waitReselect(0)]);
  bench.write8(Reg.STIME1, GENERAL_TIMER);
  bench.clock.advance(EXPIRED);
  assertEquals(bench.read8(Reg.ISTAT0), 0);
  assertEquals(bench.read8(Reg.ISTAT1) & Istat1.SRUN, Istat1.SRUN);
  assertEquals(bench.read16(Reg.SIST0), Sist1.GEN << 8);
  assertEquals(bench.read16(Reg.SIST0), 0);
});

Deno.test("an unmasked nonfatal interrupt sets SIP and the pin, and stops SCRIPTS", () => {
  const bench = new Bench();
  bench.write8(Reg.SIEN1, Sist1.GEN);
  bench.run([S.waitReselect(0)]);
  bench.write8(Reg.STIME1, GENERAL_TIMER);
  bench.clock.advance(EXPIRED);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [true, Istat0.SIP]);
  assertEquals(bench.read8(Reg.ISTAT1) & Istat1.SRUN, 0);
});

Deno.test("interrupts stack up behind one that has not been read", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, Dstat.SIR);
  bench.write8(Reg.SIEN0, Sist0.RST);
  bench.run([S.int(0)]);
  bench.write8(Reg.SCNTL1, 0x08);
  assertEquals(bench.read8(Reg.ISTAT0), Istat0.DIP, "RST waits behind SIR");
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  assertEquals([bench.read8(Reg.ISTAT0), bench.pin], [Istat0.SIP, true]);
  assertEquals(bench.read16(Reg.SIST0), Sist0.RST);
  assertEquals([bench.read8(Reg.ISTAT0), bench.pin], [0, false]);
});

Deno.test("a word read of SIST0 and SIST1 takes one level of the stack", () => {
  const bench = new Bench();
  bench.run([S.select(5), S.move(S.MESSAGE_OUT, 1, 0)]);
  bench.write8(Reg.SCNTL1, 0x08);
  assertEquals(bench.read16(Reg.SIST0), Sist1.STO << 8);
  assertEquals(bench.read16(Reg.SIST0), Sist0.RST);
  assertEquals(bench.read16(Reg.SIST0), 0);
});

Deno.test("several interrupts behind the first come up together", () => {
  const bench = new Bench();
  bench.run([S.int(0)]);
  bench.write8(Reg.SCNTL1, 0x08);
  bench.write8(Reg.ISTAT0, Istat0.ABRT);
  bench.write8(Reg.ISTAT0, 0);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SIR);
  assertEquals(bench.read8(Reg.ISTAT0), Istat0.SIP | Istat0.DIP);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.ABRT);
  assertEquals(bench.read8(Reg.SIST0), Sist0.RST);
});

Deno.test("a masked nonfatal interrupt does not make others stack", () => {
  const bench = new Bench();
  bench.write8(Reg.STIME1, GENERAL_TIMER);
  bench.clock.advance(EXPIRED);
  bench.write8(Reg.SCNTL1, 0x08);
  assertEquals(bench.read16(Reg.SIST0), (Sist1.GEN << 8) | Sist0.RST);
});

Deno.test("INTF is cleared by writing one, not by writing zero, and leaves other ISTAT0 bits as written", () => {
  const bench = new Bench();
  bench.run([S.intfly(), S.waitReselect(0)]);
  bench.write8(Reg.ISTAT0, Istat0.SEM);
  assertEquals([bench.read8(Reg.ISTAT0), bench.pin], [Istat0.SEM | Istat0.INTF, true]);
  bench.write8(Reg.ISTAT0, Istat0.SEM | Istat0.INTF);
  assertEquals([bench.read8(Reg.ISTAT0), bench.pin], [Istat0.SEM, false]);
});

Deno.test("IRQD takes the pin down", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, Dstat.SIR);
  bench.write8(Reg.DCNTL, Dcntl.IRQD);
  bench.run([S.int(0)]);
  assertEquals(bench.pin, false);
  bench.write8(Reg.DCNTL, 0);
  assertEquals(bench.pin, true);
  bench.write8(Reg.DCNTL, Dcntl.IRQD);
  assertEquals(bench.pin, false);
});

Deno.test("ISTAT1.SI leaves an interrupt that is out until it is served, and keeps later ones in", () => {
  const bench = new Bench();
  bench.write8(Reg.DIEN, Dstat.SIR);
  bench.run([S.int(0)]);
  bench.write8(Reg.ISTAT1, Istat1.SI);
  assertEquals(bench.pin, true);
  bench.read8(Reg.DSTAT);
  bench.run([S.int(1)]);
  assertEquals(bench.pin, false);
  bench.write8(Reg.ISTAT1, 0);
  assertEquals(bench.pin, true);
});

Deno.test("ABRT stops SCRIPTS with an interrupt and stays set until it is cleared", () => {
  const bench = new Bench();
  bench.run([S.waitReselect(0)]);
  bench.write8(Reg.ISTAT0, Istat0.ABRT);
  assertEquals(bench.read8(Reg.ISTAT0), Istat0.ABRT | Istat0.DIP);
  assertEquals(bench.read8(Reg.ISTAT1) & Istat1.SRUN, 0);
  bench.write8(Reg.ISTAT0, 0);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.ABRT);
});

Deno.test("in single-step mode every instruction ends with SSI, also one that had to wait", () => {
  const bench = new Bench();
  const target = dataInTarget([]);
  bench.targets.set(0, target);
  bench.write8(Reg.DCNTL, Dcntl.SSM);
  bench.run([S.nop(), S.waitReselect(0), S.nop()]);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SSI);
  bench.write8(Reg.DCNTL, Dcntl.SSM | Dcntl.STD);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE);
  bench.write8(Reg.ISTAT0, Istat0.SIGP);
  assertEquals(bench.read8(Reg.DSTAT), Dstat.DFE | Dstat.SSI);
  assertEquals(bench.read32(Reg.DSP), 0);
});

Deno.test("a chip that takes another's place says that the SCSI bus was reset, with an interrupt that the driver need not have enabled", () => {
  const bench = new Bench();
  bench.device.restarted();
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [true, Istat0.SIP]);
  assertEquals(bench.read8(Reg.SIST0), Sist0.RST);
  assertEquals([bench.pin, bench.read8(Reg.ISTAT0)], [false, 0]);
});
