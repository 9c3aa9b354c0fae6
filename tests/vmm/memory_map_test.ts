import { assert, assertEquals } from "@std/assert";
import { type FirmwareImage, MemoryMap, SEGMENT_COUNT, SEGMENT_SIZE } from "../../src/vmm/memory_map.ts";
import { fakeRam, RAM_ADDRESS } from "./support/ram.ts";

const MIB = 0x10_0000;
const GIB = 0x4000_0000;
const READONLY = 2;
const FIRMWARE_ADDRESS = 0x7e00_0000_0000n;

interface Slot {
  readonly gpa: number;
  readonly size: number;
  readonly address: bigint;
  readonly flags: number;
}

/** A machine's slots, as KVM would have them; what KVM refuses fails the test. */
class FakeSlots {
  readonly slots = new Map<number, Slot>();

  setMemoryRegion(slot: number, flags: number, gpa: number, size: number, address: bigint): void {
    const before = this.slots.get(slot);
    this.slots.delete(slot);
    if (size === 0) return assert(before !== undefined, `slot ${slot} is removed, and was not there`);
    assert(before === undefined, `slot ${slot} is changed in place`);
    for (const other of this.slots.values()) {
      assert(gpa >= other.gpa + other.size || other.gpa >= gpa + size, `0x${gpa.toString(16)} overlaps`);
    }
    this.slots.set(slot, { gpa, size, address, flags });
  }

  /** What the guest finds at an address. */
  at(gpa: number): "nothing" | { address: bigint; writable: boolean } {
    const slot = [...this.slots.values()].find((slot) => gpa >= slot.gpa && gpa < slot.gpa + slot.size);
    if (slot === undefined) return "nothing";
    return { address: slot.address + BigInt(gpa - slot.gpa), writable: (slot.flags & READONLY) === 0 };
  }
}

function firmwareOf(size: number): FirmwareImage {
  return { address: FIRMWARE_ADDRESS, size, gpa: 4 * GIB - size, aliasGpa: MIB - Math.min(size, 0x2_0000) };
}

function build(size: number, firmware?: FirmwareImage) {
  const slots = new FakeSlots();
  const ram = fakeRam(size);
  const map = new MemoryMap(slots, ram, firmware, new Uint8Array(SEGMENT_COUNT));
  map.install();
  return { slots, ram, map };
}

const ram = (gpa: number, writable = true) => ({ address: RAM_ADDRESS + BigInt(gpa), writable });
const firmware = (offset: number) => ({ address: FIRMWARE_ADDRESS + BigInt(offset), writable: false });
const SHADOWED = { read: true, write: true };

Deno.test("RAM is conventional and extended memory, with nothing at 640 KiB", () => {
  const { slots } = build(16 * MIB);
  assertEquals([0, 0x9_ffff, MIB, 16 * MIB - 1].map((gpa) => slots.at(gpa)), [
    ...[ram(0), ram(0x9_ffff), ram(MIB), ram(16 * MIB - 1)],
  ]);
  assertEquals([0xa_0000, 0xb_ffff, 16 * MIB].map((gpa) => slots.at(gpa)), ["nothing", "nothing", "nothing"]);
});

Deno.test("RAM of 1 MiB has no extended memory, and still RAM under the firmware's alias", () => {
  const { slots, map } = build(MIB, firmwareOf(0x2_0000));
  assertEquals(slots.at(MIB), "nothing");
  assertEquals(slots.at(0xf_fff0), firmware(0x1_fff0));
  map.setSegments(0xf_0000, 0x1_0000, SHADOWED);
  assertEquals(slots.at(0xf_fff0), ram(0xf_fff0));
  assertEquals(map.ramRanges().map(({ gpa, size }) => [gpa, size]), [[0, 0xa_0000], [0xf_0000, 0x1_0000]]);
});

Deno.test("RAM that does not fit below the PCI hole goes on at 4 GiB", () => {
  const { slots, map } = build(5 * GIB);
  assertEquals(slots.at(2 * GIB - 1), ram(2 * GIB - 1));
  assertEquals(slots.at(2 * GIB), "nothing");
  assertEquals(slots.at(4 * GIB), { address: RAM_ADDRESS + BigInt(2 * GIB), writable: true });
  assertEquals(map.ramRanges().at(-1), { gpa: 4 * GIB, size: 3 * GIB, offset: 2 * GIB });
});

Deno.test("firmware ends at 4 GiB, and its last 128 KiB end at 1 MiB, both read-only", () => {
  const { slots } = build(16 * MIB, firmwareOf(0x4_0000));
  assertEquals(slots.at(4 * GIB - 16), firmware(0x3_fff0));
  assertEquals(slots.at(4 * GIB - 0x4_0000), firmware(0));
  assertEquals(slots.at(0xe_0000), firmware(0x2_0000));
  assertEquals(slots.at(0xf_ffff), firmware(0x3_ffff));
  assertEquals(slots.at(0xd_ffff), "nothing");
});

Deno.test("firmware of 64 KiB has its alias from 0xf0000 on, and nothing is below that", () => {
  const { slots } = build(16 * MIB, firmwareOf(0x1_0000));
  assertEquals(slots.at(0xf_0000), firmware(0));
  assertEquals(slots.at(0xe_ffff), "nothing");
});

Deno.test("without firmware, legacy segments are nothing until they are RAM", () => {
  const { slots, map } = build(16 * MIB);
  assertEquals(slots.at(0xf_0000), "nothing");
  assert(map.setSegments(0xc_0000, 0x4_0000, SHADOWED));
  assertEquals(slots.at(0xc_0000), ram(0xc_0000));
  assertEquals(slots.at(0xf_ffff), ram(0xf_ffff));
});

Deno.test("a segment that reads RAM and drops writes is read-only RAM", () => {
  const { slots, map } = build(16 * MIB, firmwareOf(0x2_0000));
  map.setSegments(0xf_0000, 0x1_0000, { read: true, write: false });
  assertEquals(slots.at(0xf_0000), ram(0xf_0000, false));
});

Deno.test("a segment that reads firmware and writes RAM is how firmware copies itself", () => {
  const { slots, map, ram: guestRam } = build(16 * MIB, firmwareOf(0x2_0000));
  const written = () => [...guestRam.memory.view(0xe_8000, 3)!];
  map.writeSegment(0xe_8000, Uint8Array.of(1, 2, 3));
  assertEquals(written(), [0, 0, 0]);
  map.setSegments(0xe_8000, SEGMENT_SIZE, { read: false, write: true });
  assertEquals(slots.at(0xe_8000), firmware(0x8000));
  map.writeSegment(0xe_8000, Uint8Array.of(1, 2, 3));
  assertEquals(written(), [1, 2, 3]);
  map.setSegments(0xe_8000, SEGMENT_SIZE, { read: true, write: false });
  map.writeSegment(0xe_8000, Uint8Array.of(9, 9, 9));
  assertEquals(written(), [1, 2, 3]);
});

Deno.test("a reset of the chipset brings the firmware back", () => {
  const { slots, map } = build(16 * MIB, firmwareOf(0x2_0000));
  map.setSegments(0xc_0000, 0x4_0000, SHADOWED);
  assert(map.setSegments(0xc_0000, 0x4_0000, { read: false, write: false }));
  assertEquals(slots.at(0xf_fff0), firmware(0x1_fff0));
  assertEquals(slots.at(0xc_0000), "nothing");
});

Deno.test("whether there is other RAM now is told: it is when reading changes", () => {
  const { map } = build(16 * MIB, firmwareOf(0x2_0000));
  assertEquals(map.setSegments(0xd_0000, 0x8000, { read: false, write: true }), false);
  assertEquals(map.setSegments(0xd_0000, 0x8000, SHADOWED), true);
  assertEquals(map.setSegments(0xd_0000, 0x8000, SHADOWED), false);
  assertEquals(map.setSegments(0xd_0000, 0x8000, { read: true, write: false }), false);
});

Deno.test("RAM ranges that follow each other are one, and a hole parts them", () => {
  const { map } = build(16 * MIB);
  map.setSegments(0xc_0000, 0x4_0000, SHADOWED);
  assertEquals(map.ramRanges(), [
    { gpa: 0, size: 0xa_0000, offset: 0 },
    { gpa: 0xc_0000, size: 16 * MIB - 0xc_0000, offset: 0xc_0000 },
  ]);
  map.setSegments(0xd_0000, SEGMENT_SIZE, { read: false, write: false });
  assertEquals(map.ramRanges().map(({ gpa }) => gpa), [0, 0xc_0000, 0xd_0000 + SEGMENT_SIZE]);
});

Deno.test("a second thread's map knows what the first has set", () => {
  const slots = new FakeSlots();
  const guestRam = fakeRam(16 * MIB);
  const segments = new Uint8Array(new SharedArrayBuffer(SEGMENT_COUNT));
  const [first, second] = [0, 1].map(() => new MemoryMap(slots, guestRam, undefined, segments));
  first.install();
  first.setSegments(0xc_0000, 0x4_0000, SHADOWED);
  assertEquals(second.ramRanges(), first.ramRanges());
  assertEquals(second.setSegments(0xc_0000, 0x4_0000, SHADOWED), false);
});
