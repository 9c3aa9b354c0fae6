/**
 * Device processes that die, hang or talk nonsense at any message: at each of the greeting, and at each request of the run. The VMM goes on
 * without the device, or does not begin; nothing that it was sent stays open.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { createEventFd } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile } from "../../src/ffi/memory.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { Message, Offer } from "../../src/link/message.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy } from "../../src/proxy/pci_proxy.ts";
import { leakingNothing } from "../support/leaks.ts";
import { FakePeer, RecordingMachine } from "./support/fake_peer.ts";

/** How long a device may be silent here, in milliseconds. */
const TIMEOUT = 30;

/** Replies of the greeting: four for each of six BARs, and that of the interrupt pin. */
const GREETING = 25;

function bytesOf(make: (message: Message) => void): Uint8Array<ArrayBuffer> {
  const message = new Message();
  make(message);
  return message.bytes.slice(0, message.length);
}

/** A message whose header says something else. @param at Byte of the header that is another one. */
function forged(make: (message: Message) => void, at: number, byte: number): Uint8Array<ArrayBuffer> {
  const bytes = bytesOf(make);
  bytes[at] = byte;
  return bytes;
}

const reply = (message: Message) => message.setReturn(0);

/** What a device process does in place of an answer, and what is said of it. */
const MISDEEDS: readonly [name: string, commit: (peer: FakePeer) => void, said: RegExp][] = [
  ["closes its socket", (peer) => peer.close(), /the peer closed the link$/],
  ["ends its stream", (peer) => peer.endStream(), /the peer closed the link$/],
  ["closes its socket in a header", (peer) => {
    peer.sendRaw(bytesOf(reply).slice(0, 10));
    peer.endStream();
  }, /closed the link after 10 of the 16 bytes of a header/],
  ["closes its socket in a payload", (peer) => {
    peer.sendRaw(bytesOf(reply).slice(0, 20));
    peer.endStream();
  }, /closed the link after 20 of the 24 bytes of RET/],
  ["is silent", () => {}, /timed out waiting for/],
  ["stops in the middle of an answer", (peer) => peer.sendRaw(bytesOf(reply).slice(0, 23)), /timed out waiting for/],
  ["asks in place of answering", (peer) => peer.send((m) => m.setConfigRead(0, 4)), /PCI_CFGREAD came as the reply to/],
  ["answers by what is no command", (peer) => peer.sendRaw(forged(reply, 0, 99)), /unknown command 99/],
  ["answers by a payload of no size", (peer) => peer.sendRaw(forged(reply, 8, 7)), /RET: payload of 7 bytes/],
  ["answers by a payload without end", (peer) => peer.sendRaw(forged(reply, 15, 0x7f)), /RET: payload of \d+ bytes/],
  ["answers by text", (peer) => peer.sendRaw(new TextEncoder().encode("HTTP/1.1 400 Bad")), /unknown command/],
  ["brings descriptors", (peer) => {
    const fd = createEventFd();
    peer.sendRaw(bytesOf(reply), [fd, fd, fd]);
    closeFd(fd);
  }, /RET: 3 descriptors, not 0/],
  ["answers a ping that nobody sent", (peer) => peer.send((m) => m.setPong(0)), /PROXY_PONG came as the reply to/],
];

function values({ bars = [0xffffff01, 0xfffffc00], pin = 1 } = {}): number[] {
  return [...Array.from({ length: 6 }, (_, i) => [0, 0, bars[i] ?? 0, 0]).flat(), pin << 8];
}

for (const [name, commit, said] of MISDEEDS) {
  Deno.test(
    `a device process that ${name} at any message of the greeting is refused, and leaves nothing`,
    leakingNothing(() => {
      for (let at = 0; at < GREETING; at++) {
        const peer = new FakePeer();
        peer.reply(...values().slice(0, at));
        commit(peer);
        const connect = () => connectProxy("lsi0", peer.fd, { greeting: TIMEOUT, heartbeat: true, lanes: 1 });
        const { cause } = assertThrows(connect, Error, "lsi0 does not answer as a device") as Error;
        assert(cause instanceof LinkError && said.test(cause.message), `at ${at}: ${cause}`);
        peer.dispose();
      }
    }),
  );

  Deno.test(
    `a device process that ${name} in place of a RING_READY is refused, and leaves nothing`,
    leakingNothing(() => {
      const peer = new FakePeer();
      peer.answerToOffers = Offer.MARK | Offer.RING;
      peer.reply(...values());
      commit(peer);
      const { cause } = assertThrows(() => connectProxy("lsi0", peer.fd, { greeting: TIMEOUT, lanes: 1 })) as Error;
      assert(cause instanceof LinkError, `${cause}`);
      peer.dispose();
    }),
  );
}

/** A proxy of a device that has been given addresses, and an interrupt that is wired. */
function withProxy(body: (peer: FakePeer, machine: RecordingMachine, proxy: PciProxy) => void): void {
  const [peer, machine] = [new FakePeer(), new RecordingMachine()];
  peer.answerToOffers = Offer.MARK | Offer.PING;
  peer.reply(...values());
  const handle = { ...connectProxy("lsi0", peer.fd, { timeout: TIMEOUT, heartbeat: true }), connectedAt: -Infinity };
  const proxy = new PciProxy(handle, machine, 0);
  peer.reply(0, 0, 0);
  proxy.writeConfig(PciConfig.BAR0, 4, 0xc000);
  proxy.writeConfig(PciConfig.BAR0 + 4, 4, 0xfebf_0000);
  proxy.writeConfig(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY);
  proxy.attachInterrupt(20);
  peer.requests();
  try {
    body(peer, machine, proxy);
  } finally {
    closeInterruptFds(handle.interrupt);
    peer.dispose();
  }
}

/** What a machine asks of a device, by messages: each has a reply, and what a guest reads when there is none. */
const REQUESTS: readonly [name: string, ask: (proxy: PciProxy) => number | void, allOnes?: number][] = [
  ["a configuration read", (proxy) => proxy.readConfig(PciConfig.VENDOR_ID, 2), 0xffff],
  ["a configuration write", (proxy) => proxy.writeConfig(PciConfig.INTERRUPT_LINE, 1, 5)],
  ["a read of a port", (proxy) => proxy.readBar(proxy.bars[0], 0x14, 1), 0xff],
  ["a read of memory", (proxy) => proxy.readBar(proxy.bars[1], 0x14, 4), 0xffffffff],
  ["a write of a port", (proxy) => proxy.writeBar(proxy.bars[0], 0x14, 1, 1)],
  ["a write of memory", (proxy) => proxy.writeBar(proxy.bars[1], 0x14, 4, 1)],
  ["a reset", (proxy) => proxy.reset()],
];

/** The slot is empty: loads are all-ones, stores go nowhere, the line has fallen, and the machine was told once. */
function assertGone(machine: RecordingMachine, proxy: PciProxy, said: RegExp, what: string): void {
  for (const [, ask, allOnes] of REQUESTS) assertEquals(ask(proxy), allOnes, what);
  proxy.ping();
  proxy.collectPong();
  proxy.attachInterrupt(21);
  assertEquals(proxy.failed, true, what);
  assertEquals(machine.wiring.map(([done, { gsi }]) => [done, gsi]), [["attach", 20], ["detach", 20]], what);
  assertEquals(machine.lost.length, 1, what);
  assert(said.test(machine.lost[0]), `${what}: ${machine.lost[0]}`);
}

for (const [name, commit, said] of MISDEEDS) {
  Deno.test(
    `a device process that ${name} at any request is an empty slot from then on, and its interrupt falls`,
    leakingNothing(() => {
      for (const [request, ask, allOnes] of REQUESTS) {
        withProxy((peer, machine, proxy) => {
          commit(peer);
          assertEquals(ask(proxy), allOnes, request);
          assertGone(machine, proxy, said, request);
        });
      }
    }),
  );

  Deno.test(
    `a device process that ${name} while a ping is on its way is given up at the next request`,
    leakingNothing(() => {
      withProxy((peer, machine, proxy) => {
        proxy.ping();
        commit(peer);
        if (name === "answers a ping that nobody sent") peer.send((m) => m.setPong(0));
        assertEquals(proxy.readConfig(PciConfig.VENDOR_ID, 2), 0xffff);
        assertGone(machine, proxy, said, name);
      });
    }),
  );
}

Deno.test(
  "a device process that has closed its socket is given up when it is told of RAM, and when it is pinged",
  leakingNothing(() => {
    withProxy((peer, machine, proxy) => {
      peer.close();
      const fd = createMemoryFile("test-ram", 0x1000);
      proxy.syncMemory(fd, [{ gpa: 0, size: 0x1000, offset: 0 }]);
      closeFd(fd);
      assertGone(machine, proxy, /the peer closed the link/, "SYNC_SYSMEM");
    });
    withProxy((peer, machine, proxy) => {
      peer.close();
      proxy.ping();
      assertGone(machine, proxy, /the peer closed the link/, "PROXY_PING");
    });
  }),
);
