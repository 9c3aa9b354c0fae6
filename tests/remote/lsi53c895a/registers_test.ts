import { assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { Ctest2, Dcntl, Istat0, Reg, Scntl1, Sist0, Sstat0 } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench, FakeTarget, RAM_BASE, REGISTERS_BASE } from "./harness.ts";
import * as S from "./scripts_words.ts";

Deno.test("the function has the identity of an LSI53C895A on a board without a serial EEPROM", () => {
  const { config } = new Bench().device;
  assertEquals(config.read(PciConfig.VENDOR_ID, 2), 0x1000);
  assertEquals(config.read(PciConfig.DEVICE_ID, 2), 0x0012);
  assertEquals(config.read(PciConfig.REVISION_ID, 4), 0x01000000);
  assertEquals(config.read(PciConfig.SUBSYSTEM_VENDOR_ID, 4), 0x10001000);
  assertEquals(config.read(PciConfig.INTERRUPT_PIN, 1), 1);
});

Deno.test("the function is as fast on the bus, and as much in need of it, as the chip", () => {
  const { config } = new Bench().device;
  assertEquals(config.read(PciConfig.STATUS, 2), 0x0200, "DEVSEL# with medium timing, no capabilities");
  assertEquals(config.read(PciConfig.LATENCY_TIMER, 1), 0, "software sets it");
  assertEquals([config.read(PciConfig.MIN_GNT, 1), config.read(PciConfig.MAX_LAT, 1)], [17, 64]);
  config.write(PciConfig.LATENCY_TIMER, 1, 0x48);
  assertEquals(config.read(PciConfig.LATENCY_TIMER, 1), 0x48);
  config.write(PciConfig.STATUS, 2, 0xffff);
  assertEquals(config.read(PciConfig.STATUS, 2), 0x0200);
});

Deno.test("memory write and invalidate can be enabled, as drivers for this chip do", () => {
  const { config } = new Bench().device;
  config.write(PciConfig.COMMAND, 2, 0xffff);
  assertEquals(config.read(PciConfig.COMMAND, 2) & 0x0157, 0x0157);
});

Deno.test("its BARs are 256 bytes of I/O, 1 KiB and 8 KiB of memory", () => {
  const { config } = new Bench().device;
  for (let bar = 0; bar < 6; bar++) config.write(PciConfig.BAR0 + 4 * bar, 4, 0xffffffff);
  const sizes = [0, 1, 2, 3, 4, 5].map((bar) => config.read(PciConfig.BAR0 + 4 * bar, 4));
  assertEquals(sizes, [0xffffff01, 0xfffffc00, 0xffffe000, 0, 0, 0]);
});

Deno.test("registers have their reset values", () => {
  const bench = new Bench();
  const expected: readonly (readonly [register: number, value: number])[] = [
    [Reg.SCNTL0, 0xc0],
    [Reg.SCNTL1, 0x00],
    [Reg.SCID, 0x07],
    [Reg.DSTAT, 0x80],
    [Reg.SSTAT0, 0x00],
    [Reg.SSTAT2, 0x02],
    [Reg.ISTAT0, 0x00],
    [Reg.ISTAT1, 0x00],
    [Reg.CTEST1, 0xf0],
    [Reg.CTEST2, 0x31],
    [Reg.CTEST4, 0x00],
    [Reg.DMODE, 0x00],
    [Reg.DCNTL, 0x00],
    [Reg.SIST0, 0x00],
    [Reg.SIST1, 0x00],
    [Reg.MACNTL, 0x0f],
    [Reg.GPCNTL, 0x0f],
    [Reg.STEST0, 0x03],
    [Reg.STEST4, 0xe0],
  ];
  assertEquals(expected.map(([register]) => [register, bench.read8(register)]), expected);
});

Deno.test("a register is readable and writable at every width, in both register BARs", () => {
  const { device } = new Bench();
  device.writeBar(1, Reg.SCRATCHA, 4, 0x44332211);
  assertEquals(device.readBar(0, Reg.SCRATCHA, 4), 0x44332211);
  assertEquals(device.readBar(0, Reg.SCRATCHA + 1, 2), 0x3322);
  assertEquals(device.readBar(1, Reg.SCRATCHA + 3, 1), 0x44);
  device.writeBar(0, Reg.SCRATCHA + 2, 2, 0xbeef);
  device.writeBar(0, Reg.SCRATCHA, 1, 0xaa);
  assertEquals(device.readBar(1, Reg.SCRATCHA, 4), 0xbeef22aa);
});

Deno.test("the memory BAR repeats the registers every 256 bytes", () => {
  const { device } = new Bench();
  device.writeBar(1, 0x300 + Reg.SCRATCHB, 4, 0xdeadbeef);
  assertEquals(device.readBar(1, 0x100 + Reg.SCRATCHB, 4), 0xdeadbeef);
});

Deno.test("a dword access reaches registers of one byte, with their write masks", () => {
  const bench = new Bench();
  bench.write32(Reg.SIEN0, 0xffffffff);
  assertEquals(bench.read32(Reg.SIEN0), 0x000017ff);
  bench.write32(Reg.DSTAT, 0xffffffff);
  assertEquals(bench.read32(Reg.DSTAT), 0x02000080, "read-only registers stay as they were");
});

Deno.test("the scratch registers C to R, the selectors and the phase mismatch registers hold what is written", () => {
  const bench = new Bench();
  const registers = [
    ...Array.from({ length: 16 }, (_, i) => Reg.SCRATCHC + 4 * i),
    ...[Reg.MMRS, Reg.MMWS, Reg.SFS, Reg.DRS, Reg.SBMS, Reg.DBMS, Reg.DNAD64],
    ...[Reg.PMJAD1, Reg.PMJAD2, Reg.RBC, Reg.UA, Reg.ESA, Reg.IA, Reg.CSBC],
  ];
  registers.forEach((register, i) => bench.write32(register, 0xa5000000 + i));
  assertEquals(registers.map((register) => bench.read32(register)), registers.map((_, i) => 0xa5000000 + i));
});

Deno.test("SCRIPTS RAM is readable and writable at every width", () => {
  const { device } = new Bench();
  device.writeBar(2, 0x1ffc, 4, 0x04030201);
  device.writeBar(2, 0x1ffd, 1, 0xff);
  device.writeBar(2, 0x1ffe, 2, 0xabcd);
  assertEquals(device.readBar(2, 0x1ffc, 4), 0xabcdff01);
  assertEquals(device.readBar(2, 0x1ffe, 2), 0xabcd);
  assertEquals(device.readBar(2, 0x1fff, 1), 0xab);
});

Deno.test("reading CTEST2 shows SIGP and takes it away from ISTAT0", () => {
  const bench = new Bench();
  bench.write8(Reg.ISTAT0, Istat0.SIGP);
  assertEquals(bench.read8(Reg.ISTAT0), Istat0.SIGP);
  assertEquals(bench.read8(Reg.CTEST2) & Ctest2.SIGP, Ctest2.SIGP);
  assertEquals(bench.read8(Reg.CTEST2) & Ctest2.SIGP, 0);
  assertEquals(bench.read8(Reg.ISTAT0), 0);
});

Deno.test("CTEST2.PCICIE shows the base addresses in SCRATCHA and SCRATCHB without losing their contents", () => {
  const bench = new Bench();
  bench.write32(Reg.SCRATCHA, 0x11111111);
  bench.write32(Reg.SCRATCHB, 0x22222222);
  bench.write8(Reg.CTEST2, Ctest2.PCICIE);
  assertEquals([bench.read32(Reg.SCRATCHA), bench.read32(Reg.SCRATCHB)], [REGISTERS_BASE, RAM_BASE]);
  bench.write8(Reg.CTEST2, 0);
  assertEquals([bench.read32(Reg.SCRATCHA), bench.read32(Reg.SCRATCHB)], [0x11111111, 0x22222222]);
});

Deno.test("CTEST2 says which spaces the registers are mapped in", () => {
  const bench = new Bench();
  bench.configWrite(PciConfig.COMMAND, 2, PciCommand.IO);
  assertEquals(bench.read8(Reg.CTEST2) & (Ctest2.CIO | Ctest2.CM), Ctest2.CIO);
  bench.configWrite(PciConfig.COMMAND, 2, PciCommand.MEMORY);
  assertEquals(bench.read8(Reg.CTEST2) & (Ctest2.CIO | Ctest2.CM), Ctest2.CM);
});

Deno.test("DFIFO and CTEST5 follow DBC, so that the DMA FIFO is found empty", () => {
  const bench = new Bench();
  bench.write32(Reg.DBC, 0x00000345);
  assertEquals(bench.read8(Reg.DFIFO), 0x45);
  assertEquals(bench.read8(Reg.CTEST5) & 3, 3);
});

Deno.test("GPIO pins read high as inputs and as written as outputs", () => {
  const bench = new Bench();
  bench.write8(Reg.GPREG, 0x00);
  assertEquals(bench.read8(Reg.GPREG), 0x0f);
  bench.write8(Reg.GPCNTL, 0x0e);
  assertEquals(bench.read8(Reg.GPREG), 0x0e);
  bench.write8(Reg.GPREG, 0x11);
  assertEquals(bench.read8(Reg.GPREG), 0x1f);
});

Deno.test("bits that clear themselves read as zero", () => {
  const bench = new Bench();
  bench.write8(Reg.CTEST3, 0xff);
  assertEquals(bench.read8(Reg.CTEST3), 0x0b, "CLF");
  bench.write8(Reg.STEST3, 0xff);
  assertEquals(bench.read8(Reg.STEST3), 0xfd, "CSF");
  bench.write8(Reg.DCNTL, 0x40);
  assertEquals(bench.read8(Reg.DCNTL), 0x00, "PFF");
  bench.write8(Reg.SCNTL2, 0x09);
  assertEquals(bench.read8(Reg.SCNTL2), 0x00, "WSS and WSR");
});

Deno.test("SCNTL1.RST resets the targets once, shows in SSTAT0 while it is set, and interrupts", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(3, target);
  bench.write8(Reg.SIEN0, Sist0.RST);
  bench.write8(Reg.SCNTL1, Scntl1.RST);
  bench.write8(Reg.SCNTL1, Scntl1.RST);
  assertEquals(target.resets, 1);
  assertEquals(bench.read8(Reg.SSTAT0) & Sstat0.RST, Sstat0.RST);
  assertEquals(bench.read32(Reg.SBCL) & 0xff, 0);
  assertEquals(bench.pin, true);
  bench.write8(Reg.SCNTL1, 0);
  assertEquals(bench.read8(Reg.SSTAT0) & Sstat0.RST, 0);
  assertEquals(bench.read8(Reg.SIST0), Sist0.RST);
  assertEquals(bench.pin, false);
});

Deno.test("a soft reset puts registers back but not SCRIPTS RAM, config space, DCNTL.COM or targets", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  bench.write32(Reg.SCRATCHA, 0x12345678);
  bench.write8(Reg.DCNTL, Dcntl.COM | Dcntl.SSM);
  bench.device.writeBar(2, 0, 4, 0xcafebabe);
  bench.write8(Reg.ISTAT0, Istat0.SRST);
  assertEquals(bench.read32(Reg.SCRATCHA), 0);
  assertEquals(bench.read8(Reg.DCNTL), Dcntl.COM);
  assertEquals(bench.read8(Reg.ISTAT0), 0, "firmware that never clears SRST finds a chip that runs");
  assertEquals(bench.device.readBar(2, 0, 4), 0xcafebabe);
  assertEquals(bench.device.config.mappings().length, 3);
  assertEquals(target.resets, 0);
});

Deno.test("a PCI reset is a power-on: config space, registers, SCRIPTS RAM, targets and pin", () => {
  const bench = new Bench();
  const target = new FakeTarget();
  bench.targets.set(0, target);
  bench.write8(Reg.DIEN, 0x04);
  bench.write8(Reg.DCNTL, Dcntl.COM);
  bench.run([S.int(1)]);
  assertEquals(bench.pin, true);
  bench.device.reset();
  assertEquals(bench.pin, false);
  assertEquals(bench.device.config.mappings(), []);
  assertEquals(bench.device.readBar(2, 0, 4), 0);
  assertEquals(bench.read8(Reg.DCNTL), 0);
  assertEquals(target.resets, 1);
});
