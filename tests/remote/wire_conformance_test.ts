/**
 * The device process as its proxy meets it: every message of the wire format, in order and out of it, by the table in
 * src/link/message.ts.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { createEventFd, drainEventFd, signalEventFd } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../src/ffi/memory.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import type { Message } from "../../src/link/message.ts";
import { leakingNothing, openDescriptors } from "../support/leaks.ts";
import { bytesOf, FakeProxy, startRemote, withRemote } from "../support/remote_harness.ts";
import { TestBar, TestDeviceId, TestRegister } from "../support/test_device.ts";

const IO_BASE = 0xc000;
const MEMORY_BASE = 0xfebf0000;
const RAM_SIZE = 0x10000;

const ALL_ONES = { low: 0xffffffff, high: 0xffffffff, empty: false };
const value = (low: number, high = 0) => ({ low, high, empty: false });
const DONE = value(0);

type Make = (message: Message) => void;

const configRead = (offset: number, size: number): Make => (m) => m.setConfigRead(offset, size);
const configWrite = (offset: number, size: number, value: number): Make => (m) => m.setConfigWrite(offset, size, value);
const barRead = (address: number, size: number, memory = true): Make => (m) => m.setBarRead(address, size, memory);
const barWrite = (address: number, size: number, low: number, high = 0, memory = true): Make => (m) =>
  m.setBarWrite(address, size, memory, low, high);
const register = (offset: number) => MEMORY_BASE + offset;

/** Gives the BARs addresses and enables them, as firmware does. */
function enable(proxy: FakeProxy): void {
  assertEquals(proxy.call(configWrite(PciConfig.BAR0, 4, IO_BASE)), DONE);
  assertEquals(proxy.call(configWrite(PciConfig.BAR0 + 4, 4, MEMORY_BASE)), DONE);
  const command = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER;
  assertEquals(proxy.call(configWrite(PciConfig.COMMAND, 2, command)), DONE);
}

/** Announces a RAM of one region at 0. @returns its bytes, and how to give it back. */
function giveRam(proxy: FakeProxy): { ram: Uint8Array; release: () => void } {
  const file = createMemoryFile("ram", RAM_SIZE);
  const mapping = mapFile(file, 0, RAM_SIZE);
  proxy.request((m) => m.setSyncSysmem([{ gpa: 0, size: RAM_SIZE, offset: 0 }]), [file]);
  closeFd(file);
  return { ram: mapping.bytes, release: () => mapping.unmap() };
}

function assertAlive(proxy: FakeProxy): void {
  assertEquals(proxy.call(configRead(PciConfig.VENDOR_ID, 2)), value(TestDeviceId.VENDOR));
}

Deno.test(
  "PCI_CFGREAD answers with the value in the lower half and nothing in the upper",
  withRemote((proxy) => {
    assertEquals(proxy.call(configRead(0, 4)), value(TestDeviceId.DEVICE * 0x10000 + TestDeviceId.VENDOR));
    assertEquals(proxy.call(configRead(PciConfig.INTERRUPT_PIN, 1)), value(1));
  }),
);

Deno.test(
  "PCI_CFGREAD of every width at every offset answers, all-ones where it does not fit",
  withRemote((proxy) => {
    for (const size of [1, 2, 4]) {
      for (let offset = 0xe0; offset < 0x108; offset++) {
        assertEquals(proxy.call(configRead(offset, size)), offset + size <= 0x100 ? value(0) : ALL_ONES);
      }
      assertEquals(proxy.call(configRead(0xffffffff, size)), ALL_ONES);
    }
  }),
);

Deno.test(
  "PCI_CFGREAD that offers an extension is answered as if it did not",
  withRemote((proxy) => {
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, 0xffffffff)), value(TestDeviceId.VENDOR));
  }),
);

Deno.test(
  "PCI_CFGWRITE is acknowledged with 0, and with all-ones where it does not fit",
  withRemote((proxy) => {
    assertEquals(proxy.call(configWrite(PciConfig.INTERRUPT_LINE, 1, 0xffffff0b)), DONE);
    assertEquals(proxy.call(configRead(PciConfig.INTERRUPT_LINE, 2)), value(0x010b));
    for (const [offset, size] of [[0xfd, 4], [0xff, 2], [0x100, 1], [0xfffffffe, 4]]) {
      assertEquals(proxy.call(configWrite(offset, size, 0)), ALL_ONES);
    }
    assertAlive(proxy);
  }),
);

Deno.test(
  "the probe that QEMU's proxy does finds the BARs' sizes, and 5 slots without one",
  withRemote((proxy) => {
    const sizes = [];
    for (let slot = PciConfig.BAR0; slot <= 0x28; slot += 4) {
      const before = proxy.call(configRead(slot, 4)).low;
      proxy.call(configWrite(slot, 4, 0xffffffff));
      sizes.push((~(proxy.call(configRead(slot, 4)).low & 0xfffffff0) + 1) >>> 0);
      proxy.call(configWrite(slot, 4, before));
      assertEquals(proxy.call(configRead(slot, 4)).low, before);
    }
    assertEquals(sizes, [TestBar.IO_SIZE, TestBar.MEMORY_SIZE, 0, 0, 0, 0, 0]);
  }),
);

Deno.test(
  "BAR_WRITE and BAR_READ of every width reach the device in both spaces",
  withRemote((proxy) => {
    enable(proxy);
    for (const [base, memory] of [[IO_BASE, false], [MEMORY_BASE, true]] as const) {
      for (const [size, low, high] of [[1, 0xa1, 0], [2, 0xa1b2, 0], [4, 0xa1b2c3d4, 0], [8, 0xa1b2c3d4, 0xe5f60718]]) {
        assertEquals(proxy.call(barWrite(base + 8, size, low, high, memory)), DONE);
        assertEquals(proxy.call(barRead(base + 8, size, memory)), value(low, high));
      }
    }
  }),
);

Deno.test(
  "BAR accesses that nothing answers get all-ones, for a read and for a write",
  withRemote((proxy) => {
    const everywhere = [0, MEMORY_BASE, 2 ** 32 - 4, 2 ** 52];
    for (const address of everywhere) assertEquals(proxy.call(barRead(address, 4)), ALL_ONES);
    enable(proxy);
    const end = MEMORY_BASE + TestBar.MEMORY_SIZE;
    assertEquals(proxy.call(barRead(end - 4, 4)), value(0));
    assertEquals(proxy.call(barRead(end - 4, 8)), ALL_ONES);
    assertEquals(proxy.call(barRead(end - 1, 2)), ALL_ONES);
    assertEquals(proxy.call(barWrite(end, 1, 0)), ALL_ONES);
    assertEquals(proxy.call(barRead(MEMORY_BASE, 4, false)), ALL_ONES);
  }),
);

Deno.test(
  "a BAR address of 64 bits is looked at as a whole",
  withRemote((proxy) => {
    enable(proxy);
    const bytes = bytesOf(barRead(MEMORY_BASE, 4));
    new DataView(bytes.buffer).setUint32(20, 1, true); // the same address, 4 GiB further up
    proxy.send(bytes);
    assertEquals(proxy.reply(), ALL_ONES);
    new DataView(bytes.buffer).setUint32(20, 0xffffffff, true);
    proxy.send(bytes);
    assertEquals(proxy.reply(), ALL_ONES);
  }),
);

Deno.test(
  "SYNC_SYSMEM has no reply, and gives the device RAM",
  withRemote((proxy) => {
    enable(proxy);
    const { ram, release } = giveRam(proxy);
    assertEquals(proxy.reply(), undefined);
    ram.set([1, 2, 3, 4], 0x8000);
    proxy.call(barWrite(register(TestRegister.DMA_ADDRESS), 4, 0x8000));
    proxy.call(barWrite(register(TestRegister.DMA_START), 4, 1));
    assertEquals(proxy.call(barRead(register(TestRegister.DMA_START), 4)), value(1));
    assertEquals(proxy.call(barRead(register(0), 4)), value(0x04030201));
    release();
  }),
);

Deno.test(
  "without a SYNC_SYSMEM, and outside what it announced, DMA is refused",
  withRemote((proxy, log) => {
    enable(proxy);
    const attempt = (address: number) => {
      proxy.call(barWrite(register(TestRegister.DMA_ADDRESS), 4, address));
      proxy.call(barWrite(register(TestRegister.DMA_START), 4, 2));
      return proxy.call(barRead(register(TestRegister.DMA_START), 4)).low;
    };
    assertEquals(attempt(0), 0);
    const { release } = giveRam(proxy);
    assertEquals([attempt(RAM_SIZE - 16), attempt(RAM_SIZE - 15), attempt(0xfffffff0)], [1, 0, 0]);
    assertEquals(log, ["device dev0: DMA outside the guest's RAM was refused"]);
    release();
  }),
);

Deno.test(
  "RAM that is announced again and again uses no more descriptors",
  withRemote((proxy) => {
    const files = [0, 1].map((i) => createMemoryFile(`ram${i}`, RAM_SIZE));
    const region = { gpa: 0, size: 0x1000, offset: 0 };
    const seven = Array.from({ length: 7 }, (_, i) => ({ ...region, gpa: i * 0x1000, offset: i * 0x1000 }));
    const before = openDescriptors();
    for (let i = 0; i < 20; i++) {
      proxy.request((m) => m.setSyncSysmem(seven), seven.map((_, r) => files[(i + r) % 2]));
      assertEquals(openDescriptors(), before);
    }
    assertAlive(proxy);
    files.forEach(closeFd);
  }),
);

Deno.test(
  "SET_IRQFD has no reply, and carries the device's interrupts with resampling",
  withRemote((proxy) => {
    enable(proxy);
    const [irq, resample] = [createEventFd(), createEventFd()];
    proxy.request((m) => m.setIrqFd(), [irq, resample]);
    assertEquals(proxy.reply(), undefined);
    proxy.call(barWrite(register(TestRegister.PIN), 4, 1));
    assert(drainEventFd(irq));
    signalEventFd(resample);
    proxy.settle();
    assert(drainEventFd(irq));
    proxy.call(barWrite(register(TestRegister.PIN), 4, 0));
    signalEventFd(resample);
    proxy.settle();
    assert(!drainEventFd(irq));
    [irq, resample].forEach(closeFd);
  }),
);

Deno.test(
  "SET_IRQFD replaces the descriptors before it, and signals a pin that is high",
  withRemote((proxy) => {
    enable(proxy);
    proxy.call(barWrite(register(TestRegister.PIN), 4, 1));
    const before = openDescriptors().size;
    for (let i = 0; i < 5; i++) {
      const fds = [createEventFd(), createEventFd()];
      proxy.request((m) => m.setIrqFd(), fds);
      assert(drainEventFd(fds[0]));
      fds.forEach(closeFd);
      assertEquals(openDescriptors().size, before + 2);
    }
  }),
);

Deno.test(
  "DEVICE_RESET answers with an empty RET after the device is as new",
  withRemote((proxy) => {
    enable(proxy);
    assertEquals(proxy.call((m) => m.setDeviceReset()), { low: 0, high: 0, empty: true });
    assertEquals(proxy.device.resets, 1);
    assertEquals(proxy.call(configRead(PciConfig.BAR0 + 4, 4)), value(0));
    assertEquals(proxy.call(barRead(MEMORY_BASE, 4)), ALL_ONES);
  }),
);

Deno.test(
  "messages that come byte by byte, and several at once, are answered in order",
  withRemote((proxy) => {
    const bytes = [configRead(0, 2), configRead(0, 4), configRead(0x100, 1), (m: Message) => m.setDeviceReset()].map(
      bytesOf,
    );
    const stream = Uint8Array.from(bytes.flatMap((message) => [...message]));
    const replies = () => Array.from(bytes, () => proxy.reply());
    for (const byte of stream) proxy.send(Uint8Array.of(byte));
    const expected = replies();
    assertEquals(expected.map((reply) => reply?.low), [0x1b36, 0x5eed1b36, 0xffffffff, 0]);
    proxy.send(stream);
    assertEquals(replies(), expected);
  }),
);

Deno.test(
  "a proxy that sends and never reads is served no further, and once it reads gets every reply",
  withRemote((proxy) => {
    const request = bytesOf(configRead(0, 2));
    let sent = 0;
    for (let stuck = 0; stuck < 2;) {
      if (proxy.stuff(request)) {
        sent++;
        stuck = 0;
      } else {
        proxy.settle();
        stuck++;
      }
    }
    let replies = 0;
    for (let idle = 0; idle < 2;) {
      if (proxy.reply() !== undefined) {
        replies++;
        idle = 0;
      } else {
        proxy.settle();
        idle++;
      }
    }
    assertEquals(replies, sent);
    assertAlive(proxy);
  }),
);

Deno.test(
  "a device that is busy by itself does not hold up its link",
  withRemote((proxy) => {
    enable(proxy);
    proxy.call(barWrite(register(TestRegister.TICKS), 4, 1000));
    assertEquals(proxy.call(barRead(register(TestRegister.TICKED), 4)), value(1000));
  }),
);

Deno.test(
  "a proxy that goes away ends its device in good order",
  withRemote((proxy, log) => {
    enable(proxy);
    proxy.close();
    proxy.settle();
    assertEquals([proxy.machine.size, proxy.machine.failed, log], [0, false, []]);
  }),
);

Deno.test(
  "a proxy that goes away before it reads its replies ends its device in good order",
  withRemote((proxy, log) => {
    for (let i = 0; i < 3; i++) proxy.request(configRead(0, 4));
    assert(proxy.stuff(bytesOf(configRead(0, 4))));
    proxy.close();
    proxy.settle();
    assertEquals([proxy.machine.size, proxy.machine.failed, log], [0, false, []]);
  }),
);

Deno.test(
  "links of one process do not touch each other",
  leakingNothing(() => {
    const log: string[] = [];
    const { machine, proxies: [first, second, third] } = startRemote(log, 3);
    first.send(bytesOf(configRead(0, 4)).slice(0, 20));
    second.request((m) => m.setConfigRead(0, 3));
    assertAlive(third);
    assertEquals([machine.size, machine.failed], [2, true]);
    assertEquals(log, ["remote-object robj1: PCI_CFGREAD: len is 3, not 1, 2 or 4; the link is closed"]);
    [first, second, third].forEach((proxy) => proxy.close());
    machine.close();
  }),
);

/** A message whose header or payload is changed in one place. */
function patched(make: Make, at: number, size: 1 | 4, value: number): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(make);
  const view = new DataView(bytes.buffer);
  if (size === 1) view.setUint8(at, value);
  else view.setUint32(at, value, true);
  return bytes;
}

const oneRegion: Make = (m) => m.setSyncSysmem([{ gpa: 0, size: 0x1000, offset: 0 }]);
const twoRegions: Make = (m) =>
  m.setSyncSysmem([{ gpa: 0, size: 0x2000, offset: 0 }, { gpa: 0x1000, size: 0x1000, offset: 0x4000 }]);
const irqFd: Make = (m) => m.setIrqFd();
const reset: Make = (m) => m.setDeviceReset();

/**
 * Kinds of descriptors: f for a memory file of 64 KiB, e for an eventfd, s for a socket, c for a socket without a peer.
 */
const MALFORMED: readonly [bytes: Uint8Array<ArrayBuffer>, descriptors: string, why: string][] = [
  [patched(reset, 0, 4, 8), "", "unknown command 8"],
  [patched(reset, 0, 4, 0xffffffff), "", "unknown command -1"],
  [bytesOf((m) => m.setReturn(0)), "", "RET: a device process asks for nothing that this could answer"],
  [bytesOf((m) => m.setEmptyReturn()), "", "RET: a device process asks for nothing that this could answer"],
  [patched(configRead(0, 4), 8, 4, 11), "", "PCI_CFGREAD: payload of 11 bytes, not 12"],
  [patched(configWrite(0, 4, 0), 8, 4, 16), "", "PCI_CFGWRITE: payload of 16 bytes, not 12"],
  [patched(barRead(0, 4), 8, 4, 0), "", "BAR_READ: payload of 0 bytes, not 24"],
  [patched(barWrite(0, 4, 0), 12, 4, 1), "", "BAR_WRITE: payload of 4294967320 bytes, not 24"],
  [patched(oneRegion, 12, 4, 0xffffffff), "f", "SYNC_SYSMEM: payload of 18446744069414584000 bytes, not 192"],
  [patched(irqFd, 8, 4, 1), "ee", "SET_IRQFD: payload of 1 bytes, not 0"],
  [patched(reset, 8, 4, 8), "", "DEVICE_RESET: payload of 8 bytes, not 0"],
  [bytesOf(configRead(0, 3)), "", "PCI_CFGREAD: len is 3, not 1, 2 or 4"],
  [bytesOf(configRead(0, -1)), "", "PCI_CFGREAD: len is -1, not 1, 2 or 4"],
  [bytesOf(configWrite(0, 0, 0)), "", "PCI_CFGWRITE: len is 0, not 1, 2 or 4"],
  [bytesOf(configWrite(0, 8, 0)), "", "PCI_CFGWRITE: len is 8, not 1, 2 or 4"],
  [bytesOf(barRead(0, 0)), "", "BAR_READ: size is 0, not 1, 2, 4 or 8"],
  [bytesOf(barWrite(0, 16, 0)), "", "BAR_WRITE: size is 16, not 1, 2, 4 or 8"],
  [bytesOf(barRead(0, 0x80000001)), "", "BAR_READ: size is 2147483649, not 1, 2, 4 or 8"],
  [patched(barWrite(0, 4, 0), 36, 1, 2), "", "BAR_WRITE: memory is 2, not 0 or 1"],
  [bytesOf(configRead(0, 4)), "e", "PCI_CFGREAD: 1 descriptor, not 0"],
  [bytesOf(barWrite(0, 4, 0)), "fe", "BAR_WRITE: 2 descriptors, not 0"],
  [bytesOf(reset), "eeeeeee", "DEVICE_RESET: 7 descriptors, not 0"],
  [bytesOf(irqFd), "", "SET_IRQFD: 0 descriptors, not 2"],
  [bytesOf(irqFd), "e", "SET_IRQFD: 1 descriptor, not 2"],
  [bytesOf(irqFd), "eee", "SET_IRQFD: 3 descriptors, not 2"],
  [bytesOf(irqFd), "fe", "SET_IRQFD: the irq descriptor is not an eventfd"],
  [bytesOf(irqFd), "es", "SET_IRQFD: the resample descriptor is not an eventfd"],
  [bytesOf(irqFd), "cc", "SET_IRQFD: the irq descriptor is not an eventfd"],
  [bytesOf(oneRegion), "", "SYNC_SYSMEM: 0 descriptors, not 1 to 7"],
  [bytesOf(oneRegion), "ffffffff", "8 descriptors came with a message; 7 are the most"],
  [bytesOf(oneRegion), "f".repeat(200), "200 descriptors came with a message; 7 are the most"],
  [bytesOf(oneRegion), "e", "SYNC_SYSMEM: region 0 is not in a memory file"],
  [bytesOf(oneRegion), "c", "SYNC_SYSMEM: region 0 is not in a memory file"],
  [bytesOf(oneRegion), "ff", "SYNC_SYSMEM: sizes[1] is 0"],
  [bytesOf(twoRegions), "ff", "SYNC_SYSMEM: regions 0 and 1 overlap"],
  [patched(oneRegion, 20, 4, 0x80000000), "f", "SYNC_SYSMEM: gpas[0] is 0x8000000000000000, above 2^53 - 1"],
  [patched(oneRegion, 148, 4, 0xffffffff), "f", "SYNC_SYSMEM: offsets[0] is 0xffffffff00000000, above 2^53 - 1"],
  [patched(oneRegion, 80, 4, 0x10001), "f", "SYNC_SYSMEM: region 0 ends at offset 0x10001, beyond its file's 0x10000"],
  [patched(oneRegion, 144, 4, 0x10000), "f", "SYNC_SYSMEM: region 0 ends at offset 0x11000, beyond its file's 0x10000"],
  [patched(oneRegion, 144, 4, 0x10), "f", "SYNC_SYSMEM: region 0 starts at offset 0x10, not at a page"],
];

/** Makes the descriptors, lends them to `body`, and closes them. */
function lending(kinds: string, body: (descriptors: number[]) => void): void {
  const file = createMemoryFile("ram", RAM_SIZE);
  const eventFd = createEventFd();
  const [socket, peer] = createSocketPair();
  const [alone, gone] = createSocketPair();
  closeFd(gone);
  const byKind: Record<string, number> = { f: file, e: eventFd, s: socket, c: alone };
  body([...kinds].map((kind) => byKind[kind]));
  [file, eventFd, socket, peer, alone].forEach(closeFd);
}

for (const [bytes, kinds, why] of MALFORMED) {
  Deno.test(
    `refused, with the link closed and one line: ${why} (descriptors: ${kinds.slice(0, 9) || "none"})`,
    withRemote((proxy, log) => {
      lending(kinds, (descriptors) => {
        const before = openDescriptors();
        assertAlive(proxy);
        proxy.send(bytes, descriptors);
        assert(proxy.closedByRemote);
        assertEquals(proxy.machine.size, 0);
        assertEquals(log, [`remote-object robj0: ${why}; the link is closed`]);
        assert(openDescriptors().size < before.size, "the remote's own descriptors were not closed");
      });
    }),
  );
}

Deno.test("a proxy that closes inside a message ends its device with an error, at each byte of each message", () => {
  const messages: [Make, string][] = [
    [configRead(0, 4), ""],
    [configWrite(0, 4, 0), ""],
    [barRead(MEMORY_BASE, 4), ""],
    [barWrite(MEMORY_BASE, 4, 0), ""],
    [oneRegion, "f"],
    [irqFd, "ee"],
    [reset, ""],
  ];
  for (const [make, kinds] of messages) {
    const bytes = bytesOf(make);
    for (let length = 1; length < bytes.length; length++) {
      withRemote((proxy, log) => {
        lending(kinds, (descriptors) => proxy.send(bytes.slice(0, length), descriptors));
        assertEquals([proxy.machine.size, log], [1, []]);
        proxy.close();
        proxy.settle();
        assertEquals([proxy.machine.size, proxy.machine.failed, log.length], [0, true, 1]);
        assert(log[0].includes(`the peer closed the link after ${length} of the `), log[0]);
      })();
    }
  }
});

/** Actions of a proxy that may do anything, but more often than not speaks the format. */
const anyBytes = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(0x120), fc.constantFrom(1, 2, 4)).map(([at, size]) => bytesOf(configRead(at, size))),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(0x40), fc.constantFrom(1, 2, 4), fc.nat(0xffffffff)).map(([at, size, bits]) =>
      bytesOf(configWrite(at, size, bits))
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(0x1010), fc.constantFrom(1, 2, 4, 8), fc.nat(0xffffffff), fc.boolean()).map((
      [at, size, bits, memory],
    ) => bytesOf(barWrite((memory ? MEMORY_BASE : IO_BASE) + at, size, bits % 1000, bits, memory))),
  },
  { weight: 1, arbitrary: fc.constantFrom(oneRegion, twoRegions, irqFd, reset).map(bytesOf) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 64 }).map((bytes) => Uint8Array.from(bytes)) },
);

Deno.test("property: nothing that a proxy sends throws, hangs, or leaves a descriptor open", () => {
  const kinds = fc.constantFrom("", "", "", "f", "ff", "ee", "es", "fffffff", "eeeeeeee");
  const action = fc.record({ bytes: anyBytes, kinds, cut: fc.option(fc.nat(200), { freq: 8 }) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 12 }), (actions) => {
      withRemote((proxy) => {
        enable(proxy);
        for (const { bytes, kinds, cut } of actions) {
          if (proxy.machine.size === 0) break;
          const part = bytes.slice(0, Math.max(1, cut ?? bytes.length));
          lending(kinds, (descriptors) => proxy.send(part, descriptors));
        }
      })();
    }),
    { numRuns: 200 },
  );
});
