import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { closeFd, isOpenFd, setNonblocking } from "../../src/ffi/file.ts";
import { createEventFd, drainEventFd, signalEventFd } from "../../src/ffi/event.ts";
import { createSocketPair, MessageSocket, unreadBytes } from "../../src/ffi/socket.ts";
import { Channel } from "../../src/link/channel.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { Command, Message } from "../../src/link/message.ts";
import { leakingNothing, openDescriptors } from "../support/leaks.ts";

/** A channel and the bare socket at its other end. */
function pair(): { channel: Channel; peer: MessageSocket; close: () => void } {
  const [near, far] = createSocketPair();
  const channel = new Channel(near);
  let open = true;
  const peer = new MessageSocket(far);
  const close = () => {
    channel.close();
    if (open) closeFd(far);
    open = false;
  };
  return { channel, peer, close };
}

function withPair(body: (channel: Channel, peer: MessageSocket) => void): () => void {
  return leakingNothing(() => {
    const { channel, peer, close } = pair();
    try {
      body(channel, peer);
    } finally {
      close();
    }
  });
}

/** Both ends as channels. */
function withChannels(body: (a: Channel, b: Channel) => void): () => void {
  return leakingNothing(() => {
    const [a, b] = createSocketPair().map((fd) => new Channel(fd));
    try {
      body(a, b);
    } finally {
      a.close();
      b.close();
    }
  });
}

function bytesOf(make: (message: Message) => void): Uint8Array<ArrayBuffer> {
  const message = new Message();
  make(message);
  return message.bytes.slice(0, message.length);
}

function sendRaw(peer: MessageSocket, bytes: Uint8Array<ArrayBuffer>, descriptors: number[] = []): void {
  assertEquals(peer.send(bytes, 0, bytes.length, descriptors, true), bytes.length);
}

function failure(attempt: () => unknown): LinkError {
  return assertThrows(attempt, LinkError) as LinkError;
}

const CFGREAD = bytesOf((m) => m.setConfigRead(0x10, 4));
const IRQFD = bytesOf((m) => m.setIrqFd());
const RESET = bytesOf((m) => m.setDeviceReset());

Deno.test(
  "a message arrives as it was sent",
  withChannels((a, b) => {
    a.outgoing.setBarWrite(0xfebf0014, 8, true, 1, 2);
    a.send(a.outgoing);
    assert(b.receive());
    assertEquals(b.incoming.bytes.subarray(0, 40), a.outgoing.bytes.subarray(0, 40));
  }),
);

Deno.test(
  "messages that were sent together are received one by one",
  withPair((channel, peer) => {
    sendRaw(peer, Uint8Array.from([...CFGREAD, ...bytesOf((m) => m.setDeviceReset()), ...CFGREAD]));
    for (const command of [Command.PCI_CFGREAD, Command.DEVICE_RESET, Command.PCI_CFGREAD]) {
      assertEquals(channel.poll(), "message");
      assertEquals(channel.incoming.command, command);
    }
    assertEquals(channel.poll(), "pending");
  }),
);

Deno.test(
  "a message that comes byte by byte is pending until its last byte",
  withPair((channel, peer) => {
    for (const byte of CFGREAD) {
      assertEquals(channel.poll(), "pending");
      sendRaw(peer, Uint8Array.of(byte));
    }
    assertEquals(channel.poll(), "message");
    assertEquals(channel.incoming.configAddress, 0x10);
  }),
);

Deno.test(
  "receive waits for the rest on a non-blocking socket too",
  withPair((channel, peer) => {
    setNonblocking(channel.fd, true);
    sendRaw(peer, CFGREAD);
    assert(channel.receive());
    assert(failure(() => channel.receive(1)).message.includes("timed out"));
  }),
);

Deno.test(
  "descriptors arrive open, and belong to whoever takes them",
  withChannels((a, b) => {
    const [irq, resample] = [createEventFd(), createEventFd()];
    a.outgoing.setIrqFd();
    a.send(a.outgoing, [irq, resample]);
    assert(b.receive());
    const taken = b.takeDescriptors();
    assertEquals(taken.length, 2);
    signalEventFd(taken[1]);
    assert(drainEventFd(resample));
    assertEquals(b.takeDescriptors(), []);
    [irq, resample, ...taken].forEach(closeFd);
  }),
);

Deno.test(
  "descriptors that nobody takes are closed with the next message and with the channel",
  withPair((channel, peer) => {
    const fds = [createEventFd(), createEventFd()];
    for (let i = 0; i < 3; i++) sendRaw(peer, IRQFD, fds);
    fds.forEach(closeFd);
    const before = openDescriptors().size;
    for (let i = 0; i < 3; i++) {
      assertEquals(channel.poll(), "message");
      assertEquals(openDescriptors().size, before + 2);
    }
  }),
);

Deno.test(
  "descriptors may come with any byte of the header",
  withPair((channel, peer) => {
    const fds = [createEventFd(), createEventFd()];
    sendRaw(peer, IRQFD.slice(0, 3), [fds[0]]);
    sendRaw(peer, IRQFD.slice(3, 15));
    sendRaw(peer, IRQFD.slice(15), [fds[1]]);
    fds.forEach(closeFd);
    assertEquals(channel.poll(), "message");
    const taken = channel.takeDescriptors();
    assertEquals(taken.length, 2);
    taken.forEach(closeFd);
  }),
);

Deno.test(
  "descriptors beside a payload are closed and refused",
  withPair((channel, peer) => {
    const fd = createEventFd();
    sendRaw(peer, CFGREAD.slice(0, 16));
    sendRaw(peer, CFGREAD.slice(16), [fd]);
    closeFd(fd);
    assertEquals(failure(() => channel.poll()).message, "PCI_CFGREAD: 1 descriptor, not 0");
  }),
);

Deno.test(
  "descriptors that come behind the header are closed and refused",
  withPair((channel, peer) => {
    const fd = createEventFd();
    sendRaw(peer, CFGREAD.slice(0, 16));
    assertEquals(channel.poll(), "pending");
    sendRaw(peer, CFGREAD.slice(16), [fd]);
    closeFd(fd);
    assertEquals(
      failure(() => channel.poll()).message,
      "PCI_CFGREAD: descriptors came with the payload, not the header",
    );
  }),
);

Deno.test(
  "messages that are read together come one by one, each with its own descriptors",
  withPair((channel, peer) => {
    const fds = [createEventFd(), createEventFd()];
    sendRaw(peer, RESET);
    sendRaw(peer, IRQFD, fds);
    sendRaw(peer, CFGREAD);
    fds.forEach(closeFd);
    assertEquals(channel.poll(), "message");
    assertEquals([channel.incoming.command, channel.takeDescriptors()], [Command.DEVICE_RESET, []]);
    assertEquals(channel.poll(false), "message", "what was read is there without a look at the socket");
    assertEquals(channel.incoming.command, Command.SET_IRQFD);
    const taken = channel.takeDescriptors();
    assertEquals(taken.length, 2);
    taken.forEach(closeFd);
    assertEquals(channel.poll(false), "pending");
    assertEquals(channel.poll(), "message");
    assertEquals([channel.incoming.command, channel.incoming.configLength], [Command.PCI_CFGREAD, 4]);
    assertEquals(channel.poll(), "pending");
  }),
);

Deno.test(
  "a message that was read with the one before it is received without waiting",
  withPair((channel, peer) => {
    sendRaw(peer, RESET);
    sendRaw(peer, RESET);
    assert(channel.receive(0x7fffffff));
    assert(channel.receive(0x7fffffff));
    assert(failure(() => channel.receive(1)).message.includes("timed out"));
  }),
);

Deno.test(
  "more descriptors than the format has are closed and refused before the header is complete",
  withPair((channel, peer) => {
    const fd = createEventFd();
    sendRaw(peer, IRQFD.slice(0, 1), Array(5).fill(fd));
    sendRaw(peer, IRQFD.slice(1, 2), Array(5).fill(fd));
    closeFd(fd);
    assertEquals(failure(() => channel.poll()).message, "10 descriptors came with a message; 7 are the most");
  }),
);

Deno.test(
  "the most descriptors that the kernel passes are all closed",
  withPair((channel, peer) => {
    const fd = createEventFd();
    sendRaw(peer, IRQFD, Array(253).fill(fd));
    closeFd(fd);
    assertEquals(failure(() => channel.poll()).failure, "protocol");
  }),
);

Deno.test(
  "a message that comes before the reply is for whoever expects it, and ends the link otherwise",
  leakingNothing(() => {
    for (const isExpected of [true, false]) {
      const [near, far] = createSocketPair();
      const seen: number[] = [];
      const channel = new Channel(near, (message) => {
        seen.push(message.pingNumber);
        return isExpected;
      });
      for (const bytes of [bytesOf((m) => m.setPong(7)), bytesOf((m) => m.setReturn(5))]) {
        sendRaw(new MessageSocket(far), bytes);
      }
      const request = new Message();
      request.setConfigRead(0, 4);
      if (isExpected) channel.call(request);
      else assertEquals(failure(() => channel.call(request)).failure, "protocol");
      assertEquals(seen, [7]);
      if (isExpected) assertEquals(channel.incoming.returnLow, 5);
      channel.close();
      closeFd(far);
    }
  }),
);

Deno.test(
  "a message that is taken as a reply is taken whole, with no byte of the next one",
  withPair((channel, peer) => {
    const pong = bytesOf((m) => m.setPong(1));
    assertEquals(channel.takeReply(), false);
    sendRaw(peer, pong.slice(0, 23));
    assertEquals(channel.takeReply(), false);
    sendRaw(peer, Uint8Array.of(pong[23], ...bytesOf((m) => m.setReturn(5))));
    assertEquals([channel.takeReply(), channel.incoming.pingNumber], [true, 1]);
    assertEquals(unreadBytes(channel.fd), 24);
  }),
);

Deno.test(
  "a message of another length is not taken as a reply",
  () => {
    const empty = bytesOf((m) => m.setEmptyReturn());
    for (const bytes of [CFGREAD, CFGREAD.slice(0, 27), Uint8Array.of(...empty, ...empty)]) {
      withPair((channel, peer) => {
        sendRaw(peer, bytes);
        assertEquals(failure(() => channel.takeReply()).message.endsWith(": nobody asked for it"), true);
      })();
    }
  },
);

Deno.test(
  "a peer that closes between two messages is the end",
  leakingNothing(() => {
    const { channel, peer } = pair();
    sendRaw(peer, CFGREAD);
    closeFd(peer.fd);
    assertEquals(channel.poll(), "message");
    assertEquals(channel.poll(), "end");
    assertEquals(channel.poll(), "end");
    assertEquals(channel.receive(), false);
    channel.close();
  }),
);

Deno.test("a peer that closes inside a message is refused, at each byte", () => {
  for (let length = 1; length < CFGREAD.length; length++) {
    leakingNothing(() => {
      const { channel, peer } = pair();
      sendRaw(peer, CFGREAD.slice(0, length));
      closeFd(peer.fd);
      const where = length < 16 ? "16 bytes of a header" : "28 bytes of PCI_CFGREAD";
      assertEquals(failure(() => channel.poll()).message, `the peer closed the link after ${length} of the ${where}`);
      channel.close();
    })();
  }
});

Deno.test(
  "a peer that dies with bytes of ours unread is the end, and takes no more",
  leakingNothing(() => {
    const { channel, peer } = pair();
    channel.outgoing.setReturn(0);
    assert(channel.post(channel.outgoing));
    closeFd(peer.fd);
    assertEquals(channel.poll(), "end");
    assertEquals(failure(() => channel.post(channel.outgoing)).failure, "closed");
    channel.close();
  }),
);

Deno.test(
  "a link that failed stays failed",
  withPair((channel, peer) => {
    sendRaw(peer, Uint8Array.from([...bytesOf((m) => m.setConfigRead(0, 3)), ...CFGREAD]));
    const first = failure(() => channel.poll());
    assertEquals(failure(() => channel.poll()), first);
    channel.outgoing.setReturn(0);
    assertEquals(failure(() => channel.send(channel.outgoing)), first);
  }),
);

Deno.test(
  "call returns the reply",
  withPair((channel, peer) => {
    sendRaw(peer, bytesOf((m) => m.setReturn(0x12345678, 0x9)));
    channel.outgoing.setConfigRead(0, 4);
    channel.call(channel.outgoing, 10_000);
    assertEquals([channel.incoming.returnLow, channel.incoming.returnHigh], [0x12345678, 9]);
  }),
);

Deno.test(
  "call refuses anything but a RET",
  withPair((channel, peer) => {
    sendRaw(peer, bytesOf((m) => m.setDeviceReset()));
    channel.outgoing.setConfigRead(0, 4);
    assertEquals(
      failure(() => channel.call(channel.outgoing)).message,
      "DEVICE_RESET came as the reply to PCI_CFGREAD",
    );
  }),
);

Deno.test(
  "call fails when no reply comes in time, or only a part",
  leakingNothing(() => {
    for (const part of [0, 1, 20]) {
      const { channel, peer, close } = pair();
      if (part > 0) sendRaw(peer, bytesOf((m) => m.setReturn(1)).slice(0, part));
      channel.outgoing.setBarRead(0, 4, true);
      const error = failure(() => channel.call(channel.outgoing, 5));
      assertEquals([error.failure, error.message], ["timeout", "timed out waiting for the reply to BAR_READ"]);
      close();
    }
  }),
);

Deno.test(
  "call fails when the peer goes away instead of replying",
  leakingNothing(() => {
    const { channel, peer } = pair();
    channel.outgoing.setBarRead(0, 4, true);
    channel.send(channel.outgoing);
    closeFd(peer.fd);
    assertEquals(failure(() => channel.call(channel.outgoing)).failure, "closed");
    channel.close();
  }),
);

Deno.test(
  "a sender whose peer takes nothing gives up in time",
  withPair((channel) => {
    channel.outgoing.setBarRead(0, 4, true);
    const error = failure(() => {
      for (;;) channel.send(channel.outgoing, [], 5);
    });
    assertEquals([error.failure, error.message], ["timeout", "timed out waiting for BAR_READ to be sent"]);
  }),
);

Deno.test(
  "what post cannot send at once goes out later, whole and in order",
  withPair((channel, peer) => {
    let posted = 0;
    do channel.outgoing.setReturn(++posted); while (channel.post(channel.outgoing));
    assert(channel.unsent);
    assertThrows(() => channel.post(channel.outgoing), TypeError);
    assertEquals(channel.flush(), false);
    channel.outgoing.setReturn(0xffffffff); // what was posted is no longer in `outgoing`

    const received: number[] = [];
    const reader = new Uint8Array(24);
    while (received.length < posted) {
      for (let at = 0; at < 24;) at += peer.receive(reader, at, 24 - at, true);
      received.push(new DataView(reader.buffer).getUint32(16, true));
      channel.flush();
    }
    assertEquals(received, Array.from({ length: posted }, (_, i) => i + 1));
    assert(!channel.unsent);
  }),
);

Deno.test(
  "a posted message that does not fit brings its descriptors later, once",
  withChannels((a, b) => {
    const eventFd = createEventFd();
    a.outgoing.setRingReady({ size: 4096, ranges: [] });
    let posted = 1;
    while (a.post(a.outgoing, [eventFd])) posted++;
    assert(a.unsent);
    assertEquals(a.flush(), false);
    for (let received = 0; received < posted; received++) {
      assertEquals(b.poll(), "message");
      const descriptors = b.takeDescriptors();
      assertEquals(descriptors.length, 1);
      descriptors.forEach(closeFd);
      a.flush();
    }
    assertEquals([a.unsent, b.poll()], [false, "pending"]);
    closeFd(eventFd);
  }),
);

Deno.test(
  "a message with the wrong number of descriptors is not sent",
  withChannels((a, b) => {
    a.outgoing.setIrqFd();
    assertThrows(() => a.send(a.outgoing, []), TypeError);
    assertEquals(b.poll(), "pending");
    a.outgoing.setConfigRead(0, 4);
    a.send(a.outgoing);
    assertEquals(b.poll(), "message");
  }),
);

Deno.test(
  "close may be called again, and nothing works after it",
  leakingNothing(() => {
    const { channel, close } = pair();
    close();
    close();
    assert(!isOpenFd(channel.fd));
    assertEquals(failure(() => channel.poll()).failure, "closed");
    assertEquals(failure(() => channel.receive(5)).failure, "closed");
    channel.outgoing.setReturn(0);
    assertEquals(failure(() => channel.post(channel.outgoing)).failure, "closed");
  }),
);

/** Bytes of messages and of noise, cut anywhere, some pieces with descriptors. */
const fragments = fc.array(
  fc.record({
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.constantFrom(
        CFGREAD,
        IRQFD,
        bytesOf((m) => m.setBarRead(0x1000, 4, true)),
        CFGREAD.slice(0, 9),
        IRQFD.slice(2),
      ),
      fc.tuple(fc.nat(9), fc.constantFrom(0, 8, 12, 24, 192), fc.uint8Array({ minLength: 0, maxLength: 192 })).map(
        ([command, size, payload]) =>
          Uint8Array.from([command, 0, 0, 0, 0, 0, 0, 0, size, 0, 0, 0, 0, 0, 0, 0, ...payload]),
      ),
    ),
    descriptors: fc.constantFrom(0, 0, 0, 1, 2, 7, 9),
  }),
  { minLength: 1, maxLength: 8 },
);

Deno.test("property: no stream of bytes and descriptors throws but a LinkError, or leaves a descriptor open", () => {
  const fd = createEventFd();
  const before = openDescriptors();
  fc.assert(
    fc.property(fragments, fc.boolean(), (pieces, take) => {
      const { channel, peer } = pair();
      try {
        for (const { bytes, descriptors } of pieces) {
          sendRaw(peer, Uint8Array.from(bytes), Array(descriptors).fill(fd));
          while (channel.poll() === "message") if (take) channel.takeDescriptors().forEach(closeFd);
        }
        closeFd(peer.fd);
        while (channel.poll() === "message");
      } catch (error) {
        if (!(error instanceof LinkError)) throw error;
        if (isOpenFd(peer.fd)) closeFd(peer.fd);
      } finally {
        channel.close();
      }
    }),
    { numRuns: 500 },
  );
  assertEquals(openDescriptors(), before);
  closeFd(fd);
});
