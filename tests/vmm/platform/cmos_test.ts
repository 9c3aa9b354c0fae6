/** CMOS RAM and real-time clock, against Motorola's MC146818A data sheet. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Cmos, CmosState } from "../../../src/vmm/platform/cmos.ts";
import { cmosContents } from "../../../src/vmm/platform/cmos_contents.ts";
import { RecordingHost } from "../support/q35.ts";

const GSI = 8;
const [SECONDS, MINUTES, HOURS, DATE, MONTH, YEAR, CENTURY] = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32];
const [SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM] = [0x01, 0x03, 0x05];
const [A, B, C, D] = [0x0a, 0x0b, 0x0c, 0x0d];

const SET = 0x80;
const [PIE, AIE, UIE] = [0x40, 0x20, 0x10];
const H24 = 0x02;
const DIVIDER_RESET = 0x70;
const START = Date.UTC(2024, 1, 28, 23, 59, 50);

/** Machine time and wall clock go together, unless the host's clock is set. */
class ClockHost extends RecordingHost {
  wall = START;
  override wallClock(): number {
    return this.wall;
  }
  pass(milliseconds: number): void {
    this.wall += milliseconds;
    this.time += milliseconds * 1e6;
  }
}

function createClock(options: { offset?: number } = {}) {
  const host = new ClockHost();
  const state = CmosState.allocate({ shared: true });
  const cmos = new Cmos({ state, host, gsi: GSI });
  cmos.powerOn(new Map(), options.offset);
  const write = (address: number, value: number) => {
    cmos.write(0, 1, address);
    cmos.write(1, 1, value);
  };
  const read = (address: number) => {
    cmos.write(0, 1, address);
    return cmos.read(1, 1);
  };
  /** Lets time pass, in steps in which the machine's timer thread runs. */
  const run = (milliseconds: number) => {
    const end = host.time + milliseconds * 1e6;
    for (
      let deadline = cmos.nextDeadline();
      deadline !== undefined && deadline <= end;
      deadline = cmos.nextDeadline()
    ) {
      host.pass((deadline - host.time) / 1e6);
      cmos.expire(host.time);
    }
    host.pass((end - host.time) / 1e6);
  };
  const time = () => [CENTURY, YEAR, MONTH, DATE, HOURS, MINUTES, SECONDS].map((register) => read(register));
  return { host, state, cmos, read, write, run, time, asserted: () => host.high.has(GSI) };
}

Deno.test("the clock shows the host's time in BCD and 24 hours", () => {
  const { time } = createClock();
  assertEquals(time(), [0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x50]);
});

Deno.test("the clock goes on, over the end of a day and into a leap day", () => {
  const { host, time } = createClock();
  host.pass(15_000);
  assertEquals(time(), [0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x05]);
});

Deno.test("an offset makes it local time", () => {
  const { read } = createClock({ offset: 3600_000 });
  assertEquals([read(HOURS), read(DATE)], [0x00, 0x29]);
});

Deno.test("the index register has 7 bits: bit 7 is the NMI mask", () => {
  const { cmos } = createClock();
  cmos.write(0, 1, 0x80 | YEAR);
  assertEquals(cmos.read(1, 1), 0x24);
});

Deno.test("port 0x70 cannot be read", () => {
  const { cmos } = createClock();
  assertEquals(cmos.read(0, 1), 0xff);
});

Deno.test("a 16-bit write to port 0x70 sets index and data", () => {
  const { cmos, read } = createClock();
  cmos.write(0, 2, 0x5a40);
  assertEquals(read(0x40), 0x5a);
});

Deno.test("SET stops the clock, and the guest sets the time that goes on from there", () => {
  const { host, write, time } = createClock();
  write(B, SET | H24);
  for (const [register, value] of [[CENTURY, 0x19], [YEAR, 0x99], [MONTH, 0x12], [DATE, 0x31]]) write(register, value);
  for (const [register, value] of [[HOURS, 0x23], [MINUTES, 0x59], [SECONDS, 0x59]]) write(register, value);
  host.pass(5_000);
  assertEquals(time(), [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59]);
  write(B, H24);
  host.pass(1_000);
  assertEquals(time(), [0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]);
});

Deno.test("a register written while the clock runs changes the time at once", () => {
  const { host, write, read } = createClock();
  write(HOURS, 0x05);
  host.pass(10_000);
  assertEquals([read(HOURS), read(MINUTES), read(DATE)], [0x06, 0x00, 0x28]);
});

Deno.test("the first update comes half a second after the divider chain leaves reset", () => {
  const { host, write, read } = createClock();
  write(A, DIVIDER_RESET);
  write(SECONDS, 0x10);
  host.pass(3_000);
  write(A, 0x26);
  host.pass(499);
  assertEquals(read(SECONDS), 0x10);
  host.pass(1);
  assertEquals(read(SECONDS), 0x11);
});

Deno.test("as Linux sets the time: SET, divider reset, registers, SET off, divider on", () => {
  const { host, write, read } = createClock();
  write(B, SET | H24);
  write(A, 0x26 | DIVIDER_RESET);
  write(MINUTES, 0x30);
  write(SECONDS, 0x00);
  write(B, H24);
  write(A, 0x26);
  host.pass(1_500);
  assertEquals([read(MINUTES), read(SECONDS)], [0x30, 0x02]);
});

Deno.test("data mode and 24/12 change how the time is shown", () => {
  const { write, read } = createClock();
  write(B, 0x04 | H24);
  assertEquals([read(HOURS), read(MINUTES)], [23, 59]);
  write(B, 0x00);
  assertEquals(read(HOURS), 0x91);
});

Deno.test("UIP rises 2228 µs before an update, so that a guest that saw it low has 244 µs", () => {
  const { host, read, write } = createClock();
  host.pass(997);
  assertEquals(read(A), 0x26);
  host.pass(1);
  assertEquals(read(A), 0xa6);
  host.pass(2);
  assertEquals(read(A), 0x26);
  host.pass(998);
  write(B, SET | H24);
  assertEquals(read(A), 0x26);
});

Deno.test("register C shows what has happened and is cleared by reading", () => {
  const { host, read } = createClock();
  read(C);
  host.pass(1_000);
  assertEquals(read(C), 0x50);
  assertEquals(read(C), 0x00);
});

Deno.test("registers C and D ignore writes, and D says that time and RAM are valid", () => {
  const { read, write } = createClock();
  read(C);
  write(C, 0xff);
  write(D, 0x00);
  assertEquals([read(C), read(D)], [0x00, 0x80]);
});

Deno.test("the update-ended interrupt comes each second, and reading C takes it back", () => {
  const { run, read, write, asserted } = createClock();
  read(C);
  write(B, H24 | UIE);
  run(999);
  assertEquals(asserted(), false);
  run(1);
  assertEquals(asserted(), true);
  assertEquals(read(C) & 0x90, 0x90);
  assertEquals(asserted(), false);
  run(1_000);
  assertEquals(asserted(), true);
});

Deno.test("enabling an interrupt whose flag is set raises it at once", () => {
  const { host, write, read, asserted } = createClock();
  host.pass(1_000);
  write(B, H24 | UIE);
  assertEquals(asserted(), true);
  assertEquals(read(C) & 0x80, 0x80);
});

Deno.test("setting SET clears UIE", () => {
  const { write, read } = createClock();
  write(B, H24 | UIE);
  write(B, SET | H24 | UIE);
  assertEquals(read(B), SET | H24);
});

Deno.test("the alarm goes off when hours, minutes and seconds match", () => {
  const { run, read, write, asserted } = createClock();
  for (const [register, value] of [[HOURS_ALARM, 0x00], [MINUTES_ALARM, 0x01], [SECONDS_ALARM, 0x30]]) {
    write(register, value);
  }
  read(C);
  write(B, H24 | AIE);
  run(99_999);
  assertEquals(asserted(), false);
  run(1);
  assertEquals(asserted(), true);
  assertEquals(read(C) & 0xa0, 0xa0);
});

Deno.test("don't-care alarm bytes make the alarm go off every minute", () => {
  const { run, read, write, asserted } = createClock();
  for (const [register, value] of [[HOURS_ALARM, 0xff], [MINUTES_ALARM, 0xc0], [SECONDS_ALARM, 0x00]]) {
    write(register, value);
  }
  read(C);
  write(B, H24 | AIE);
  run(10_000);
  assertEquals(asserted(), true);
  read(C);
  run(59_999);
  assertEquals(asserted(), false);
  run(1);
  assertEquals(asserted(), true);
});

Deno.test("an alarm is noticed after the host's clock was set forward", () => {
  const { host, run, read, write, asserted } = createClock();
  for (const [register, value] of [[HOURS_ALARM, 0x12], [MINUTES_ALARM, 0x00], [SECONDS_ALARM, 0x00]]) {
    write(register, value);
  }
  read(C);
  write(B, H24 | AIE);
  host.wall += 13 * 3600_000;
  run(61_000);
  assertEquals(asserted(), true);
});

// Table 5, for a crystal of 32.768 kHz.
const RATES = [[1, 256], [2, 128], [3, 8192], [4, 4096], [5, 2048], [6, 1024], [7, 512], [8, 256], [15, 2]];
for (const [rate, hertz] of RATES) {
  Deno.test(`rate ${rate} interrupts ${hertz} times a second`, () => {
    const { host, run, read, write, asserted } = createClock();
    write(A, 0x20 | rate);
    read(C);
    write(B, H24 | PIE);
    const period = 1000 / hertz;
    run(period * 0.99);
    assertEquals(asserted(), false);
    run(period * 0.02);
    assertEquals(asserted(), true);
    assertEquals(read(C) & 0xc0, 0xc0);
    assertEquals(Math.abs(host.time / 1e6 + 0.99 * period - 2 * period) < period * 0.011, true);
    run(period);
    assertEquals(asserted(), true);
  });
}

Deno.test("rate 0 never interrupts", () => {
  const { cmos, write } = createClock();
  write(A, 0x20);
  write(B, H24 | PIE);
  assertEquals(cmos.nextDeadline(), undefined);
});

Deno.test("the periodic timer rests while the guest does not read C, and goes on when it does", () => {
  const { cmos, run, read, write } = createClock();
  read(C);
  write(B, H24 | PIE);
  run(10);
  assertEquals(cmos.nextDeadline(), undefined);
  read(C);
  assertEquals(cmos.nextDeadline() !== undefined, true);
});

Deno.test("no timer runs while no interrupt is enabled", () => {
  const { cmos } = createClock();
  assertEquals(cmos.nextDeadline(), undefined);
});

Deno.test("a reset clears interrupt enables and flags, and keeps time, format and RAM", () => {
  const { cmos, host, read, write, time, asserted } = createClock();
  write(0x40, 0x77);
  write(HOURS, 0x12);
  host.pass(2_000);
  write(B, 0x04 | H24 | UIE | AIE | PIE | 0x08);
  assertEquals(asserted(), true);
  cmos.reset();
  assertEquals([asserted(), read(B), read(C), read(A), read(0x40)], [false, 0x06, 0x00, 0x26, 0x77]);
  assertEquals(time().slice(4), [12, 59, 52]);
});

Deno.test("RAM bytes hold what is written, the shutdown status among them", () => {
  const { read, write } = createClock();
  for (let address = 0x0e; address < 0x80; address++) if (address !== CENTURY) write(address, address ^ 0xff);
  for (let address = 0x0e; address < 0x80; address++) {
    if (address !== CENTURY) assertEquals(read(address), address ^ 0xff);
  }
});

Deno.test("firmware finds memory sizes, boot order and CPU count where QEMU puts them", () => {
  const contents = cmosContents({ lowRam: 0x8000_0000, highRam: 0x1_8000_0000, cpus: 4, bootOrder: "dcn" });
  const word = (address: number) => contents.get(address)! | contents.get(address + 1)! << 8;
  assertEquals(word(0x15), 640);
  assertEquals([word(0x17), word(0x30)], [65535, 65535]);
  assertEquals(word(0x34), (0x8000_0000 - 0x100_0000) / 0x1_0000);
  assertEquals([contents.get(0x5b), contents.get(0x5c), contents.get(0x5d)], [0x00, 0x80, 0x01]);
  assertEquals(contents.get(0x5f), 3);
  assertEquals([contents.get(0x3d), contents.get(0x38)], [0x23, 0x40]);
});

Deno.test("a machine of 8 MiB has no memory above 16 MiB", () => {
  const contents = cmosContents({ lowRam: 0x80_0000, highRam: 0, cpus: 1 });
  assertEquals([contents.get(0x30), contents.get(0x31)], [0x00, 0x1c]);
  assertEquals([contents.get(0x34), contents.get(0x35)], [0, 0]);
});

Deno.test("no sequence of accesses throws", () => {
  const access = fc.record({
    write: fc.boolean(),
    offset: fc.constantFrom(0, 1),
    size: fc.constantFrom(1, 2, 4),
    value: fc.nat(0xffff_ffff),
    pass: fc.nat(3_000),
    jump: fc.integer({ min: -1e6, max: 1e6 }),
  });
  fc.assert(fc.property(fc.array(access, { maxLength: 200 }), (accesses) => {
    const { cmos, host } = createClock();
    for (const { write, offset, size, value, pass, jump } of accesses) {
      host.pass(pass);
      if (jump % 10 === 0) host.wall += jump;
      const deadline = cmos.nextDeadline();
      assertEquals(deadline === undefined || Number.isSafeInteger(deadline), true);
      if (deadline !== undefined && deadline <= host.time) cmos.expire(host.time);
      if (write) cmos.write(offset, size, value);
      else assertEquals(cmos.read(offset, size) < 2 ** (8 * size), true);
    }
  }));
});
