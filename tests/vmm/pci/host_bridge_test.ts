/** The Q35 MCH's D0:F0 (Intel 3 Series Express Chipset data sheet, DRAM controller registers). */
import { assertEquals } from "@std/assert";
import { allocateChipset, attachChipset, createChipset } from "../support/q35.ts";

const KIB = 1024;

Deno.test("the host bridge has the IDs by which SeaBIOS and Linux know QEMU's q35", () => {
  const { hostBridge } = createChipset();
  assertEquals(hostBridge.readConfig(0x00, 4), 0x29c08086);
  assertEquals(hostBridge.readConfig(0x0a, 2), 0x0600);
  assertEquals(hostBridge.readConfig(0x0e, 1), 0x00);
  assertEquals(hostBridge.readConfig(0x2c, 4), 0x11001af4);
});

Deno.test("the host bridge always decodes memory and masters the bus", () => {
  const { hostBridge } = createChipset();
  hostBridge.writeConfig(0x04, 2, 0);
  assertEquals(hostBridge.readConfig(0x04, 2), 0x0006);
  hostBridge.writeConfig(0x04, 2, 0xffff);
  assertEquals(hostBridge.readConfig(0x04, 2), 0x0106);
});

Deno.test("after power-on the legacy region reads and writes the flash", () => {
  const { hostBridge } = createChipset();
  const segments = hostBridge.pamSegments();
  assertEquals(segments.every(({ read, write }) => !read && !write), true);
  assertEquals(segments[0].start, 0xc0000);
  assertEquals(segments.reduce((end, { start, length }) => start === end ? end + length : NaN, 0xc0000), 0x100000);
});

/** Register, shift, segment: the PAM table of the data sheet. */
const FIELDS: [register: number, shift: number, start: number, length: number][] = [
  [0x90, 4, 0xf0000, 64 * KIB],
  [0x91, 0, 0xc0000, 16 * KIB],
  [0x91, 4, 0xc4000, 16 * KIB],
  [0x92, 0, 0xc8000, 16 * KIB],
  [0x92, 4, 0xcc000, 16 * KIB],
  [0x93, 0, 0xd0000, 16 * KIB],
  [0x93, 4, 0xd4000, 16 * KIB],
  [0x94, 0, 0xd8000, 16 * KIB],
  [0x94, 4, 0xdc000, 16 * KIB],
  [0x95, 0, 0xe0000, 16 * KIB],
  [0x95, 4, 0xe4000, 16 * KIB],
  [0x96, 0, 0xe8000, 16 * KIB],
  [0x96, 4, 0xec000, 16 * KIB],
];

for (const [register, shift, start, length] of FIELDS) {
  const bits = shift === 0 ? "1:0" : "5:4";
  Deno.test(`PAM register 0x${register.toString(16)} bits ${bits} steer 0x${start.toString(16)}`, () => {
    const { hostBridge, pam } = createChipset();
    for (const attributes of [1, 3, 2, 0]) hostBridge.writeConfig(register, 1, attributes << shift);
    assertEquals(pam, [
      { start, length, read: true, write: false },
      { start, length, read: true, write: true },
      { start, length, read: false, write: true },
      { start, length, read: false, write: false },
    ]);
  });
}

Deno.test("PAM's reserved bits read as 0 and change nothing", () => {
  const { hostBridge, pam } = createChipset();
  hostBridge.writeConfig(0x90, 4, 0xcccccccf);
  assertEquals(hostBridge.readConfig(0x90, 4), 0);
  assertEquals(pam, []);
});

Deno.test("segments that one write changes alike are reported as one run", () => {
  const { hostBridge, pam } = createChipset();
  hostBridge.writeConfig(0x94, 4, 0x00333333);
  assertEquals(pam, [{ start: 0xd8000, length: 96 * KIB, read: true, write: true }]);
});

Deno.test("segments that a write leaves as they were are not reported", () => {
  const { hostBridge, pam } = createChipset();
  hostBridge.writeConfig(0x92, 1, 0x33);
  pam.length = 0;
  hostBridge.writeConfig(0x91, 2, 0x3333);
  assertEquals(pam, [{ start: 0xc0000, length: 32 * KIB, read: true, write: true }]);
});

Deno.test("a reset gives the legacy region back to the flash and says so", () => {
  const { hostBridge, pam } = createChipset();
  hostBridge.writeConfig(0x90, 1, 0x30);
  pam.length = 0;
  hostBridge.reset();
  assertEquals(pam, [{ start: 0xf0000, length: 64 * KIB, read: false, write: false }]);
});

Deno.test("SMRAM.D_LCK clears D_OPEN and freezes all but D_CLS until reset", () => {
  const { hostBridge } = createChipset();
  assertEquals(hostBridge.readConfig(0x9d, 1), 0x02);
  hostBridge.writeConfig(0x9d, 1, 0x48);
  assertEquals(hostBridge.readConfig(0x9d, 1), 0x4a);
  hostBridge.writeConfig(0x9d, 1, 0x58);
  assertEquals(hostBridge.readConfig(0x9d, 1), 0x1a);
  hostBridge.writeConfig(0x9d, 1, 0x60);
  assertEquals(hostBridge.readConfig(0x9d, 1), 0x3a);
  hostBridge.reset();
  assertEquals(hostBridge.readConfig(0x9d, 1), 0x02);
});

Deno.test("TSEG cannot be enabled", () => {
  const { hostBridge } = createChipset();
  hostBridge.writeConfig(0x9e, 1, 0xff);
  assertEquals(hostBridge.readConfig(0x9e, 1), 0x38);
});

Deno.test("a thread that attaches late finds the chipset as the guest has programmed it", () => {
  const state = allocateChipset();
  const first = attachChipset(state);
  first.reset();
  first.hostBridge.writeConfig(0x60, 4, 0xb0000001);
  first.hostBridge.writeConfig(0x90, 1, 0x30);
  const second = attachChipset(state);
  assertEquals(second.hostBridge.readConfig(0x90, 1), 0x30);
  assertEquals(second.memory.read(0xb0000000, 4), 0x29c08086);
  first.hostBridge.writeConfig(0x60, 4, 0xe0000001);
  assertEquals(second.memory.read(0xe0000000, 4), 0x29c08086);
  assertEquals(second.memory.read(0xb0000000, 4), 0xffffffff);
});
