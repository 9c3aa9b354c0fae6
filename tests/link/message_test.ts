import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LinkError } from "../../src/link/link_error.ts";
import {
  checkHeader,
  checkPayload,
  Command,
  commandName,
  HEADER_SIZE,
  MAX_PAYLOAD,
  Message,
  Offer,
  offers,
} from "../../src/link/message.ts";
import { MAX_LANES, MAX_SLOTS } from "../../src/link/ring/layout.ts";
import { MAX_SHADOW_RANGES } from "../../src/link/ring/shadow.ts";

/** The message's bytes in hexadecimal, 8 bytes a word as they lie in memory. */
function words(message: Message): string[] {
  const hex = message.bytes.subarray(0, message.length).toHex();
  return hex.match(/.{1,16}/g) ?? [];
}

function made(make: (message: Message) => void): Message {
  const message = new Message();
  message.bytes.fill(0xee); // what an earlier message may have left
  make(message);
  return message;
}

/** Writes little-endian fields over a message, as a hostile peer might. */
function patched(make: (message: Message) => void, ...patches: [at: number, size: 1 | 4, value: number][]): Message {
  const message = made(make);
  const view = new DataView(message.bytes.buffer);
  for (const [at, size, value] of patches) {
    if (size === 1) view.setUint8(at, value);
    else view.setUint32(at, value, true);
  }
  return message;
}

function check(message: Message, descriptors = 0): void {
  checkHeader(message, descriptors);
  checkPayload(message, descriptors);
}

function refused(message: Message, descriptors: number, why: string): void {
  const error = assertThrows(() => check(message, descriptors), LinkError);
  assertEquals((error as LinkError).message, why);
  assertEquals((error as LinkError).failure, "protocol");
}

Deno.test("PCI_CFGREAD carries address, offer and length in 12 bytes", () => {
  const message = made((m) => m.setConfigRead(0x10, 4, 0x53564d31));
  assertEquals(words(message), ["0300000000000000", "0c00000000000000", "10000000314d5653", "04000000"]);
  assertEquals([message.configAddress, message.configValue, message.configLength], [0x10, 0x53564d31, 4]);
});

Deno.test("PCI_CFGREAD offers nothing unless asked to", () => {
  assertEquals(made((m) => m.setConfigRead(0x10, 4)).configValue, 0);
});

Deno.test("PCI_CFGWRITE carries address, value and length in 12 bytes", () => {
  const message = made((m) => m.setConfigWrite(0xfd, 1, 0xab));
  assertEquals(words(message), ["0200000000000000", "0c00000000000000", "fd000000ab000000", "01000000"]);
});

Deno.test("BAR_READ carries a 64-bit address, a width and the space in 24 bytes", () => {
  const message = made((m) => m.setBarRead(0x1_fe00_0004, 2, true));
  assertEquals(words(message), [
    ...["0500000000000000", "1800000000000000"],
    ...["040000fe01000000", "0000000000000000", "0200000001000000"],
  ]);
  assertEquals(message.barAddress, 0x1_fe00_0004);
});

Deno.test("BAR_WRITE carries a value of 64 bits in two halves", () => {
  const message = made((m) => m.setBarWrite(0xc014, 8, false, 0x89abcdef, 0x01234567));
  assertEquals(words(message), [
    ...["0400000000000000", "1800000000000000"],
    ...["14c0000000000000", "efcdab8967452301", "0800000000000000"],
  ]);
  assertEquals([message.barValueLow, message.barValueHigh], [0x89abcdef, 0x01234567]);
  assertEquals([message.barSize, message.barMemory], [8, 0]);
});

Deno.test("SYNC_SYSMEM carries three arrays of 8, unused entries zero", () => {
  const message = made((m) =>
    m.setSyncSysmem([
      { gpa: 0, size: 0xa0000, offset: 0 },
      { gpa: 0x1_0000_0000, size: 0x4000_0000, offset: 0x8000_0000 },
    ])
  );
  const zeroes = Array(6).fill("0000000000000000");
  assertEquals(words(message), [
    ...["0000000000000000", "c000000000000000"],
    ...["0000000000000000", "0000000001000000", ...zeroes],
    ...["00000a0000000000", "0000004000000000", ...zeroes],
    ...["0000000000000000", "0000008000000000", ...zeroes],
  ]);
  assertEquals(message.region(1), { gpa: 0x1_0000_0000, size: 0x4000_0000, offset: 0x8000_0000 });
});

Deno.test("SET_IRQFD and DEVICE_RESET have no payload", () => {
  assertEquals(words(made((m) => m.setIrqFd())), ["0600000000000000", "0000000000000000"]);
  assertEquals(words(made((m) => m.setDeviceReset())), ["0700000000000000", "0000000000000000"]);
});

Deno.test("RET carries 64 bits, or nothing, which reads as zero", () => {
  const full = made((m) => m.setReturn(0xffffffff, 0x80000001));
  assertEquals(words(full), ["0100000000000000", "0800000000000000", "ffffffff01000080"]);
  assertEquals([full.returnLow, full.returnHigh], [0xffffffff, 0x80000001]);
  const empty = made((m) => m.setEmptyReturn());
  assertEquals(words(empty), ["0100000000000000", "0000000000000000"]);
  assertEquals([empty.returnLow, empty.returnHigh], [0, 0]);
});

Deno.test("PROXY_PING and PROXY_PONG carry a number, and are as long as a RET with a value", () => {
  const [ping, pong] = [made((m) => m.setPing(0xfedcba98)), made((m) => m.setPong(0xfedcba98))];
  assertEquals(words(ping), ["1200000000000000", "0800000000000000", "98badcfe00000000"]);
  assertEquals(words(pong), ["1300000000000000", "0800000000000000", "98badcfe00000000"]);
  for (const message of [ping, pong]) {
    assertEquals([message.pingNumber, message.length], [0xfedcba98, made((m) => m.setReturn(0)).length]);
    check(message);
  }
});

Deno.test("RING_SETUP carries how many lanes and slots in 8 bytes", () => {
  const message = made((m) => m.setRingSetup({ lanes: 5, slots: 64 }));
  assertEquals(words(message), ["1000000000000000", "0800000000000000", "0500000040000000"]);
  assertEquals(message.ringGeometry, { lanes: 5, slots: 64 });
  check(message, 2);
});

Deno.test("RING_READY carries the shadow's size and a table of 31 ranges, unused entries zero", () => {
  const ranges = [{ space: 6, offset: 0, length: 0x100, at: 0x2000 }, { space: 2, offset: 4, length: 8, at: 0 }];
  const message = made((m) => m.setRingReady({ size: 0x3000, ranges }));
  assertEquals(words(message), [
    ...["1100000000000000", "f801000000000000", "0030000002000000"],
    ...["0600000000000000", "0001000000200000", "0200000004000000", "0800000000000000"],
    ...Array(2 * 29).fill("0000000000000000"),
  ]);
  assertEquals([message.shadowCount, message.shadowLayout], [2, { size: 0x3000, ranges }]);
  check(message, 1);
});

Deno.test("RING_READY has room for the most ranges, and is not made of more", () => {
  const ranges = Array.from(
    { length: MAX_SHADOW_RANGES },
    (_, i) => ({ space: 1, offset: 4 * i, length: 4, at: 4 * i }),
  );
  const message = made((m) => m.setRingReady({ size: 0x1000, ranges }));
  check(message, 1);
  assertEquals(message.shadowLayout.ranges, ranges);
  assertThrows(() => message.setRingReady({ size: 0x1000, ranges: [...ranges, ranges[0]] }), RangeError);
});

Deno.test("something is offered by a word that has the mark and its bit", () => {
  assert(offers(Offer.MARK | Offer.RING, Offer.RING));
  assert(offers(Offer.MARK | 0xffff, Offer.RING));
  // What QEMU's proxy and remote have in these fields, and what anybody else may.
  for (const word of [0, 0xffffffff, Offer.RING, Offer.MARK, Offer.MARK | 0xfffe, 0x73770001, 0xf3760001]) {
    assert(!offers(word, Offer.RING), word.toString(16));
  }
});

Deno.test("padding in the header and in a BAR access may hold anything", () => {
  check(patched((m) => m.setConfigRead(0, 4), [4, 4, 0xdeadbeef]));
  check(patched((m) => m.setBarRead(0x1000, 4, true), [37, 1, 0xff], [38, 1, 0xff], [39, 1, 0xff]));
});

Deno.test("every width of the format is accepted", () => {
  for (const length of [1, 2, 4]) check(made((m) => m.setConfigRead(0xff, length)));
  for (const size of [1, 2, 4, 8]) check(made((m) => m.setBarWrite(0, size, true, 0)));
});

Deno.test("an unknown command is refused", () => {
  for (
    const [value, shown] of [[8, "8"], [15, "15"], [63, "63"], [0x7fffffff, "2147483647"], [0xffffffff, "-1"]] as const
  ) {
    refused(patched((m) => m.setDeviceReset(), [0, 4, value]), 0, `unknown command ${shown}`);
  }
});

Deno.test("a payload of the wrong size is refused before it is read", () => {
  refused(patched((m) => m.setConfigRead(0, 4), [8, 4, 13]), 0, "PCI_CFGREAD: payload of 13 bytes, not 12");
  refused(patched((m) => m.setBarRead(0, 4, true), [8, 4, 0]), 0, "BAR_READ: payload of 0 bytes, not 24");
  refused(patched((m) => m.setReturn(0), [8, 4, 4]), 0, "RET: payload of 4 bytes, not 8 or 0");
  refused(patched((m) => m.setIrqFd(), [8, 4, 8]), 2, "SET_IRQFD: payload of 8 bytes, not 0");
  refused(
    patched((m) => m.setRingSetup({ lanes: 1, slots: 2 }), [8, 4, 12]),
    2,
    "RING_SETUP: payload of 12 bytes, not 8",
  );
  refused(
    patched((m) => m.setRingReady({ size: 0, ranges: [] }), [8, 4, 520]),
    1,
    "RING_READY: payload of 520 bytes, not 504",
  );
  refused(
    patched((m) => m.setDeviceReset(), [8, 4, 0], [12, 4, 1]),
    0,
    "DEVICE_RESET: payload of 4294967296 bytes, not 0",
  );
});

Deno.test("a wrong number of descriptors is refused", () => {
  const region = [{ gpa: 0, size: 4096, offset: 0 }];
  refused(made((m) => m.setSyncSysmem(region)), 0, "SYNC_SYSMEM: 0 descriptors, not 1 to 7");
  refused(made((m) => m.setSyncSysmem(region)), 8, "SYNC_SYSMEM: 8 descriptors, not 1 to 7");
  refused(made((m) => m.setIrqFd()), 1, "SET_IRQFD: 1 descriptor, not 2");
  refused(made((m) => m.setIrqFd()), 3, "SET_IRQFD: 3 descriptors, not 2");
  refused(made((m) => m.setConfigRead(0, 4)), 1, "PCI_CFGREAD: 1 descriptor, not 0");
  const ring = { lanes: 1, slots: 2 };
  refused(made((m) => m.setRingSetup(ring)), 1, "RING_SETUP: 1 descriptor, not 2");
  refused(made((m) => m.setRingSetup(ring)), 3, "RING_SETUP: 3 descriptors, not 2");
  refused(made((m) => m.setRingReady({ size: 0, ranges: [] })), 0, "RING_READY: 0 descriptors, not 1");
  refused(made((m) => m.setReturn(0)), 1, "RET: 1 descriptor, not 0");
});

Deno.test("a configuration access of another length is refused", () => {
  for (const length of [0, 3, 8, -1]) {
    refused(made((m) => m.setConfigWrite(0, length, 0)), 0, `PCI_CFGWRITE: len is ${length}, not 1, 2 or 4`);
  }
});

Deno.test("a BAR access of another width or space is refused", () => {
  for (const size of [0, 3, 16, 0x80000004]) {
    refused(made((m) => m.setBarRead(0, size, true)), 0, `BAR_READ: size is ${size}, not 1, 2, 4 or 8`);
  }
  refused(patched((m) => m.setBarWrite(0, 4, true, 0), [36, 1, 2]), 0, "BAR_WRITE: memory is 2, not 0 or 1");
});

Deno.test("a ring of a geometry that there is not is refused", () => {
  const setup = (lanes: number, slots: number) => made((m) => m.setRingSetup({ lanes, slots }));
  for (const lanes of [0, MAX_LANES + 1, 0xffffffff]) {
    refused(setup(lanes, 64), 2, `RING_SETUP: A ring cannot have ${lanes} lanes`);
  }
  for (const slots of [0, 1, 3, MAX_SLOTS + 1, 2 * MAX_SLOTS, 0x80000000]) {
    refused(setup(1, slots), 2, `RING_SETUP: A lane cannot have ${slots} slots`);
  }
  check(setup(MAX_LANES, MAX_SLOTS), 2);
});

Deno.test("a RING_READY of more ranges than it can hold is refused", () => {
  const ready = patched((m) => m.setRingReady({ size: 0, ranges: [] }), [20, 4, MAX_SHADOW_RANGES + 1]);
  refused(ready, 1, "RING_READY: 32 ranges; 31 are the most");
});

Deno.test("a region that no number can hold is refused", () => {
  const region = (m: Message) => m.setSyncSysmem([{ gpa: 0x1000, size: 0x1000, offset: 0 }]);
  const high = 0x00200000; // 2^53
  refused(patched(region, [20, 4, high]), 1, "SYNC_SYSMEM: gpas[0] is 0x20000000001000, above 2^53 - 1");
  refused(patched(region, [84, 4, high]), 1, "SYNC_SYSMEM: sizes[0] is 0x20000000001000, above 2^53 - 1");
  refused(patched(region, [148, 4, high]), 1, "SYNC_SYSMEM: offsets[0] is 0x20000000000000, above 2^53 - 1");
  refused(patched(region, [80, 4, 0]), 1, "SYNC_SYSMEM: sizes[0] is 0");
  refused(
    patched(region, [20, 4, high - 1], [16, 4, 0xfffff000]),
    1,
    "SYNC_SYSMEM: region 0 ends at 0x20000000000000, above 2^53 - 1",
  );
  refused(
    patched(region, [148, 4, high - 1], [144, 4, 0xfffff000]),
    1,
    "SYNC_SYSMEM: region 0 ends at offset 0x20000000000000, above 2^53 - 1",
  );
});

Deno.test("entries of a SYNC_SYSMEM beyond its descriptors are not looked at", () => {
  const region = (m: Message) => m.setSyncSysmem([{ gpa: 0x1000, size: 0x1000, offset: 0 }]);
  check(patched(region, [28, 4, 0xffffffff]), 1);
});

Deno.test("SYNC_SYSMEM is not made of no region, of 8, or of one that is no range", () => {
  const region = { gpa: 0, size: 4096, offset: 0 };
  assertThrows(() => new Message().setSyncSysmem([]), RangeError);
  assertThrows(() => new Message().setSyncSysmem(Array(8).fill(region)), RangeError);
  assertThrows(() => new Message().setSyncSysmem([{ ...region, gpa: -1 }]), RangeError);
  assertThrows(() => new Message().setSyncSysmem([{ ...region, offset: 2 ** 53 }]), RangeError);
});

Deno.test("a command is named for people, an unknown one by its number", () => {
  for (const [name, command] of Object.entries(Command)) assertEquals(commandName(command), name);
  assertEquals(commandName(-7), "command -7");
});

Deno.test("property: no bytes make the checks throw anything but a LinkError", () => {
  const plausible = fc.tuple(fc.integer({ min: 0, max: 18 }), fc.constantFrom(0, 8, 12, 24, 192, MAX_PAYLOAD));
  const size = HEADER_SIZE + MAX_PAYLOAD;
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: size, maxLength: size }),
      plausible,
      fc.boolean(),
      fc.nat(9),
      (bytes, header, tidy, fds) => {
        const message = new Message();
        message.bytes.set(bytes);
        const view = new DataView(message.bytes.buffer);
        if (tidy) {
          view.setInt32(0, header[0], true);
          view.setBigUint64(8, BigInt(header[1]), true);
        }
        try {
          check(message, fds);
        } catch (error) {
          if (!(error instanceof LinkError) || error.message.includes("\n")) throw error;
        }
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("property: what is encoded is decoded", () => {
  const u32 = fc.nat(0xffffffff);
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.constantFrom(1, 2, 4, 8),
      fc.boolean(),
      u32,
      u32,
      (address, size, memory, low, high) => {
        const message = made((m) => m.setBarWrite(address, size, memory, low, high));
        check(message);
        assertEquals(
          [message.barAddress, message.barSize, message.barMemory, message.barValueLow, message.barValueHigh],
          [address, size, memory ? 1 : 0, low, high],
        );
      },
    ),
  );
});
