/** The firmware configuration device, against QEMU's docs/specs/fw_cfg.rst. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { GuestMemory } from "../../../src/device/guest_memory.ts";
import { FwCfg, FwCfgState } from "../../../src/vmm/platform/fw_cfg.ts";
import { FwCfgBuilder } from "../../../src/vmm/platform/fw_cfg_items.ts";
import { RecordingHost } from "../support/q35.ts";

const RAM_SIZE = 0x10000;
/** A second region, right after the first, to be crossed. */
const SECOND_REGION = RAM_SIZE;
const CONTROL = 0x1000;
const TARGET = 0x2000;
const [ERROR, READ, SKIP, SELECT, WRITE] = [0x01, 0x02, 0x04, 0x08, 0x10];
const [SELECTOR, DATA, DMA_HIGH, DMA_LOW] = [0, 1, 4, 8];
const FILE_DIRECTORY = 0x19;

const text = (string: string) => new TextEncoder().encode(string);
const swap = (value: number) => {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value);
  return view.getUint32(0, true);
};

function createDevice(builder = new FwCfgBuilder().item(0x02, text("0123456789"))) {
  const host = new RecordingHost();
  const ram = new Uint8Array(RAM_SIZE).fill(0xee);
  const memory = new GuestMemory([
    { gpa: 0, bytes: ram },
    { gpa: SECOND_REGION, bytes: new Uint8Array(0x1000).fill(0xdd) },
    { gpa: 0x1_0000_0000, bytes: new Uint8Array(0x1000).fill(0xcc) },
  ]);
  const device = new FwCfg({ state: FwCfgState.allocate(), host, memory, items: builder.build() });
  device.reset();
  const select = (key: number) => device.write(SELECTOR, 2, key);
  const take = (length: number) => Uint8Array.from({ length }, () => device.read(DATA, 1));
  const dma = (control: number, length: number, address: number, at = CONTROL) => {
    const view = new DataView(new ArrayBuffer(16));
    view.setUint32(0, control);
    view.setUint32(4, length);
    view.setBigUint64(8, BigInt(address));
    memory.write(at, new Uint8Array(view.buffer));
    if (at >= 2 ** 32) device.write(DMA_HIGH, 4, swap(Math.floor(at / 2 ** 32)));
    device.write(DMA_LOW, 4, swap(at % 2 ** 32));
    const result = new Uint8Array(4);
    memory.read(at, result);
    return new DataView(result.buffer).getUint32(0);
  };
  return { host, ram, memory, device, select, take, dma };
}

/** The directory as the guest reads it: name → key and size. */
function directoryOf({ select, take }: ReturnType<typeof createDevice>): Map<string, { key: number; size: number }> {
  select(FILE_DIRECTORY);
  const count = new DataView(take(4).buffer).getUint32(0);
  const files = new Map();
  for (let i = 0; i < count; i++) {
    const entry = take(64);
    const view = new DataView(entry.buffer);
    const name = new TextDecoder().decode(entry.subarray(8)).replace(/\0+$/, "");
    files.set(name, { size: view.getUint32(0), key: view.getUint16(4) });
  }
  return files;
}

Deno.test("key 0 is the signature QEMU, key 1 says that there is a DMA interface", () => {
  const { select, take } = createDevice();
  select(0);
  assertEquals(take(4), text("QEMU"));
  select(1);
  assertEquals(take(4), Uint8Array.of(3, 0, 0, 0));
});

Deno.test("the data register gives byte after byte and zeros beyond the end", () => {
  const { select, take } = createDevice();
  select(2);
  assertEquals(take(12), Uint8Array.of(...text("0123456789"), 0, 0));
});

Deno.test("selecting starts at the beginning again", () => {
  const { select, take } = createDevice();
  select(2);
  take(5);
  select(2);
  assertEquals(take(2), text("01"));
});

Deno.test("selector bit 14, the wish to write, selects the same item", () => {
  const { select, take } = createDevice();
  select(0x4002);
  assertEquals(take(2), text("01"));
});

Deno.test("an item that does not exist reads as zero", () => {
  const { select, take } = createDevice();
  select(0x3ff);
  assertEquals(take(3), new Uint8Array(3));
});

Deno.test("writes to the data register are ignored", () => {
  const { device, select, take } = createDevice();
  select(2);
  device.write(DATA, 1, 0x55);
  assertEquals(take(2), text("01"));
});

Deno.test("the DMA register reads as QEMU CFG", () => {
  const { device } = createDevice();
  const view = new DataView(new ArrayBuffer(8));
  view.setUint32(0, device.read(DMA_HIGH, 4), true);
  view.setUint32(4, device.read(DMA_LOW, 4), true);
  assertEquals(new TextDecoder().decode(view), "QEMU CFG");
});

Deno.test("widths and ports that are not decoded read as all-ones", () => {
  const { device } = createDevice();
  assertEquals([device.read(SELECTOR, 1), device.read(DATA, 2), device.read(2, 4)], [0xff, 0xffff, 0xffffffff]);
});

Deno.test("a DMA read with select copies an item", () => {
  const { ram, dma } = createDevice();
  assertEquals(dma(2 << 16 | SELECT | READ, 10, TARGET), 0);
  assertEquals(ram.slice(TARGET, TARGET + 11), Uint8Array.of(...text("0123456789"), 0xee));
});

Deno.test("a DMA read goes on where the last one ended, and pads with zeros", () => {
  const { ram, dma, select } = createDevice();
  select(2);
  dma(READ, 6, TARGET);
  assertEquals(dma(READ, 6, TARGET), 0);
  assertEquals(ram.slice(TARGET, TARGET + 7), Uint8Array.of(...text("6789"), 0, 0, 0xee));
});

Deno.test("a DMA skip moves on without copying", () => {
  const { dma, select, take } = createDevice();
  select(2);
  assertEquals(dma(SKIP, 4, 0xdead_0000), 0);
  assertEquals(take(2), text("45"));
});

Deno.test("skipping four gigabytes ends at the item's end", () => {
  const { dma, select, take } = createDevice();
  select(2);
  assertEquals(dma(SKIP, 0xffff_ffff, 0), 0);
  assertEquals(take(1), Uint8Array.of(0));
});

Deno.test("read goes before skip", () => {
  const { ram, dma, select } = createDevice();
  select(2);
  dma(READ | SKIP, 3, TARGET);
  assertEquals(ram.slice(TARGET, TARGET + 4), Uint8Array.of(...text("012"), 0xee));
});

Deno.test("items are read-only: a DMA write ends with the error bit", () => {
  const { dma, select, take } = createDevice();
  assertEquals(dma(2 << 16 | SELECT | WRITE, 2, TARGET), ERROR);
  select(2);
  assertEquals(take(2), text("01"));
});

Deno.test("a DMA read to where no RAM is ends with the error bit and writes nothing", () => {
  const { memory, dma, select } = createDevice();
  select(2);
  assertEquals(dma(READ, 0x2000, SECOND_REGION), ERROR);
  assertEquals(memory.view(SECOND_REGION, 1)![0], 0xdd);
  for (const address of [0x8000_0000, 2 ** 52, 2 ** 64 - 4096]) assertEquals(dma(READ, 1, address), ERROR);
});

Deno.test("a DMA read may cross from one region of RAM into the next", () => {
  const { memory, dma, select } = createDevice();
  select(2);
  assertEquals(dma(READ, 0x1004, SECOND_REGION - 4), 0);
  const got = new Uint8Array(8);
  memory.read(SECOND_REGION - 4, got);
  assertEquals(got, text("01234567"));
  memory.read(SECOND_REGION + 0xff8, got);
  assertEquals(got, new Uint8Array(8));
});

Deno.test("a DMA read of nothing succeeds wherever it points", () => {
  const { dma } = createDevice();
  assertEquals(dma(READ, 0, 0xdead_0000), 0);
});

Deno.test("the upper half of a DMA address is used once", () => {
  const { memory, ram, dma } = createDevice();
  assertEquals(dma(2 << 16 | SELECT | READ, 4, 0x1_0000_0100, 0x1_0000_0000), 0);
  assertEquals(memory.view(0x1_0000_0100, 4), text("0123"));
  assertEquals(dma(2 << 16 | SELECT | READ, 4, TARGET), 0);
  assertEquals(ram.slice(TARGET, TARGET + 4), text("0123"));
});

Deno.test("a DMA description outside RAM does nothing and is reported once", () => {
  const { host, device } = createDevice();
  device.write(DMA_LOW, 4, swap(0x9000_0000));
  assertEquals(host.warnings.length, 1);
});

Deno.test("the directory names files in order, with keys from 0x20 on", () => {
  const builder = new FwCfgBuilder().file("opt/b", text("two")).file("etc/a", text("1")).file("z", text(""));
  const device = createDevice(builder);
  assertEquals([...directoryOf(device)], [
    ["etc/a", { key: 0x20, size: 1 }],
    ["opt/b", { key: 0x21, size: 3 }],
    ["z", { key: 0x22, size: 0 }],
  ]);
  device.select(0x21);
  assertEquals(device.take(3), text("two"));
});

Deno.test("a file name takes 55 characters and no more", () => {
  const builder = new FwCfgBuilder();
  const name = "opt/".padEnd(55, "x");
  assertEquals([...directoryOf(createDevice(builder.file(name, text(""))))][0][0], name);
  for (const bad of [`${name}x`, "", "opt/ä", "opt/a b", "opt/\n"]) {
    assertThrows(() => builder.file(bad, text("")), RangeError);
  }
});

Deno.test("two files of one name are refused", () => {
  const builder = new FwCfgBuilder().file("opt/a", text(""));
  assertThrows(() => builder.file("opt/a", text("")), TypeError, "opt/a");
});

Deno.test("numbers are little-endian, to 64 bits", () => {
  const { select, take } = createDevice(new FwCfgBuilder().number(0x03, 8, 0x12_3456_789a));
  select(3);
  assertEquals(take(8), Uint8Array.of(0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0));
});

Deno.test("items can be posted to another thread without copying their contents", () => {
  const items = new FwCfgBuilder().item(2, text("x")).file("opt/a", text("y")).build();
  assertEquals([...items.values()].every((data) => data.buffer instanceof SharedArrayBuffer), true);
});

Deno.test("no sequence of accesses throws", () => {
  const access = fc.oneof(
    fc.record({
      dma: fc.constant(false),
      write: fc.boolean(),
      offset: fc.nat(11),
      size: fc.constantFrom(1, 2, 4),
      value: fc.nat(0xffff_ffff),
    }),
    fc.record({
      dma: fc.constant(true),
      control: fc.nat(0xffff_ffff),
      length: fc.oneof(fc.nat(0x3000), fc.nat(0xffff_ffff)),
      address: fc.oneof(fc.nat(0x2_0000), fc.maxSafeNat()),
    }),
  );
  fc.assert(fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
    const { device, dma } = createDevice();
    for (const access of accesses) {
      if (access.dma) {
        device.write(DMA_HIGH, 4, 0);
        assertEquals(dma(access.control, access.length, access.address) <= 1, true);
      } else if (access.write) device.write(access.offset, access.size, access.value);
      else assertEquals(device.read(access.offset, access.size) < 2 ** (8 * access.size), true);
    }
  }));
});
