/** A device process that is asked whether it is there. */
import { assertEquals } from "@std/assert";
import { MessageSocket } from "../../src/ffi/socket.ts";
import { Channel } from "../../src/link/channel.ts";
import { Offer } from "../../src/link/message.ts";
import { RemoteMachine } from "../../src/remote/remote_machine.ts";
import { leakingNothing } from "../support/leaks.ts";
import { bytesOf } from "../support/remote_harness.ts";
import { RingProxy } from "../support/ring_proxy.ts";
import { TestDeviceId } from "../support/test_device.ts";

const PING = Offer.MARK | Offer.PING;

/** A test with a device process on this thread. */
function withProxy(
  body: (proxy: RingProxy, machine: RemoteMachine, log: string[]) => void,
  accelerated = true,
): () => void {
  return leakingNothing(() => {
    const log: string[] = [];
    const machine = new RemoteMachine((line) => log.push(line));
    const proxy = new RingProxy(machine, "robj0", { accelerated });
    try {
      body(proxy, machine, log);
    } finally {
      proxy.close();
      machine.close();
    }
  });
}

/** Sends bytes, and lets the device process work on them. */
function send({ channel }: RingProxy, machine: RemoteMachine, bytes: Uint8Array<ArrayBuffer>): void {
  assertEquals(new MessageSocket(channel.fd).send(bytes, 0, bytes.length, [], true), bytes.length);
  while (machine.turn(false));
}

/** The number of the answer to a ping that has come. */
function takePong({ channel }: { channel: Channel }): number {
  assertEquals(channel.takeReply(), true);
  return channel.incoming.pingNumber;
}

for (const accelerated of [true, false]) {
  Deno.test(
    `a heartbeat that is offered is taken, and pings are answered (accelerated: ${accelerated})`,
    withProxy((proxy, machine, log) => {
      assertEquals(proxy.call((m) => m.setConfigRead(0, 2, PING)), [TestDeviceId.VENDOR, PING]);
      for (const number of [0, 1, 0xffffffff, 1]) {
        send(proxy, machine, bytesOf((m) => m.setPing(number)));
        assertEquals(takePong(proxy), number);
      }
      assertEquals(log, []);
    }, accelerated),
  );
}

Deno.test(
  "a ring and a heartbeat are taken together",
  withProxy((proxy) => {
    const both = PING | Offer.RING;
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, both)), [TestDeviceId.VENDOR, both]);
  }),
);

Deno.test(
  "a device process that is not to be accelerated takes the heartbeat alone",
  withProxy((proxy) => {
    assertEquals(proxy.call((m) => m.setConfigRead(0, 2, PING | Offer.RING)), [TestDeviceId.VENDOR, PING]);
  }, false),
);

Deno.test(
  "pings among other requests are answered in their order",
  withProxy((proxy, machine) => {
    proxy.call((m) => m.setConfigRead(0, 2, PING));
    const parts = [(m) => m.setPing(1), (m) => m.setConfigRead(0, 2), (m) => m.setPing(2)] as Parameters<
      typeof bytesOf
    >[0][];
    send(proxy, machine, Uint8Array.from(parts.flatMap((make) => [...bytesOf(make)])));
    assertEquals(takePong(proxy), 1);
    assertEquals([proxy.channel.takeReply(), proxy.channel.incoming.returnLow], [true, TestDeviceId.VENDOR]);
    assertEquals(takePong(proxy), 2);
  }),
);

for (const [name, offer] of [["nothing", 0], ["a ring alone", Offer.MARK | Offer.RING]] as const) {
  Deno.test(
    `a ping ends the link where ${name} was agreed upon`,
    withProxy((proxy, machine, log) => {
      proxy.call((m) => m.setConfigRead(0, 2, offer));
      send(proxy, machine, bytesOf((m) => m.setPing(0)));
      assertEquals(log, ["remote-object robj0: PROXY_PING: no heartbeat was agreed upon; the link is closed"]);
      assertEquals([machine.size, machine.failed], [0, true]);
    }),
  );
}

Deno.test(
  "a proxy that asks for nothing but pings, and reads no answer, is asked to wait",
  withProxy((proxy, machine, log) => {
    proxy.call((m) => m.setConfigRead(0, 2, PING));
    const socket = new MessageSocket(proxy.channel.fd);
    const ping = bytesOf((m) => m.setPing(0));
    let sent = 0;
    for (; sent < 1_000_000 && socket.send(ping, 0, ping.length, [], false) > 0; sent++) machine.turn(false);
    assertEquals(sent < 1_000_000, true, "answers pile up");
    let answered = 0;
    for (; answered < sent; answered++) {
      while (!proxy.channel.takeReply()) machine.turn(false);
    }
    assertEquals(log, []);
  }),
);

Deno.test(
  "a pong that is sent to a device process ends the link",
  withProxy((proxy, machine, log) => {
    proxy.call((m) => m.setConfigRead(0, 2, PING));
    send(proxy, machine, bytesOf((m) => m.setPong(0)));
    assertEquals(log.length, 1);
    assertEquals(machine.size, 0);
  }),
);
