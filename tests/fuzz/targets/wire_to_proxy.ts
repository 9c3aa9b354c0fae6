/**
 * The link from a hostile device process to its proxy in the VMM: an input is how the device process answers the
 * greeting, what else it sends, what it writes to the ring's memory, and what the guest does meanwhile.
 *
 * All that the device process has to say is in the socket before the proxy asks, and then the stream ends: no input
 * makes the proxy wait.
 *
 * @module
 */
import { type AccessSize, allOnes, PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { closeFd } from "../../../src/ffi/file.ts";
import { bytesAt } from "../../../src/ffi/memory.ts";
import { createSocketPair } from "../../../src/ffi/socket.ts";
import { syscalls } from "../../../src/ffi/syscall.ts";
import { Message, Offer } from "../../../src/link/message.ts";
import { ringSize, Space } from "../../../src/link/ring/layout.ts";
import { closeInterruptFds } from "../../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy, type ProxyHandle } from "../../../src/proxy/pci_proxy.ts";
import { RecordingMachine } from "../../proxy/support/fake_peer.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input, type Piece, u16, u32 } from "../engine/byte_writer.ts";
import { lowestFreeDescriptor } from "../engine/descriptors.ts";
import type { Features } from "../engine/features.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";
import { DescriptorKind, HostileDescriptors, RAM_FILE_SIZE, SHADOW_SIZE } from "./hostile_descriptors.ts";
import { bytesPiece, HostileEnd, messagePiece, readPiece } from "./wire.ts";

const SHUT_WR = 1;

/** How long a device on a ring may take, in milliseconds: nobody serves it. */
const TIMEOUT = 2;

/** The first byte of an input: whether the greeting is answered as it should be, and whether a ring and a heartbeat are offered. */
const Start = { ANSWERED: 1, RING: 2, HEARTBEAT: 4 } as const;

/** What follows the greeting: pieces of the device process's stream, a 0, and then what the guest does. */
const Step = {
  READ_CONFIG: 0,
  WRITE_CONFIG: 1,
  READ_BAR: 2,
  WRITE_BAR: 3,
  RESET: 4,
  SYNC: 5,
  INTERRUPT: 6,
  PLACE_BARS: 7,
  RING: 8,
  PING: 9,
  COLLECT_PONG: 10,
  COUNT: 11,
} as const;

const Kind = { GREETING: 0, LOST: 1, ACCESS: 2, ALIVE: 3 } as const;

/** BARs as they answer sizing: an I/O one, memory ones, none, and what is no BAR. */
const SIZINGS = [0, 0xffffff01, 0xfffffc00, 0xffff0000, 0xfffff000, 0xfffffff4, 0x12345678, 0xffffffff];

/** Most pieces of stream in an input: what the socket surely takes. */
const MOST_PIECES = 64;

/** One input on its way through a proxy. */
class Run {
  readonly #input: ByteReader;
  readonly #features: Features;
  readonly #hostile: HostileDescriptors;
  readonly #machine = new RecordingMachine();
  readonly #far: HostileEnd;
  readonly #near: number;
  readonly #lanes: number;
  readonly #heartbeat: boolean;
  #handle: ProxyHandle | undefined;

  constructor(bytes: Uint8Array, features: Features, hostile: HostileDescriptors) {
    this.#input = new ByteReader(bytes);
    this.#features = features;
    this.#hostile = hostile;
    const [near, far] = createSocketPair();
    this.#near = near;
    this.#far = new HostileEnd(far);
    const start = this.#input.u8();
    this.#lanes = (start & Start.RING) === 0 ? 0 : 1;
    this.#heartbeat = (start & Start.HEARTBEAT) !== 0;
    if ((start & Start.ANSWERED) !== 0) this.#answerGreeting();
    for (let pieces = 0; !this.#input.done && this.#input.u8() !== 0 && pieces < MOST_PIECES; pieces++) {
      this.#far.send(readPiece(this.#input, hostile));
    }
    syscalls().shutdown(far, SHUT_WR);
  }

  perform(): void {
    const proxy = this.#connect();
    if (proxy === undefined) return;
    while (!this.#input.done) this.#act(proxy, this.#input.u8() % Step.COUNT);
    this.#checkGone(proxy);
  }

  /** Gives back what a VMM keeps as long as it lives. */
  dispose(): void {
    if (this.#handle !== undefined) {
      const { interrupt, ring } = this.#handle;
      closeInterruptFds(interrupt);
      if (ring !== undefined) {
        closeFd(ring.doorbell);
        syscalls().munmap(ring.address, BigInt(ringSize(ring.geometry)));
        syscalls().munmap(ring.shadow.address, BigInt(ring.shadow.size));
      }
    }
    closeFd(this.#near);
    this.#far.close();
  }

  #answerGreeting(): void {
    const taken = (this.#lanes > 0 ? Offer.RING : 0) | (this.#heartbeat ? Offer.PING | Offer.RESTART : 0);
    const answer = taken === 0 ? Offer.NONE : Offer.MARK | taken;
    for (let bar = 0; bar < 6; bar++) {
      for (const value of [0, 0, this.#input.pick(SIZINGS), 0]) this.#reply(value, answer);
    }
    this.#reply(this.#input.u8() << 8, answer);
  }

  #reply(low: number, high: number): void {
    const message = new Message();
    message.setReturn(low, high);
    this.#far.send({ bytes: message.bytes.slice(0, message.length), descriptors: [] });
  }

  #connect(): PciProxy | undefined {
    try {
      this.#handle = connectProxy("lsi0", this.#near, {
        lanes: this.#lanes,
        timeout: TIMEOUT,
        heartbeat: this.#heartbeat,
      });
    } catch (error) {
      const { message, cause } = error as Error;
      if (message !== "The device process of lsi0 does not answer as a device") throw error;
      invariant(cause instanceof Error && !(cause instanceof TypeError), `a greeting failed by ${cause}`);
      this.#checkLine(cause.message);
      this.#features.message(Kind.GREETING, cause.message);
      return undefined;
    }
    for (const { space, size } of this.#handle.bars) this.#features.hit(Kind.GREETING, size, space.length);
    return new PciProxy(this.#handle, this.#machine, 0);
  }

  #act(proxy: PciProxy, step: number): void {
    const input = this.#input;
    const before = proxy.failed;
    switch (step) {
      case Step.READ_CONFIG:
        this.#read((size) => proxy.readConfig(input.u8() & -size, size));
        break;
      case Step.WRITE_CONFIG:
        proxy.writeConfig(input.u8() & 0xfc, 4, input.u32());
        break;
      case Step.READ_BAR:
        this.#atBar(proxy, (bar, offset) => this.#read((size) => proxy.readBar(bar, offset & -size, size)));
        break;
      case Step.WRITE_BAR:
        this.#atBar(proxy, (bar, offset) => proxy.writeBar(bar, offset, 4, input.u32()));
        break;
      case Step.RESET:
        proxy.reset();
        break;
      case Step.SYNC:
        proxy.syncMemory(this.#hostile.ring.fd, [{ gpa: 0, size: RAM_FILE_SIZE, offset: 0 }]);
        break;
      case Step.INTERRUPT:
        proxy.attachInterrupt(16 + (input.u8() & 7));
        break;
      case Step.PLACE_BARS:
        this.#placeBars(proxy);
        break;
      case Step.RING:
        this.#scribble();
        break;
      case Step.PING:
        this.#ping(proxy);
        break;
      case Step.COLLECT_PONG:
        this.#collect(proxy);
    }
    this.#features.hit(Kind.ACCESS, step, Number(before) << 1 | Number(proxy.failed), this.#lanes);
  }

  /** Whoever watches a device pings it as long as it is there. */
  #ping(proxy: PciProxy): void {
    if (proxy.heartbeat === undefined) return;
    proxy.ping();
    this.#checkHeartbeat(proxy);
  }

  #collect(proxy: PciProxy): void {
    if (proxy.heartbeat === undefined) return;
    proxy.collectPong();
    this.#checkHeartbeat(proxy);
  }

  #checkHeartbeat({ heartbeat }: PciProxy): void {
    const { sent, answered } = heartbeat!.figures();
    invariant(answered <= sent && sent <= answered + 1, `${sent} pings, ${answered} answers`);
    this.#features.hit(Kind.ACCESS, Math.min(sent, 7), Math.min(answered, 7));
  }

  #read(read: (size: AccessSize) => number): void {
    const size = this.#input.pick([1, 2, 4] as const);
    const value = read(size);
    invariant(Number.isInteger(value) && value >= 0 && value <= allOnes(size), `a ${size}-byte read gave ${value}`);
  }

  #atBar(proxy: PciProxy, act: (bar: PciProxy["bars"][number], offset: number) => void): void {
    const bar = proxy.bars[this.#input.u8() % Math.max(1, proxy.bars.length)];
    if (bar !== undefined) act(bar, this.#input.u16() % bar.size & ~3);
  }

  #placeBars(proxy: PciProxy): void {
    for (const { index, space } of proxy.bars) {
      proxy.writeConfig(
        PciConfig.BAR0 + 4 * index,
        4,
        space === "io" ? 0xc000 + 0x100 * index : 0xf0000000 + index * 0x1000000,
      );
    }
    proxy.writeConfig(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY);
  }

  /** The device process has the ring's memory mapped, and writes there what it likes. */
  #scribble(): void {
    const [word, value] = [this.#input.u16(), this.#input.u32()];
    const ring = this.#handle!.ring;
    if (ring === undefined) return;
    const words = new Int32Array(bytesAt(ring.address, ringSize(ring.geometry)).buffer);
    words[word % words.length] = value;
  }

  /**
   * Sooner or later the stream ends, which a write notices: what is read may be in the shadow. Then the slot is empty,
   * and one line has told of it.
   */
  #checkGone(proxy: PciProxy): void {
    for (let i = 0; i < MOST_PIECES * 2 && !proxy.failed; i++) proxy.writeConfig(0xfc, 4, 0);
    this.#features.hit(Kind.ALIVE, Number(proxy.failed), this.#machine.wiring.length);
    invariant(proxy.failed, "the proxy does not notice that nobody is there");
    invariant(proxy.readConfig(0, 4) === 0xffffffff, "configuration space of a device that is gone");
    invariant(proxy.bars.every((bar) => proxy.readBar(bar, 0, 1) === 0xff), "a BAR of a device that is gone");
    invariant(proxy.bars.every((bar) => proxy.barAddress(bar) === undefined), "a BAR of a device that is gone answers");
    invariant(this.#machine.lost.length === 1, `${this.#machine.lost.length} lines tell of the loss`);
    const attached = this.#machine.wiring.filter(([what]) => what === "attach").length;
    invariant(this.#machine.wiring.length === 2 * attached, "the interrupt is left attached");
    this.#checkLine(this.#machine.lost[0]);
    this.#features.message(Kind.LOST, this.#machine.lost[0]);
  }

  #checkLine(line: string): void {
    invariant(/^[\x20-\x7e]{5,300}$/.test(line), `what is said of the loss: ${JSON.stringify(line)}`);
  }
}

const GREETED = [Start.ANSWERED, 1, 2, 0, 0, 0, 0, 1];
const WITH_RING = [Start.ANSWERED | Start.RING, 1, 2, 0, 0, 0, 0, 1];
const WITH_HEARTBEAT = [Start.ANSWERED | Start.HEARTBEAT, 1, 2, 0, 0, 0, 0, 1];

/** A piece of the device process's stream. */
const sent = (...piece: Parameters<typeof messagePiece>) => [1, ...messagePiece(...piece)];
const value = (low: number) => sent((m) => m.setReturn(low));

function seed(name: string, ...pieces: readonly Piece[]): Seed {
  return { name, bytes: input(...pieces) };
}

function seeds(): Seed[] {
  const place = [...value(0), ...value(0), ...value(0)];
  const shadow = {
    size: SHADOW_SIZE,
    ranges: [{ space: Space.CONFIG, offset: 0, length: 256, at: 0 }, {
      space: Space.BAR0 + 1,
      offset: 0,
      length: 64,
      at: 256,
    }],
  };
  const ready = sent((m) => m.setRingReady(shadow), DescriptorKind.SHADOW);
  const accesses = [Step.READ_CONFIG, 0, 2, Step.READ_BAR, 2, 1, 8, 0, Step.WRITE_BAR, 1, 8, 0, ...u32(7)];
  return [
    seed("silence", 0),
    seed("a-device-that-answers", GREETED, place, value(5), value(6), value(0), 0, Step.PLACE_BARS, accesses),
    seed(
      "interrupt-and-reset",
      GREETED,
      sent((m) => m.setEmptyReturn()),
      0,
      Step.INTERRUPT,
      1,
      Step.RESET,
      Step.INTERRUPT,
      2,
      Step.SYNC,
    ),
    seed("request-as-a-reply", GREETED, sent((m) => m.setConfigRead(0, 4)), 0, accesses),
    seed("reply-with-descriptors", GREETED, sent((m) => m.setReturn(0), DescriptorKind.EVENT), 0, accesses),
    seed("half-a-reply", GREETED, [1, ...bytesPiece([1, 0, 0, 0, 0, 0, 0, 0, 8, 0])], 0, accesses),
    seed("64-bit-bar", [Start.ANSWERED, 5, 5, 5, 5, 5, 5, 1]),
    seed("ring", WITH_RING, ready, 0, accesses, Step.PLACE_BARS),
    seed(
      "ring-that-is-scribbled-on",
      WITH_RING,
      ready,
      0,
      ...Array.from({ length: 20 }, (_, i) => [Step.RING, ...u16(i), ...u32(0xffffffff)]),
      accesses,
    ),
    seed(
      "shadow-in-a-file-that-may-shrink",
      WITH_RING,
      sent((m) => m.setRingReady(shadow), DescriptorKind.SMALL_FILE),
      0,
      accesses,
    ),
    seed(
      "shadow-beyond-its-file",
      WITH_RING,
      sent((m) => m.setRingReady({ ...shadow, size: 0x100000 }), DescriptorKind.SHADOW),
    ),
    seed(
      "ranges-outside-the-shadow",
      WITH_RING,
      sent(
        (m) =>
          m.setRingReady({ ...shadow, ranges: [{ space: 0, offset: 0xfffffff0, length: 0xffffffff, at: 0xfffffffc }] }),
        DescriptorKind.SHADOW,
      ),
    ),
    seed("a-ping-that-is-answered", WITH_HEARTBEAT, sent((m) => m.setPong(1)), value(5), 0, [
      ...[Step.PING, Step.COLLECT_PONG, Step.PING],
      ...accesses,
    ]),
    seed("a-pong-before-the-answer", WITH_HEARTBEAT, sent((m) => m.setPong(1)), value(5), 0, Step.PING, accesses),
    seed("the-answer-to-another-ping", WITH_HEARTBEAT, sent((m) => m.setPong(7)), 0, Step.PING, Step.COLLECT_PONG),
    seed("a-pong-that-nobody-asked-for", WITH_HEARTBEAT, sent((m) => m.setPong(1)), 0, accesses),
    seed("half-a-pong", WITH_HEARTBEAT, [1, ...bytesPiece([19, 0, 0, 0, 0, 0, 0, 0, 8, 0])], 0, [
      ...[Step.PING, Step.COLLECT_PONG],
      ...accesses,
    ]),
    seed("no-answer-to-the-ring", WITH_RING, value(0), 0, accesses),
  ];
}

/** See the module. */
export function wireToProxyTarget(): Target {
  const hostile = new HostileDescriptors();
  let descriptors: number | undefined;
  return {
    name: "wire-to-proxy",
    maxLength: 2048,
    dictionary: [GREETED, WITH_RING, WITH_HEARTBEAT, value(0), value(0xffffffff), [Step.PLACE_BARS]].map((bytes) =>
      Uint8Array.from(bytes)
    ),
    seeds: seeds(),
    run(bytes, features) {
      descriptors ??= lowestFreeDescriptor();
      const run = new Run(bytes, features, hostile);
      try {
        run.perform();
      } finally {
        run.dispose();
      }
      invariant(lowestFreeDescriptor() === descriptors, "a descriptor was left open");
    },
  };
}
