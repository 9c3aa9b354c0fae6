/**
 * The keyboard controller (IBM PS/2 Hardware Interface Technical Reference), as SeaBIOS's and Linux's drivers use it.
 */
import { assertEquals } from "@std/assert";
import { createChipset } from "../support/q35.ts";

const DATA = 0x60;
const COMMAND = 0x64;

const OUTPUT_FULL = 0x01;
const AUXILIARY = 0x20;
const TIMEOUT = 0x40;

Deno.test("after reset the output buffer is empty and the input buffer takes commands", () => {
  const { ports } = createChipset();
  assertEquals(ports.read(COMMAND, 1), 0x10);
});

Deno.test("the self test passes with 0x55 and sets the system flag", () => {
  const { ports } = createChipset();
  ports.write(COMMAND, 1, 0xaa);
  assertEquals(ports.read(COMMAND, 1) & (OUTPUT_FULL | 0x04), OUTPUT_FULL | 0x04);
  assertEquals(ports.read(DATA, 1), 0x55);
  assertEquals(ports.read(COMMAND, 1) & OUTPUT_FULL, 0);
});

Deno.test("both interface tests pass", () => {
  const { ports } = createChipset();
  for (const test of [0xab, 0xa9]) {
    ports.write(COMMAND, 1, test);
    assertEquals(ports.read(DATA, 1), 0x00);
  }
});

Deno.test("the command byte is written and read, and the interfaces' disable bits follow their commands", () => {
  const { ports } = createChipset();
  const commandByte = () => {
    ports.write(COMMAND, 1, 0x20);
    return ports.read(DATA, 1);
  };
  ports.write(COMMAND, 1, 0x60);
  ports.write(DATA, 1, 0x04);
  assertEquals(commandByte(), 0x04);
  ports.write(COMMAND, 1, 0xad);
  ports.write(COMMAND, 1, 0xa7);
  assertEquals(commandByte(), 0x34);
  ports.write(COMMAND, 1, 0xae);
  ports.write(COMMAND, 1, 0xa8);
  assertEquals(commandByte(), 0x04);
});

Deno.test("a byte for the keyboard is answered at once with 0xfe and a time-out", () => {
  const { ports } = createChipset();
  ports.write(DATA, 1, 0xff);
  const status = ports.read(COMMAND, 1);
  assertEquals(status & (OUTPUT_FULL | AUXILIARY | TIMEOUT), OUTPUT_FULL | TIMEOUT);
  assertEquals(ports.read(DATA, 1), 0xfe);
  assertEquals(ports.read(COMMAND, 1) & (OUTPUT_FULL | TIMEOUT), 0);
});

Deno.test("a byte for the mouse is answered likewise, as auxiliary data", () => {
  const { ports } = createChipset();
  ports.write(COMMAND, 1, 0xd4);
  ports.write(DATA, 1, 0xff);
  assertEquals(ports.read(COMMAND, 1) & (OUTPUT_FULL | AUXILIARY | TIMEOUT), OUTPUT_FULL | AUXILIARY | TIMEOUT);
  assertEquals(ports.read(DATA, 1), 0xfe);
});

Deno.test("the loop commands put a byte into the output buffer", () => {
  const { ports } = createChipset();
  for (const [command, flags] of [[0xd2, 0], [0xd3, AUXILIARY]]) {
    ports.write(COMMAND, 1, command);
    ports.write(DATA, 1, 0x5a);
    assertEquals(ports.read(COMMAND, 1) & (OUTPUT_FULL | AUXILIARY | TIMEOUT), OUTPUT_FULL | flags);
    assertEquals(ports.read(DATA, 1), 0x5a);
  }
});

Deno.test("data raises IRQ 1 or IRQ 12 while the command byte lets it, until it is read", () => {
  const { host, ports } = createChipset();
  ports.write(DATA, 1, 0xff);
  ports.read(DATA, 1);
  assertEquals(host.irqs, []);
  ports.write(COMMAND, 1, 0x60);
  ports.write(DATA, 1, 0x03);
  ports.write(DATA, 1, 0xff);
  ports.read(DATA, 1);
  ports.write(COMMAND, 1, 0xd3);
  ports.write(DATA, 1, 0x5a);
  ports.read(DATA, 1);
  assertEquals(host.irqs, [[1, true], [1, false], [12, true], [12, false]]);
});

Deno.test("commands 0xf0 to 0xff reset when bit 0 is clear", () => {
  for (let command = 0xf0; command <= 0xff; command++) {
    const { host, ports } = createChipset();
    ports.write(COMMAND, 1, command);
    assertEquals(host.resets, command % 2 === 0 ? 1 : 0);
  }
});

Deno.test("the output port can be read and written, and its bit 0 going low resets", () => {
  const { host, ports } = createChipset();
  ports.write(COMMAND, 1, 0xd1);
  ports.write(DATA, 1, 0xdf);
  ports.write(COMMAND, 1, 0xd0);
  assertEquals([ports.read(DATA, 1), host.resets], [0xdf, 0]);
  ports.write(COMMAND, 1, 0xd1);
  ports.write(DATA, 1, 0xde);
  assertEquals(host.resets, 1);
});

Deno.test("a command without parameter ends the wait for another's", () => {
  const { ports } = createChipset();
  ports.write(COMMAND, 1, 0xd1);
  ports.write(COMMAND, 1, 0xaa);
  ports.read(DATA, 1);
  ports.write(DATA, 1, 0x00);
  assertEquals(ports.read(DATA, 1), 0xfe);
});

Deno.test("a reset empties the buffer and lowers the interrupt lines", () => {
  const { host, ports, i8042 } = createChipset();
  ports.write(COMMAND, 1, 0x60);
  ports.write(DATA, 1, 0x03);
  ports.write(DATA, 1, 0xff);
  assertEquals(host.high.has(1), true);
  i8042.reset();
  assertEquals([host.high.size, ports.read(COMMAND, 1)], [0, 0x10]);
});

Deno.test("the port between data and command is not the controller's", () => {
  const { ports } = createChipset();
  assertEquals(ports.read(DATA, 2), 0xff00);
});
