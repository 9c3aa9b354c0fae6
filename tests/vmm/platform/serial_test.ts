/** The 16550A UART, against the PC16550D data sheet. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { INPUT_RING_SIZE, SerialPort, SerialState } from "../../../src/vmm/platform/serial.ts";
import { RecordingHost } from "../support/q35.ts";

const GSI = 4;
const [RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];
const [THR, FCR] = [0, 2];

const FIFO_TRIGGER_8 = 0x81;
const FIFO_TRIGGER_14 = 0xc1;
const OUT2 = 0x08;
const LOOPBACK = 0x10;
/** 115200 bit/s, 8N1: ten bits a character. */
const CHARACTER_TIME = 10 * 1e9 / 115200;

function createPort() {
  const host = new RecordingHost();
  const state = SerialState.allocate({ shared: true });
  const sent: number[] = [];
  const drained: number[] = [];
  const port = new SerialPort({
    state,
    host,
    gsi: GSI,
    transmit: (byte) => sent.push(byte),
    inputDrained: () => drained.push(host.time),
  });
  port.reset();
  return {
    host,
    state,
    port,
    sent,
    drained,
    read: (register: number) => port.read(register, 1),
    write: (register: number, value: number) => port.write(register, 1, value),
    type: (text: string) => port.receive(new TextEncoder().encode(text)),
    asserted: () => host.high.has(GSI),
  };
}

/** As drivers set a port up: 115200 8N1, FIFOs, all interrupts, OUT2. */
function createDrivenPort(fcr = FIFO_TRIGGER_8) {
  const driven = createPort();
  driven.write(LCR, 0x83);
  driven.write(0, 1);
  driven.write(1, 0);
  driven.write(LCR, 0x03);
  driven.write(FCR, fcr);
  driven.write(MCR, 0x03 | OUT2);
  driven.write(IER, 0x0d);
  return driven;
}

function readText({ read }: ReturnType<typeof createPort>): string {
  let text = "";
  while (read(LSR) & 1) text += String.fromCharCode(read(RBR));
  return text;
}

Deno.test("a reset gives the values of the data sheet's table I", () => {
  const { read } = createPort();
  assertEquals([IER, IIR, LCR, MCR, LSR].map(read), [0x00, 0x01, 0x00, 0x00, 0x60]);
  assertEquals(read(MSR) & 0x0f, 0);
});

Deno.test("a byte written to THR is sent, and THR is empty again at once", () => {
  const { read, write, sent } = createPort();
  write(THR, 0x41);
  assertEquals(read(LSR) & 0x60, 0x60);
  write(THR, 0x42);
  assertEquals(sent, [0x41, 0x42]);
});

Deno.test("bits that the chip lacks read as zero: IER 7:4, MCR 7:5", () => {
  const { read, write } = createPort();
  write(IER, 0xff);
  write(MCR, 0xff);
  assertEquals([read(IER), read(MCR)], [0x0f, 0x1f]);
});

Deno.test("LCR and the scratchpad hold what is written", () => {
  const { read, write } = createPort();
  write(LCR, 0x1b);
  write(SCR, 0xa5);
  assertEquals([read(LCR), read(SCR)], [0x1b, 0xa5]);
});

Deno.test("DLAB puts the divisor in place of RBR, THR and IER", () => {
  const { read, write, sent } = createPort();
  write(IER, 0x05);
  write(LCR, 0x80);
  write(0, 0x34);
  write(1, 0x12);
  assertEquals([read(0), read(1)], [0x34, 0x12]);
  write(LCR, 0x00);
  assertEquals(read(IER), 0x05);
  assertEquals(sent, []);
});

Deno.test("IIR bits 7:6 say that FIFOs are on, as drivers tell a 16550A from a 16450", () => {
  const { read, write } = createPort();
  assertEquals(read(IIR) & 0xc0, 0x00);
  write(FCR, 0x01);
  assertEquals(read(IIR) & 0xc0, 0xc0);
  write(FCR, 0x00);
  assertEquals(read(IIR) & 0xc0, 0x00);
});

Deno.test("FCR's trigger level is not programmed while bit 0 is clear", () => {
  const port = createDrivenPort(FIFO_TRIGGER_14);
  port.write(FCR, 0x00);
  port.write(FCR, 0x01);
  port.type("x");
  assertEquals(port.read(IIR), 0xc4);
});

Deno.test("characters arrive in order and DR falls with the last", () => {
  const port = createDrivenPort();
  assertEquals(port.type("hello"), 5);
  assertEquals(readText(port), "hello");
  assertEquals(port.read(LSR), 0x60);
});

Deno.test("RBR keeps the last character when there is no other", () => {
  const port = createDrivenPort();
  port.type("q");
  port.read(RBR);
  assertEquals(port.read(RBR), 0x71);
});

Deno.test("without FIFOs one character raises the received data interrupt, and reading it takes that back", () => {
  const port = createDrivenPort(0);
  port.type("a");
  assertEquals([port.read(IIR), port.asserted()], [0x04, true]);
  port.read(RBR);
  assertEquals([port.read(IIR), port.asserted()], [0x01, false]);
});

for (const [bits, level] of [[0x01, 1], [0x41, 4], [0x81, 8], [0xc1, 14]]) {
  Deno.test(`the FIFO interrupts at its trigger level of ${level}`, () => {
    const port = createDrivenPort(bits);
    port.type("x".repeat(level - 1));
    assertEquals(port.asserted(), false);
    port.type("x");
    assertEquals([port.read(IIR), port.asserted()], [0xc4, true]);
  });
}

Deno.test("the received data interrupt goes when the FIFO drops below its trigger level", () => {
  const port = createDrivenPort(FIFO_TRIGGER_8);
  port.type("x".repeat(9));
  port.read(RBR);
  assertEquals(port.asserted(), true);
  port.read(RBR);
  assertEquals(port.asserted(), false);
});

Deno.test("characters below the trigger level time out after four character times", () => {
  const port = createDrivenPort();
  port.type("ab");
  const deadline = port.port.nextDeadline()!;
  assertEquals(Math.abs(deadline - 4 * CHARACTER_TIME) < 4, true);
  port.host.time = deadline;
  port.port.expire(deadline);
  assertEquals([port.read(IIR), port.asserted()], [0xcc, true]);
});

Deno.test("the time-out follows divisor, word length, parity and stop bits", () => {
  const port = createDrivenPort();
  port.write(LCR, 0x80 | 0x0f);
  port.write(0, 12);
  port.write(LCR, 0x0f);
  port.type("a");
  const twelveBitsAt9600 = 12 * 1e9 / 9600;
  assertEquals(Math.abs(port.port.nextDeadline()! - 4 * twelveBitsAt9600) < 4, true);
});

Deno.test("reading RBR clears the character time-out and starts it anew for what is left", () => {
  const port = createDrivenPort();
  port.type("ab");
  port.host.time = 1e6;
  port.port.expire(1e6);
  port.read(RBR);
  assertEquals([port.read(IIR), port.asserted()], [0xc1, false]);
  assertEquals(Math.abs(port.port.nextDeadline()! - 1e6 - 4 * CHARACTER_TIME) < 4, true);
});

Deno.test("a new character puts the time-out off without another announcement", () => {
  const port = createDrivenPort();
  port.type("a");
  port.host.time = 100_000;
  port.type("b");
  assertEquals(port.host.deadlineChanges, 1);
  port.port.expire(400_000);
  assertEquals(port.asserted(), false);
  assertEquals(port.port.nextDeadline()! > 400_000, true);
});

Deno.test("a guest that polls sees the time-out in IIR even when the timer thread is late", () => {
  const port = createDrivenPort();
  port.type("a");
  port.host.time = 1e6;
  assertEquals(port.read(IIR), 0xcc);
});

Deno.test("no timer runs for a guest that has not enabled the received data interrupt", () => {
  const port = createDrivenPort();
  port.write(IER, 0x00);
  port.type("abc");
  assertEquals(port.port.nextDeadline(), undefined);
});

Deno.test("enabling the THRE interrupt raises it each time, as Linux' THRE test expects", () => {
  const port = createDrivenPort();
  for (let i = 0; i < 2; i++) {
    port.write(IER, 0x02);
    assertEquals(port.read(IIR), 0xc2);
    port.write(IER, 0x00);
  }
});

Deno.test("reading IIR takes the THRE interrupt back when it is the one shown", () => {
  const port = createDrivenPort();
  port.write(IER, 0x02);
  assertEquals([port.read(IIR), port.read(IIR), port.asserted()], [0xc2, 0xc1, false]);
});

Deno.test("reading IIR leaves the THRE interrupt pending when a higher one is shown", () => {
  const port = createDrivenPort(0x01);
  port.write(IER, 0x03);
  port.type("a");
  assertEquals(port.read(IIR), 0xc4);
  port.read(RBR);
  assertEquals(port.read(IIR), 0xc2);
});

Deno.test("writing THR raises the THRE interrupt again", () => {
  const port = createDrivenPort();
  port.write(IER, 0x02);
  port.read(IIR);
  port.write(THR, 0x41);
  assertEquals([port.asserted(), port.read(IIR)], [true, 0xc2]);
});

Deno.test("interrupts come by priority: line status, received data, THRE, modem status", () => {
  const port = createDrivenPort(0x01);
  port.write(IER, 0x0f);
  port.write(MCR, 0x03 | OUT2 | LOOPBACK);
  port.write(MCR, OUT2 | LOOPBACK);
  port.write(MCR, 0x03 | OUT2);
  port.port.receiveBreak();
  const seen: number[] = [];
  seen.push(port.read(IIR));
  port.read(LSR);
  seen.push(port.read(IIR));
  port.read(RBR);
  seen.push(port.read(IIR));
  seen.push(port.read(IIR));
  port.read(MSR);
  seen.push(port.read(IIR));
  assertEquals(seen, [0xc6, 0xc4, 0xc2, 0xc0, 0xc1]);
});

Deno.test("OUT2 gates the interrupt line, not IIR", () => {
  const port = createDrivenPort(0x01);
  port.write(MCR, 0x03);
  port.type("a");
  assertEquals([port.asserted(), port.read(IIR)], [false, 0xc4]);
  port.write(MCR, 0x03 | OUT2);
  assertEquals(port.asserted(), true);
});

Deno.test("a break is a zero character with BI, shown when it comes to the top of the FIFO", () => {
  const port = createDrivenPort();
  port.type("a");
  port.port.receiveBreak();
  assertEquals(port.read(LSR), 0x61 | 0x80);
  assertEquals(port.read(RBR), 0x61);
  assertEquals(port.read(LSR), 0x61 | 0x10 | 0x80);
  assertEquals(port.read(LSR), 0x61);
  assertEquals(port.read(RBR), 0x00);
});

Deno.test("the line status interrupt goes when LSR is read", () => {
  const port = createDrivenPort();
  port.port.receiveBreak();
  assertEquals([port.read(IIR), port.asserted()], [0xc6, true]);
  port.read(LSR);
  assertEquals(port.asserted(), false);
});

Deno.test("in loopback the modem outputs drive the modem inputs", () => {
  const { read, write } = createPort();
  const pairs = [[0x02, 0x10], [0x01, 0x20], [0x04, 0x40], [0x08, 0x80]];
  for (const [output, input] of pairs) {
    write(MCR, LOOPBACK | output);
    assertEquals(read(MSR) & 0xf0, input);
  }
  // The test by which Linux' 8250 driver finds out that there is a UART.
  write(MCR, 0x1a);
  assertEquals(read(MSR) & 0xf0, 0x90);
});

Deno.test("modem status deltas are cleared by reading, and RI reports its trailing edge only", () => {
  const { read, write } = createPort();
  write(MCR, LOOPBACK);
  read(MSR);
  write(MCR, LOOPBACK | 0x0f);
  assertEquals(read(MSR), 0xf0 | 0x0b);
  assertEquals(read(MSR), 0xf0);
  write(MCR, LOOPBACK);
  assertEquals(read(MSR), 0x0f);
});

Deno.test("in loopback what is sent comes back, cut to the word length, and nothing leaves", () => {
  const port = createDrivenPort();
  port.write(MCR, LOOPBACK);
  port.write(THR, 0xe5);
  port.write(LCR, 0x00);
  port.write(THR, 0xe5);
  assertEquals([port.read(RBR), port.read(RBR)], [0xe5, 0x05]);
  assertEquals(port.sent, []);
});

Deno.test("the FIFO holds 16 characters; a 17th is lost and sets OE", () => {
  const port = createDrivenPort();
  port.write(MCR, LOOPBACK);
  for (let i = 0; i < 17; i++) port.write(THR, 0x30 + i);
  assertEquals(port.read(LSR), 0x63);
  assertEquals(port.read(LSR), 0x61);
  assertEquals(readText(port), "0123456789:;<=>?");
});

Deno.test("without FIFOs a second character replaces the first and sets OE", () => {
  const port = createDrivenPort(0);
  port.write(MCR, LOOPBACK);
  port.write(THR, 0x61);
  port.write(THR, 0x62);
  assertEquals([port.read(LSR), port.read(RBR), port.read(LSR)], [0x63, 0x62, 0x60]);
});

Deno.test("clearing the receive FIFO drops its characters and no others", () => {
  const port = createDrivenPort();
  port.type("0123456789abcdefXYZ");
  port.write(FCR, FIFO_TRIGGER_8 | 0x02);
  assertEquals(readText(port), "XYZ");
});

Deno.test("switching FIFOs on or off clears them", () => {
  const port = createDrivenPort();
  port.write(MCR, LOOPBACK);
  port.write(THR, 0x61);
  port.write(FCR, 0x00);
  assertEquals(port.read(LSR) & 1, 0);
});

Deno.test("input that the host sends during loopback waits until it ends", () => {
  const port = createDrivenPort();
  port.write(MCR, LOOPBACK);
  port.type("later");
  assertEquals(port.read(LSR) & 1, 0);
  port.write(MCR, 0x03 | OUT2);
  assertEquals(readText(port), "later");
});

Deno.test("pasted input never overruns: it waits for the guest, up to the size of the ring", () => {
  const port = createDrivenPort();
  const text = Array.from({ length: INPUT_RING_SIZE + 100 }, (_, i) => String.fromCharCode(0x20 + i % 95)).join("");
  // 16 move on into the FIFO, which leaves room for as many.
  const taken = port.type(text);
  const rest = port.type(text.slice(taken));
  assertEquals([taken, rest], [INPUT_RING_SIZE, 16]);
  assertEquals(readText(port), text.slice(0, INPUT_RING_SIZE + 16));
});

Deno.test("a sender that was turned away is told once, when half of the ring is free", () => {
  const port = createDrivenPort();
  port.type("x".repeat(INPUT_RING_SIZE));
  assertEquals(port.port.receive(new Uint8Array(100)), 16);
  for (let i = 0; i < INPUT_RING_SIZE / 2 - 1; i++) port.read(RBR);
  assertEquals(port.drained.length, 0);
  port.read(RBR);
  assertEquals(port.drained.length, 1);
  assertEquals(port.port.room, INPUT_RING_SIZE / 2);
  readText(port);
  assertEquals(port.drained.length, 1);
});

Deno.test("a reset keeps input that is still on its way", () => {
  const port = createDrivenPort();
  port.type("0123456789abcdefXYZ");
  port.port.reset();
  assertEquals(port.asserted(), false);
  port.write(FCR, 0x01);
  // One character had come in while FIFOs were off, and switching them on dropped it.
  assertEquals(readText(port), "YZ");
});

Deno.test("a 16-bit access is two accesses to neighbouring registers, low one first", () => {
  const { port, read } = createPort();
  port.write(LCR, 2, 0x0203);
  assertEquals([read(LCR), read(MCR)], [0x03, 0x02]);
  assertEquals(port.read(LCR, 2), 0x0203);
});

Deno.test("two objects over one record are the same port", () => {
  const { port, state, host, read } = createPort();
  const console = new SerialPort({ state: SerialState.attach(state.buffer), host, gsi: GSI, transmit: () => {} });
  console.receive(Uint8Array.of(0x7a));
  assertEquals([read(LSR) & 1, port.read(RBR, 1)], [1, 0x7a]);
});

Deno.test("a saved port goes on where it was", () => {
  const before = createDrivenPort();
  before.type("abcdefghijklmnopqrstuvwxyz");
  const after = createPort();
  after.state.restore(before.state.save());
  assertEquals(readText(after), "abcdefghijklmnopqrstuvwxyz");
});

Deno.test("no sequence of accesses throws, and every value fits its width", () => {
  const access = fc.record({
    write: fc.boolean(),
    offset: fc.integer({ min: 0, max: 7 }),
    size: fc.constantFrom(1, 2, 4),
    value: fc.nat(0xffff_ffff),
    input: fc.uint8Array({ maxLength: 40 }),
    pass: fc.nat(2_000_000),
  });
  fc.assert(fc.property(fc.array(access, { maxLength: 200 }), (accesses) => {
    const { port, host } = createPort();
    for (const { write, offset, size, value, input, pass } of accesses) {
      host.time += pass;
      port.receive(input);
      if ((port.nextDeadline() ?? Infinity) <= host.time) port.expire(host.time);
      if (write) port.write(offset, size, value);
      else assertEquals(port.read(offset, size) < 2 ** (8 * size), true);
    }
  }));
});

Deno.test("whatever a driver does between reads, input arrives complete and in order while no FIFO is cleared", () => {
  const step = fc.record({ input: fc.string({ maxLength: 30 }), reads: fc.nat(40) });
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const port = createDrivenPort();
    let expected = "";
    let got = "";
    for (const { input, reads } of steps) {
      expected += input;
      port.type(input);
      for (let i = 0; i < reads && port.read(LSR) & 1; i++) got += String.fromCharCode(port.read(RBR));
    }
    assertEquals(got + readText(port), expected);
  }));
});
