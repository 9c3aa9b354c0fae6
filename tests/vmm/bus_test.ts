import { assertEquals, assertThrows } from "@std/assert";
import { type AddressRange, Bus, loadBytes, MappingGeneration, storeBytes } from "../../src/vmm/bus.ts";
import type { BusDevice } from "../../src/vmm/platform/platform.ts";

/** A device that answers with `tag` in the high byte and the offset in the low one, and records accesses. */
function tagged(tag: number) {
  const accesses: string[] = [];
  const device: BusDevice = {
    read: (offset, size) => {
      accesses.push(`r${size}@${offset}`);
      return size === 1 ? (tag + offset) & 0xff : tag * 0x100 + offset;
    },
    write: (offset, size, value) => {
      accesses.push(`w${size}@${offset}=${value.toString(16)}`);
    },
  };
  return { device, accesses };
}

function memoryBus(generation = new MappingGeneration()) {
  return new Bus({ name: "memory", size: 2 ** 52, generation });
}

function portBus(generation = new MappingGeneration()) {
  return new Bus({ name: "port", size: 0x10000, generation });
}

for (const [name, create] of [["port", portBus], ["memory", memoryBus]] as const) {
  Deno.test(`the ${name} bus hands a device the offset from its range's start`, () => {
    const bus = create();
    const { device, accesses } = tagged(0);
    bus.insert(0x3f8, 8, device);
    bus.read(0x3fa, 1);
    bus.write(0x3fc, 2, 0xbeef);
    assertEquals(accesses, ["r1@2", "w2@4=beef"]);
  });

  Deno.test(`the ${name} bus reads all-ones of the access's width where nothing answers, and drops writes`, () => {
    const bus = create();
    bus.write(0x100, 4, 1);
    assertEquals([bus.read(0x100, 1), bus.read(0x100, 2), bus.read(0x100, 4)], [0xff, 0xffff, 0xffffffff]);
  });

  Deno.test(`the ${name} bus tells neighbouring ranges apart`, () => {
    const bus = create();
    bus.insert(0x10, 4, tagged(0x10).device);
    bus.insert(0x14, 4, tagged(0x40).device);
    assertEquals([0x0f, 0x10, 0x13, 0x14, 0x17, 0x18].map((at) => bus.read(at, 1)), [
      0xff,
      0x10,
      0x13,
      0x40,
      0x43,
      0xff,
    ]);
  });

  Deno.test(`the ${name} bus carries an access across a range's end out byte by byte`, () => {
    const bus = create();
    const { device, accesses } = tagged(0x20);
    bus.insert(0x12, 2, device);
    assertEquals(bus.read(0x11, 4), 0xff2120ff);
    bus.write(0x13, 2, 0xaabb);
    assertEquals(accesses, ["r1@0", "r1@1", "w1@1=bb"]);
  });
}

Deno.test("an access beyond the last port does not wrap to port 0", () => {
  const bus = portBus();
  bus.insert(0, 1, tagged(0).device);
  assertEquals(bus.read(0xffff, 2), 0xffff);
});

Deno.test("each of many ranges is found, whichever was looked up before it", () => {
  const bus = memoryBus();
  for (let i = 0; i < 40; i++) bus.insert(0x1000 * (i + 1), 0x10, tagged(i).device);
  for (const i of [0, 39, 17, 17, 3, 38]) assertEquals(bus.read(0x1000 * (i + 1), 1), i);
  assertEquals(bus.read(0x800, 1), 0xff);
  assertEquals(bus.read(0x1010, 1), 0xff);
});

Deno.test("fixed ranges that are empty, overflow the space or overlap are refused", () => {
  const bus = portBus();
  const { device } = tagged(0);
  bus.insert(0x100, 0x10, device);
  for (const [base, length] of [[0x20, 0], [0x20, -1], [0xfff8, 9], [-1, 4], [0.5, 4], [0x20, NaN]]) {
    assertThrows(() => bus.insert(base, length, device), RangeError, "No range of");
  }
  for (const [base, length] of [[0x100, 0x10], [0xff, 2], [0x10f, 1], [0x80, 0x200]]) {
    assertThrows(() => bus.insert(base, length, device), RangeError, "overlaps 0x100-0x10f");
  }
  bus.insert(0xfff8, 8, device);
});

Deno.test("a removed device answers no more, and its range can be given away again", () => {
  const bus = memoryBus();
  const first = tagged(1).device;
  bus.insert(0x1000, 0x10, first);
  bus.insertMovable(first, () => ({ base: 0x2000, length: 0x10 }));
  assertEquals([bus.read(0x1000, 1), bus.read(0x2000, 1)], [1, 1]);
  bus.remove(first);
  assertEquals([bus.read(0x1000, 1), bus.read(0x2000, 1)], [0xff, 0xff]);
  bus.insert(0x1000, 0x10, tagged(2).device);
  assertEquals(bus.read(0x1000, 1), 2);
});

Deno.test("a movable range follows its locate function once the generation says so", () => {
  const generation = new MappingGeneration();
  const bus = memoryBus(generation);
  let range: AddressRange | undefined = { base: 0x1000, length: 0x100 };
  bus.insertMovable(tagged(7).device, () => range);
  assertEquals(bus.read(0x1000, 1), 7);
  range = { base: 0x8000, length: 0x100 };
  generation.changed();
  assertEquals([bus.read(0x1000, 1), bus.read(0x8000, 1)], [0xff, 7]);
  range = undefined;
  generation.changed();
  assertEquals(bus.read(0x8000, 1), 0xff);
});

Deno.test("a range moved through one thread's generation counter moves on every thread's bus", () => {
  const here = new MappingGeneration();
  const there = new MappingGeneration(here.buffer);
  let base = 0x1000;
  const buses = [portBus(here), portBus(there)];
  for (const bus of buses) bus.insertMovable(tagged(5).device, () => ({ base, length: 4 }));
  assertEquals(buses.map((bus) => bus.read(0x1000, 1)), [5, 5]);
  base = 0x2000;
  there.changed();
  assertEquals(buses.map((bus) => bus.read(0x2000, 1)), [5, 5]);
  assertEquals(buses.map((bus) => bus.read(0x1000, 1)), [0xff, 0xff]);
});

Deno.test("a movable range yields to fixed ones and keeps its offsets in what is left", () => {
  const bus = memoryBus();
  const movable = tagged(0x40);
  bus.insertMovable(movable.device, () => ({ base: 0x100, length: 0x30 }));
  bus.insert(0x110, 0x10, tagged(0x80).device);
  assertEquals([0x100, 0x10f, 0x110, 0x11f, 0x120].map((at) => bus.read(at, 1)), [0x40, 0x4f, 0x80, 0x8f, 0x60]);
});

Deno.test("of two movable ranges that overlap, the one inserted first answers, and the other once it has gone", () => {
  const generation = new MappingGeneration();
  const bus = memoryBus(generation);
  let first: AddressRange | undefined = { base: 0x1000, length: 0x10 };
  bus.insertMovable(tagged(1).device, () => first);
  bus.insertMovable(tagged(0x20).device, () => ({ base: 0x1000, length: 0x20 }));
  assertEquals([bus.read(0x1000, 1), bus.read(0x1010, 1)], [1, 0x30]);
  first = undefined;
  generation.changed();
  assertEquals(bus.read(0x1000, 1), 0x20);
});

Deno.test("a movable range that exceeds the space is cut off, and a senseless one is ignored", () => {
  const generation = new MappingGeneration();
  const bus = portBus(generation);
  let range: AddressRange = { base: 0xfffe, length: 0x100 };
  bus.insertMovable(tagged(0x10).device, () => range);
  assertEquals(bus.read(0xffff, 1), 0x11);
  for (
    range of [{ base: 0x20000, length: 4 }, { base: 0x10, length: 0 }, { base: NaN, length: 4 }, {
      base: -4,
      length: 8,
    }]
  ) {
    generation.changed();
    assertEquals([bus.read(0, 1), bus.read(0x10, 1)], [0xff, 0xff]);
  }
});

Deno.test("an 8-byte access is two of 4 bytes, low half first", () => {
  const bus = memoryBus();
  const { device, accesses } = tagged(0);
  bus.insert(0x1000, 0x10, device);
  const data = new DataView(new ArrayBuffer(8));
  data.setUint32(0, 0x11223344, true);
  data.setUint32(4, 0x55667788, true);
  storeBytes(bus, 0x1008, data, 8);
  loadBytes(bus, 0x1000, data, 8);
  assertEquals(accesses, ["w4@8=11223344", "w4@12=55667788", "r4@0", "r4@4"]);
  assertEquals([data.getUint32(0, true), data.getUint32(4, true)], [0, 4]);
});

Deno.test("accesses of odd lengths are split into what fits", () => {
  const bus = memoryBus();
  const { device, accesses } = tagged(0);
  bus.insert(0, 0x10, device);
  loadBytes(bus, 0, new DataView(new ArrayBuffer(8)), 7);
  assertEquals(accesses, ["r4@0", "r2@4", "r1@6"]);
});

Deno.test("a device that needs no lock is found without one, unless ranges may have moved", () => {
  const generation = new MappingGeneration();
  const bus = new Bus({ name: "memory", size: 0x100000, generation });
  const { device, accesses } = tagged(1);
  let base = 0x2000;
  bus.insertMovable({ ...device, concurrent: true }, () => ({ base, length: 0x10 }));
  bus.insert(0x1000, 0x10, tagged(2).device);
  assertEquals(bus.concurrentAt(0x2000, 4), undefined, "nobody has looked where it is yet");
  bus.read(0x2000, 1);
  assertEquals(bus.concurrentAt(0x1000, 4), undefined, "the other device needs the lock");
  assertEquals(bus.concurrentAt(0x200e, 4), undefined, "it does not answer for all of it");

  const space = bus.concurrentAt(0x2004, 4)!;
  base = 0x3000;
  generation.changed();
  assertEquals(bus.concurrentAt(0x2004, 4), undefined);
  space.write(0x2004, 4, 5); // what was found stays what it is
  assertEquals(accesses, ["r1@0", "w4@4=5"]);
});
