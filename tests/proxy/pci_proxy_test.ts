import { assert, assertEquals, assertThrows } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile } from "../../src/ffi/memory.ts";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { drainEventFd } from "../../src/ffi/event.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy, type ProxyHandle } from "../../src/proxy/pci_proxy.ts";
import { leakingNothing } from "../support/leaks.ts";
import { FakePeer, RecordingMachine, type Request } from "./support/fake_peer.ts";

const IO_SIZE = 0x100;
const MEMORY_SIZE = 0x400;
const IO_BASE = 0xc000;
const MEMORY_BASE = 0xfebf_0000;
const COMMAND_DECODING = PciCommand.IO | PciCommand.MEMORY;
const INTA = 1;

/** Answers the greeting as a device does that has an I/O BAR, a memory BAR, and an interrupt pin. */
function answerGreeting(peer: FakePeer, { bars = [0xffffff01, 0xfffffc00], pin = INTA } = {}): void {
  for (let i = 0; i < 6; i++) peer.reply(0, 0, bars[i] ?? 0, 0); // before, write, size, write
  peer.reply(pin << 8);
}

interface Scene {
  readonly peer: FakePeer;
  readonly machine: RecordingMachine;
  readonly proxy: PciProxy;
  readonly handle: ProxyHandle;
}

/**
 * A test with a proxy of a device that has settled long ago (see "in its first seconds" for one that has not); nothing that it opens stays
 * open.
 */
function withProxy(body: (scene: Scene) => void, { pin = INTA, connectedAt = -Infinity } = {}): () => void {
  return leakingNothing(() => {
    const [peer, machine] = [new FakePeer(), new RecordingMachine()];
    answerGreeting(peer, { pin });
    const handle = { ...connectProxy("lsi0", peer.fd), connectedAt };
    peer.requests();
    try {
      body({ peer, machine, handle, proxy: new PciProxy(handle, machine, 0) });
    } finally {
      closeInterruptFds(handle.interrupt);
      peer.dispose();
    }
  });
}

/** Does what firmware does: gives the BARs addresses, and enables them. */
function placeBars({ peer, proxy }: Scene): void {
  peer.reply(0, 0, 0);
  proxy.writeConfig(PciConfig.BAR0, 4, IO_BASE);
  proxy.writeConfig(PciConfig.BAR0 + 4, 4, MEMORY_BASE);
  proxy.writeConfig(PciConfig.COMMAND, 2, COMMAND_DECODING);
  peer.requests();
}

Deno.test(
  "the greeting learns BARs and pin, restores each BAR, and hands over two eventfds",
  leakingNothing(() => {
    const peer = new FakePeer();
    answerGreeting(peer);
    const { bars, interruptPin, interrupt } = connectProxy("lsi0", peer.fd);
    assertEquals(bars, [
      { index: 0, space: "io", size: IO_SIZE },
      { index: 1, space: "memory", size: MEMORY_SIZE },
    ]);
    assertEquals(interruptPin, INTA);
    const requests = peer.requests();
    assertEquals(requests.slice(0, 4), [
      ...[["PCI_CFGREAD", 0x10, 4], ["PCI_CFGWRITE", 0x10, 4, 0xffffffff]],
      ...[["PCI_CFGREAD", 0x10, 4], ["PCI_CFGWRITE", 0x10, 4, 0]],
    ]);
    assertEquals(requests.at(-1), ["SET_IRQFD", 2]);
    closeInterruptFds(interrupt);
    peer.dispose();
  }),
);

Deno.test(
  "a pin that no function has counts as none",
  withProxy(({ proxy }) => assertEquals(proxy.interruptPin, 0), { pin: 5 }),
);

Deno.test(
  "a peer that does not answer as a device is refused; the socket stays its owner's, and nothing else is left",
  leakingNothing(() => {
    const closes = new FakePeer();
    closes.close();
    const error = assertThrows(() => connectProxy("lsi0", closes.fd), Error, "lsi0 does not answer as a device");
    assertEquals((error.cause as Error).message, "the peer closed the link");
    closes.dispose();

    const wide = new FakePeer();
    answerGreeting(wide, { bars: [0xfffff004] });
    const cause = assertThrows(() => connectProxy("lsi0", wide.fd), Error).cause as Error;
    assert(cause.message.includes("BAR 0 is a 64-bit one"), cause.message);
    wide.dispose();
  }),
);

Deno.test(
  "configuration accesses are forwarded, every one of them, and values cut to their width",
  withProxy(({ peer, proxy }) => {
    peer.reply(0xaabbccdd, 0xaabbccdd, 0xaabbccdd, 0);
    assertEquals(proxy.readConfig(0xfd, 1), 0xdd);
    assertEquals(proxy.readConfig(0x02, 2), 0xccdd);
    assertEquals(proxy.readConfig(0x00, 4), 0xaabbccdd);
    proxy.writeConfig(0xff, 1, 0x12);
    assertEquals<Request[]>(peer.requests(), [
      ...[["PCI_CFGREAD", 0xfd, 1], ["PCI_CFGREAD", 2, 2], ["PCI_CFGREAD", 0, 4], ["PCI_CFGWRITE", 0xff, 1, 0x12]],
    ]);
  }),
);

Deno.test(
  "a BAR is where the guest puts it, and the machine is told when it moves",
  withProxy((scene) => {
    const { proxy, machine, peer } = scene;
    const [io, memory] = proxy.bars;
    assertEquals([proxy.barAddress(io), proxy.barAddress(memory)], [undefined, undefined]);
    placeBars(scene);
    assertEquals([proxy.barAddress(io), proxy.barAddress(memory)], [IO_BASE, MEMORY_BASE]);
    const changes = machine.mappingChanges;
    assert(changes >= 3);
    peer.reply(0, 0);
    proxy.writeConfig(PciConfig.INTERRUPT_LINE, 1, 11);
    assertEquals(machine.mappingChanges, changes, "the interrupt line moves no BAR");
    proxy.writeConfig(PciConfig.COMMAND, 1, PciCommand.IO);
    assertEquals([proxy.barAddress(io), proxy.barAddress(memory)], [IO_BASE, undefined]);
  }),
);

Deno.test(
  "another thread's proxy knows where the guest has put the BARs",
  withProxy((scene) => {
    placeBars(scene);
    const other = new PciProxy(scene.handle, new RecordingMachine(), 0);
    assertEquals(other.bars.map((bar) => other.barAddress(bar)), [IO_BASE, MEMORY_BASE]);
  }),
);

Deno.test(
  "BAR accesses carry the absolute address and the space",
  withProxy((scene) => {
    placeBars(scene);
    const { peer, proxy } = scene;
    const [io, memory] = proxy.bars;
    peer.reply(0x11223344, 0x11223344, 0, 0);
    assertEquals(proxy.readBar(io, 0x14, 1), 0x44);
    assertEquals(proxy.readBar(memory, 0x3fc, 4), 0x11223344);
    proxy.writeBar(io, 0, 2, 0xbeef);
    proxy.writeBar(memory, 0x2c, 4, 0xdeadbeef);
    assertEquals<Request[]>(peer.requests(), [
      ["BAR_READ", 0, IO_BASE + 0x14, 1],
      ["BAR_READ", 1, MEMORY_BASE + 0x3fc, 4],
      ["BAR_WRITE", 0, IO_BASE, 2, 0xbeef],
      ["BAR_WRITE", 1, MEMORY_BASE + 0x2c, 4, 0xdeadbeef],
    ]);
  }),
);

Deno.test(
  "a BAR that is not enabled reads as all-ones, and nobody is asked",
  withProxy(({ peer, proxy }) => {
    assertEquals(proxy.bars.map((bar) => proxy.readBar(bar, 0, 2)), [0xffff, 0xffff]);
    proxy.writeBar(proxy.bars[0], 0, 1, 1);
    assertEquals(peer.requests(), []);
  }),
);

Deno.test("the interrupt moves from one GSI to another, and the device is asked to say again what it wants", () => {
  withProxy(({ machine, proxy, handle }) => {
    proxy.attachInterrupt(16);
    drainEventFd(handle.interrupt.resample);
    proxy.attachInterrupt(17);
    assertEquals(machine.wiring.map(([what, { gsi }]) => [what, gsi]), [["attach", 16], ["detach", 16], [
      "attach",
      17,
    ]]);
    assert(drainEventFd(handle.interrupt.resample));
    proxy.detachInterrupt();
    proxy.detachInterrupt();
    assertEquals(machine.wiring.length, 4);
  })();
});

Deno.test(
  "a device without a pin is wired to nothing",
  withProxy(({ machine, proxy }) => {
    proxy.attachInterrupt(16);
    assertEquals(machine.wiring, []);
  }, { pin: 0 }),
);

Deno.test(
  "a reset reaches the device, forgets the BARs, and lets the line fall, but not the wire",
  withProxy((scene) => {
    placeBars(scene);
    const { peer, proxy, machine } = scene;
    proxy.attachInterrupt(20);
    peer.send((message) => message.setEmptyReturn()); // as QEMU's remote has it
    const changes = machine.mappingChanges;
    proxy.reset();
    assertEquals(peer.requests(), [["DEVICE_RESET"]]);
    assertEquals(proxy.bars.map((bar) => proxy.barAddress(bar)), [undefined, undefined]);
    assert(machine.mappingChanges > changes);
    assertEquals(machine.wiring.map(([what, { gsi }]) => [what, gsi]), [["attach", 20], ["detach", 20], [
      "attach",
      20,
    ]]);
    assertEquals(proxy.failed, false);
  }),
);

Deno.test(
  "RAM is told with a descriptor for each region, at most seven of them",
  withProxy(({ peer, proxy }) => {
    const fd = createMemoryFile("test-ram", 0x10000);
    const ranges = Array.from({ length: 9 }, (_, i) => ({ gpa: 0x2000 * i, size: 0x1000, offset: 0x2000 * i }));
    proxy.syncMemory(fd, ranges.slice(0, 2));
    proxy.syncMemory(fd, ranges);
    const [two, many] = peer.requests();
    assertEquals(two, ["SYNC_SYSMEM", 0, 0x1000, 0, 0x2000, 0x1000, 0x2000]);
    assertEquals(many.length, 1 + 7 * 3);
    closeFd(fd);
  }),
);

/** The device is an empty slot, for all threads. */
function assertGone({ proxy, machine, handle }: Scene): void {
  const other = new PciProxy(handle, machine, 0);
  for (const each of [proxy, other]) {
    assertEquals(each.failed, true);
    assertEquals(each.bars.map((bar) => each.barAddress(bar)), [undefined, undefined]);
    assertEquals(each.bars.map((bar) => each.readBar(bar, 0, 4)), [0xffffffff, 0xffffffff]);
    assertEquals([each.readConfig(0, 4), each.readConfig(0, 1)], [0xffffffff, 0xff]);
    each.writeConfig(PciConfig.COMMAND, 2, 0);
    each.writeBar(each.bars[0], 0, 1, 1);
    each.syncMemory(-1, [{ gpa: 0, size: 0x1000, offset: 0 }]);
    each.attachInterrupt(16);
    each.reset();
  }
}

Deno.test(
  "a peer that dies leaves an empty slot: its interrupt falls, and one line tells of it",
  withProxy((scene) => {
    placeBars(scene);
    const { peer, proxy, machine } = scene;
    proxy.attachInterrupt(20);
    const changes = machine.mappingChanges;
    peer.close();
    assertEquals(proxy.readBar(proxy.bars[0], 0, 4), 0xffffffff);
    assertEquals(machine.wiring.map(([what, { gsi }]) => [what, gsi]), [["attach", 20], ["detach", 20]]);
    assert(machine.mappingChanges > changes);
    assertGone(scene);
    assertEquals(machine.lost, ["the peer closed the link"]);
    assertEquals(machine.wiring.length, 2);
  }),
);

Deno.test(
  "a peer that talks nonsense is cut off, and sees that it was",
  withProxy((scene) => {
    const { peer, proxy, machine } = scene;
    peer.send((message) => message.setConfigRead(0, 4));
    assertEquals(proxy.readConfig(0, 2), 0xffff);
    assertGone(scene);
    assertEquals(machine.lost.length, 1);
    peer.requests();
    assert(peer.cutOff);
  }),
);

Deno.test(
  "a peer that dies is noticed when RAM is told, too",
  withProxy(({ peer, proxy, machine }) => {
    peer.close();
    proxy.syncMemory(peer.fd, [{ gpa: 0, size: 0x1000, offset: 0 }]);
    assertEquals([proxy.failed, machine.lost.length], [true, 1]);
  }),
);

Deno.test(
  "in its first seconds, a device that forgot its BARs gets them again, and the guest reads what it asked for",
  withProxy((scene) => {
    placeBars(scene);
    const { peer, proxy } = scene;
    // All-ones from the BAR, decoding off in the command register; four writes; then the value.
    peer.reply(0xffffffff, 0, 0, 0, 0, 0, 0x42);
    assertEquals(proxy.readBar(proxy.bars[1], 0, 4), 0x42);
    assertEquals<Request[]>(peer.requests(), [
      ["BAR_READ", 1, MEMORY_BASE, 4],
      ["PCI_CFGREAD", PciConfig.COMMAND, 2],
      ["PCI_CFGWRITE", PciConfig.BAR0, 4, IO_BASE],
      ["PCI_CFGWRITE", PciConfig.BAR0 + 4, 4, MEMORY_BASE],
      ["PCI_CFGWRITE", PciConfig.INTERRUPT_LINE, 1, 0],
      ["PCI_CFGWRITE", PciConfig.COMMAND, 2, COMMAND_DECODING],
      ["BAR_READ", 1, MEMORY_BASE, 4],
    ]);
    peer.reply(0xffffffff);
    assertEquals(proxy.readBar(proxy.bars[1], 0, 4), 0xffffffff, "all-ones of a device that has settled");
  }, { connectedAt: Infinity }),
);

Deno.test(
  "in its first seconds, all-ones of a device that kept its BARs are its answer",
  withProxy((scene) => {
    placeBars(scene);
    const { peer, proxy } = scene;
    peer.reply(0xffffffff, COMMAND_DECODING);
    assertEquals(proxy.readBar(proxy.bars[0], 0, 1), 0xff);
    assertEquals(peer.requests().length, 2);
  }, { connectedAt: Infinity }),
);
