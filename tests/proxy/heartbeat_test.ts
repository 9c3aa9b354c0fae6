import { assert, assertEquals } from "@std/assert";
import { createEventFd } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { MessageSocket } from "../../src/ffi/socket.ts";
import { PciConfig } from "../../src/device/config_space.ts";
import { type Message, Offer } from "../../src/link/message.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy, type ProxyHandle } from "../../src/proxy/pci_proxy.ts";
import { leakingNothing } from "../support/leaks.ts";
import { FakePeer, RecordingMachine } from "./support/fake_peer.ts";

const PING = Offer.MARK | Offer.PING;

/** Six BARs of four messages each, the interrupt pin, and SET_IRQFD. */
const GREETING = 6 * 4 + 2;

interface Scene {
  readonly peer: FakePeer;
  readonly machine: RecordingMachine;
  readonly handle: ProxyHandle;
  readonly proxy: PciProxy;
}

function greet(peer: FakePeer, answerToOffers: number, options: { heartbeat?: boolean; lanes?: number }): ProxyHandle {
  peer.answerToOffers = answerToOffers;
  peer.reply(...new Array(GREETING - 1).fill(0));
  return connectProxy("lsi0", peer.fd, { timeout: 50, ...options });
}

/** A test with a proxy of a device process that answers pings, and has agreed to. */
function withProxy(body: (scene: Scene) => void): () => void {
  return leakingNothing(() => {
    const [peer, machine] = [new FakePeer(), new RecordingMachine()];
    const handle = greet(peer, PING, { heartbeat: true });
    peer.requests();
    peer.answerToOffers = 0;
    try {
      body({ peer, machine, handle, proxy: new PciProxy(handle, machine, 0) });
    } finally {
      closeInterruptFds(handle.interrupt);
      peer.dispose();
    }
  });
}

const pong = (number: number) => (message: Message) => message.setPong(number);

Deno.test(
  "a heartbeat is agreed upon when both sides have said so, and whatever becomes of a ring",
  leakingNothing(() => {
    const cases: [heartbeat: boolean, lanes: number, answer: number, agreed: boolean][] = [
      ...[[true, 0, PING, true], [true, 1, PING, true], [false, 0, PING, false], [false, 1, PING, false]],
      ...[[true, 0, 0, false], [true, 0, Offer.MARK, false], [true, 0, Offer.PING, false], [true, 1, 0, false]],
      ...[[true, 0, Offer.MARK | Offer.RING, false], [true, 0, 0xffffffff, false]],
    ] as [boolean, number, number, boolean][];
    for (const [heartbeat, lanes, answer, agreed] of cases) {
      const peer = new FakePeer();
      const handle = greet(peer, answer, { heartbeat, lanes });
      assertEquals(handle.heartbeat !== undefined, agreed, `${heartbeat} ${lanes} 0x${answer.toString(16)}`);
      closeInterruptFds(handle.interrupt);
      peer.dispose();
    }
  }),
);

Deno.test(
  "a peer that agreed upon nothing, as QEMU's, is never pinged",
  leakingNothing(() => {
    const peer = new FakePeer();
    const handle = greet(peer, 0, { heartbeat: true });
    const proxy = new PciProxy(handle, new RecordingMachine(), 0);
    peer.requests();
    proxy.ping();
    proxy.collectPong();
    assertEquals([peer.requests(), proxy.failed, proxy.heartbeat], [[], false, undefined]);
    closeInterruptFds(handle.interrupt);
    peer.dispose();
  }),
);

Deno.test(
  "a ping goes out, its answer is taken once it is there, and the next has the next number",
  withProxy(({ peer, proxy }) => {
    for (const number of [0, 1, 2]) {
      proxy.ping();
      assertEquals(peer.requests(), [["PROXY_PING", number]]);
      proxy.collectPong();
      assertEquals(proxy.heartbeat!.outstanding, true);
      peer.send(pong(number));
      proxy.collectPong();
      assertEquals(proxy.heartbeat!.outstanding, false);
    }
    const { sent, answered, last, mean, longest } = proxy.heartbeat!.figures();
    assertEquals([sent, answered], [3, 3]);
    assert(0 < last! && last! <= longest! && 0 < mean! && mean! <= longest!);
    assertEquals(proxy.failed, false);
  }),
);

Deno.test(
  "one ping is on its way at a time",
  withProxy(({ peer, proxy }) => {
    for (let i = 0; i < 3; i++) proxy.ping();
    assertEquals(peer.requests(), [["PROXY_PING", 0]]);
    const { sent, answered, last } = proxy.heartbeat!.figures();
    assertEquals([sent, answered, last], [1, 0, undefined]);
  }),
);

Deno.test(
  "an access that comes while a ping is on its way takes both answers, on another thread, too",
  withProxy(({ peer, machine, handle, proxy }) => {
    const other = new PciProxy(handle, machine, 1);
    proxy.ping();
    peer.send(pong(0));
    peer.reply(0x1234, 0x5678);
    assertEquals(other.readConfig(PciConfig.VENDOR_ID, 2), 0x1234);
    assertEquals(proxy.heartbeat!.answered, 1);
    assertEquals(proxy.readConfig(PciConfig.VENDOR_ID, 2), 0x5678);
    proxy.ping();
    assertEquals(peer.requests().at(-1), ["PROXY_PING", 1]);
  }),
);

Deno.test(
  "the thread that takes a ping's answer takes no byte of what follows",
  withProxy(({ peer, machine, handle, proxy }) => {
    const other = new PciProxy(handle, machine, 1);
    proxy.ping();
    peer.send(pong(0));
    peer.reply(0x1234);
    proxy.collectPong();
    assertEquals(other.readConfig(PciConfig.VENDOR_ID, 2), 0x1234);
    assertEquals(proxy.failed, false);
  }),
);

Deno.test(
  "a part of an answer is left where it is, and taken with the rest",
  withProxy(({ peer, machine, handle, proxy }) => {
    proxy.ping();
    const bytes = new Uint8Array(24);
    new DataView(bytes.buffer).setInt32(0, 19, true);
    new DataView(bytes.buffer).setUint32(8, 8, true);
    for (const byte of bytes) {
      proxy.collectPong();
      assertEquals(proxy.heartbeat!.outstanding, true);
      peer.sendRaw(Uint8Array.of(byte));
    }
    new PciProxy(handle, machine, 1).collectPong();
    assertEquals([proxy.heartbeat!.outstanding, proxy.failed], [false, false]);
  }),
);

const NONSENSE: readonly [string, (peer: FakePeer) => void, RegExp][] = [
  ["of another number", (peer) => peer.send(pong(7)), /answered a ping by something else/],
  ["that is a RET", (peer) => peer.reply(0), /answered a ping by something else/],
  ["that is a question", (peer) => peer.send((m) => m.setConfigRead(0, 4)), /PCI_CFGREAD: nobody asked for it/],
  ["that is longer", (peer) => peer.sendRaw(longMessage(), [0]), /RING_READY: nobody asked for it/],
  ["that is no message", (peer) => peer.sendRaw(new Uint8Array(24).fill(0xaa)), /unknown command/],
];

/** The beginning of a RING_READY. */
function longMessage(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(40);
  new DataView(bytes.buffer).setInt32(0, 17, true);
  new DataView(bytes.buffer).setUint32(8, 504, true);
  return bytes;
}

for (const [name, send, said] of NONSENSE) {
  Deno.test(
    `an answer to a ping ${name} ends the link with one line`,
    withProxy(({ peer, machine, proxy }) => {
      proxy.ping();
      send(peer);
      proxy.collectPong();
      proxy.collectPong();
      assertEquals([proxy.failed, machine.lost.length], [true, 1]);
      assert(said.test(machine.lost[0]), machine.lost[0]);
    }),
  );
}

Deno.test(
  "what nobody asked for is found before the next ping, and ends the link, whatever it is",
  () => {
    for (
      const send of [
        (peer: FakePeer) => peer.reply(0),
        (peer: FakePeer) => peer.send(pong(0)),
        (peer: FakePeer) => peer.sendRaw(Uint8Array.of(1)),
        (peer: FakePeer) => {
          const fd = createEventFd();
          peer.sendRaw(Uint8Array.of(1), new Array(100).fill(fd));
          closeFd(fd);
        },
      ]
    ) {
      withProxy(({ peer, machine, proxy }) => {
        send(peer);
        proxy.ping();
        assertEquals([proxy.failed, machine.lost.length], [true, 1]);
        assert(/^it sent \d+ bytes that nobody asked for$/.test(machine.lost[0]), machine.lost[0]);
      })();
    }
  },
);

Deno.test(
  "a peer that reads nothing holds up nobody who pings it",
  withProxy(({ peer, proxy }) => {
    const socket = new MessageSocket(peer.fd);
    while (socket.send(new Uint8Array(64), 0, 64, [], false) > 0);
    proxy.ping();
    const { sent, answered } = proxy.heartbeat!.figures();
    assertEquals([sent, answered, proxy.heartbeat!.outstanding, proxy.failed], [0, 0, false, false]);
  }),
);
