/**
 * The link from a hostile proxy to a device process, which serves it on this thread: an input is a stream of
 * messages, of bytes that are none, and of descriptors, and of what is written to the ring's memory.
 *
 * @module
 */
import { createSocketPair } from "../../../src/ffi/socket.ts";
import { Command, Offer } from "../../../src/link/message.ts";
import { PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { initializeRing } from "../../../src/link/ring/layout.ts";
import { ringMemory } from "../../../src/link/ring/memory.ts";
import { forge } from "../../link/ring/scribbles.ts";
import { RemoteMachine } from "../../../src/remote/remote_machine.ts";
import "../../support/remote_harness.ts"; // registers the test device
import { TestDeviceId, TestRegister } from "../../support/test_device.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input, type Piece, u16, u32 } from "../engine/byte_writer.ts";
import { lowestFreeDescriptor } from "../engine/descriptors.ts";
import type { Features } from "../engine/features.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";
import { DescriptorKind, HostileDescriptors, RAM_FILE_SIZE, RING_GEOMETRY } from "./hostile_descriptors.ts";
import { UnmappedRam } from "./unmapped_ram.ts";
import { bytesPiece, HostileEnd, messagePiece, readPiece } from "./wire.ts";

const Step = { SEND: 0, SEND_MORE: 1, RING: 2, REQUEST: 3, COUNT: 4 } as const;
const Kind = { REPLY: 0, LOG: 1, END: 2, SENT: 3 } as const;

/** Turns after which a machine that still has something to do counts as one that never rests. */
const TOO_MANY_TURNS = 20_000;

/** What a device process sends, and how many bytes it may have. */
const ANSWER_SIZES: Readonly<Record<number, readonly number[]>> = {
  [Command.RET]: [0, 8],
  [Command.RING_READY]: [504],
  [Command.PROXY_PONG]: [8],
};

/** Stands for all commands that there are not. */
const UNKNOWN_COMMAND = 21;

/** A device process on this thread, and what hostile proxies of it have in common. */
class Scene {
  readonly #hostile = new HostileDescriptors();
  readonly #ringMemory = ringMemory(this.#hostile.ring.mapping);
  readonly #ring = this.#ringMemory.words;
  readonly #log: string[] = [];
  readonly #machine = new RemoteMachine((line) => this.#log.push(line));
  #descriptors: number | undefined;

  run(bytes: Uint8Array, features: Features): void {
    this.#ring.fill(0);
    initializeRing(this.#ring, RING_GEOMETRY);
    this.#log.length = 0;
    this.#descriptors ??= lowestFreeDescriptor();
    const unmapped = new UnmappedRam(this.#hostile.ram);
    const far = this.#connect();
    try {
      this.#attack(far, new ByteReader(bytes), unmapped, features);
    } finally {
      far.close();
      this.#settle();
    }
    unmapped.check();
    this.#checkAlive();
    this.#checkLog(features);
  }

  #connect(): HostileEnd {
    const [near, far] = createSocketPair();
    this.#machine.add({ id: "robj0", fd: near, device: { driver: "test-device", id: "dev0" } });
    return new HostileEnd(far);
  }

  #attack(far: HostileEnd, input: ByteReader, unmapped: UnmappedRam, features: Features): void {
    let previous = 0;
    let order = 0;
    while (!input.done && this.#machine.size > 0) {
      const step = input.u8() % Step.COUNT;
      if (step === Step.RING) {
        this.#ring[input.u16() % this.#ring.length] = input.u32();
      } else if (step === Step.REQUEST) {
        forge((below) => (below > 0x100 ? input.u32() : input.u8()) % below, this.#ringMemory, order++);
      } else {
        const piece = readPiece(input, this.#hostile);
        unmapped.sent(piece);
        const command = Math.min(piece.bytes[0] ?? 0, UNKNOWN_COMMAND);
        features.hit(Kind.SENT, previous, command, piece.descriptors.length);
        previous = command;
        if (!far.send(piece)) break;
        if (step === Step.SEND_MORE) continue;
      }
      this.#settle();
      this.#checkReplies(far, previous, features);
    }
    features.hit(Kind.END, this.#machine.size, previous);
  }

  #checkReplies(far: HostileEnd, request: number, features: Features): void {
    for (const { command, payload } of far.take()) {
      const size = payload.byteLength;
      invariant(ANSWER_SIZES[command]?.includes(size), `the device process sent command ${command} with ${size} bytes`);
      features.hit(Kind.REPLY, request, size, size === 8 && payload.getUint32(0, true) === 0xffffffff ? 1 : 0);
    }
    invariant(far.partial === 0, "the device process sent a part of a message");
  }

  #settle(): void {
    let turns = 0;
    while (this.#machine.turn(false)) invariant(++turns < TOO_MANY_TURNS, "the device process does not come to rest");
  }

  /** The process lives, serves the next proxy, and has kept nothing of the one before. */
  #checkAlive(): void {
    invariant(this.#machine.size === 0, "the link has not ended with its proxy");
    const far = this.#connect();
    const request = messagePiece((message) => message.setConfigRead(0, 4));
    far.send(readPiece(new ByteReader(Uint8Array.from(request)), this.#hostile));
    this.#settle();
    const [reply] = far.take();
    const identity = TestDeviceId.DEVICE << 16 | TestDeviceId.VENDOR;
    invariant(reply?.payload.getInt32(0, true) === identity, "the device process does not answer the next proxy");
    far.close();
    this.#settle();
    invariant(lowestFreeDescriptor() === this.#descriptors, "a descriptor was left open");
  }

  #checkLog(features: Features): void {
    for (const line of this.#log) {
      invariant(/^[\x20-\x7e]{10,300}$/.test(line), `a line of the log: ${JSON.stringify(line)}`);
      features.message(Kind.LOG, line);
    }
    invariant(this.#log.length <= 1 + 32, `${this.#log.length} lines of log`);
  }
}

const MEMORY_BASE = 0xfeb00000;

const send = (...piece: Parameters<typeof messagePiece>) => [Step.SEND, ...messagePiece(...piece)];

function seed(name: string, ...pieces: readonly Piece[]): Seed {
  return { name, bytes: input(...pieces) };
}

const MAP = [
  ...send((m) => m.setConfigWrite(PciConfig.BAR0 + 4, 4, MEMORY_BASE)),
  ...send((m) => m.setConfigWrite(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER)),
];
const REGION = { gpa: 0, size: RAM_FILE_SIZE, offset: 0 };

function seeds(): Seed[] {
  const sync = send((m) => m.setSyncSysmem([REGION]), DescriptorKind.RAM);
  const write = (register: number, value: number) => send((m) => m.setBarWrite(MEMORY_BASE + register, 4, true, value));
  const ring = [
    ...send((m) => m.setConfigRead(0, 4, Offer.MARK | Offer.RING)),
    ...send((m) => m.setRingSetup(RING_GEOMETRY), DescriptorKind.RING, DescriptorKind.DOORBELL),
  ];
  // Bytes for the choices that make a request what it should be: lane, access and its size, space, offset, value,
  // order.
  const request = (access: number, offset: number) => [Step.REQUEST, 0, 1, access, 2, 1, 1, offset, 1, 3, 1];
  const scribble = Array.from({ length: 24 }, (_, i) => [Step.RING, ...u16(i * 4), ...u32(0x01010101 * i)]).flat();
  return [
    seed("heartbeat", send((m) => m.setConfigRead(0, 4, Offer.MARK | Offer.PING)), [
      ...send((m) => m.setPing(1)),
      ...send((m) => m.setPing(0xffffffff)),
    ]),
    seed("heartbeat-that-was-not-agreed-upon", send((m) => m.setPing(1))),
    seed(
      "pong-nobody-asked-for",
      send((m) => m.setConfigRead(0, 4, Offer.MARK | Offer.PING)),
      send((m) => m.setPong(1)),
    ),
    seed(
      "after-a-restart",
      send((m) => m.setConfigRead(0, 4, Offer.MARK | Offer.RESTART)),
      MAP,
      send((m) => m.setDeviceRestarted()),
      send((m) => m.setDeviceRestarted()),
    ),
    seed("restart-that-was-not-agreed-upon", MAP, send((m) => m.setDeviceRestarted())),
    seed("greeting", ...[0x10, 0x14, 0x3c].map((at) => send((m) => m.setConfigRead(at, 4)))),
    seed(
      "dma",
      MAP,
      sync,
      write(TestRegister.DMA_ADDRESS, 0x1000),
      write(TestRegister.DMA_START, 1),
      write(TestRegister.DMA_START, 2),
    ),
    seed(
      "dma-outside-ram",
      MAP,
      sync,
      write(TestRegister.DMA_ADDRESS, RAM_FILE_SIZE - 8),
      write(TestRegister.DMA_START, 2),
    ),
    seed(
      "dma-at-the-end-of-a-part-of-the-file",
      MAP,
      send((m) => m.setSyncSysmem([{ gpa: 0, size: 0x1000, offset: 0x4000 }]), DescriptorKind.RAM),
      write(TestRegister.DMA_ADDRESS, 0xff0),
      write(TestRegister.DMA_START, 2),
      write(TestRegister.DMA_ADDRESS, 0xff8),
      write(TestRegister.DMA_START, 2),
    ),
    seed("dma-without-bus-mastering", sync, write(TestRegister.DMA_START, 2)),
    seed(
      "interrupt",
      MAP,
      send((m) => m.setIrqFd(), DescriptorKind.EVENT, DescriptorKind.OTHER_EVENT),
      write(TestRegister.PIN, 1),
      write(TestRegister.PIN, 0),
    ),
    seed("interrupt-descriptors-that-are-none", send((m) => m.setIrqFd(), DescriptorKind.PIPE, DescriptorKind.TIMER)),
    seed("timer", MAP, write(TestRegister.TICKS, 20)),
    seed("reset", MAP, send((m) => m.setDeviceReset()), send((m) => m.setBarRead(MEMORY_BASE, 8, true))),
    seed(
      "regions-that-overlap",
      send((m) => m.setSyncSysmem([REGION, { ...REGION, gpa: 0x8000 }]), DescriptorKind.RAM, DescriptorKind.RAM),
    ),
    seed("region-beyond-its-file", send((m) => m.setSyncSysmem([{ ...REGION, size: 0x100000 }]), DescriptorKind.RAM)),
    seed("region-of-a-file-to-read-only", send((m) => m.setSyncSysmem([REGION]), DescriptorKind.READ_ONLY_FILE)),
    seed("region-in-a-pipe", send((m) => m.setSyncSysmem([REGION]), DescriptorKind.PIPE)),
    seed(
      "seven-regions",
      send(
        (m) =>
          m.setSyncSysmem(Array.from({ length: 7 }, (_, i) => ({ gpa: i * 0x2000, size: 0x1000, offset: i * 0x1000 }))),
        ...new Array(7).fill(DescriptorKind.RAM),
      ),
    ),
    seed("reply-that-nobody-asked-for", send((m) => m.setReturn(1))),
    seed("ring", MAP, ring, ...[0, 1, 0, 1, 0, 1].map((access, i) => request(access, 16 * i))),
    seed("ring-that-is-scribbled-on", MAP, ring, scribble, request(0, 4)),
    seed("ring-twice", ring, ring),
    seed(
      "ring-without-an-offer",
      send((m) => m.setRingSetup(RING_GEOMETRY), DescriptorKind.RING, DescriptorKind.DOORBELL),
    ),
    seed(
      "ring-of-other-files",
      send((m) => m.setConfigRead(0, 4, Offer.MARK | Offer.RING)),
      send((m) => m.setRingSetup(RING_GEOMETRY), DescriptorKind.RAM, DescriptorKind.EVENT),
    ),
    seed("more-descriptors-than-any-message-has", [
      Step.SEND,
      ...bytesPiece([0, 0, 0, 0], ...new Array(9).fill(DescriptorKind.EVENT)),
    ]),
    seed(
      "descriptors-byte-by-byte",
      ...Array.from({ length: 8 }, () => [Step.SEND, ...bytesPiece([0], DescriptorKind.EVENT)]),
    ),
    seed(
      "two-messages-at-once",
      [Step.SEND_MORE, ...messagePiece((m) => m.setConfigRead(0, 4))],
      send((m) => m.setConfigRead(4, 2)),
    ),
  ];
}

/** See the module. */
export function wireToDeviceTarget(): Target {
  const scene = new Scene();
  return {
    name: "wire-to-device",
    maxLength: 2048,
    dictionary: [
      ...[u32(MEMORY_BASE), u32(Offer.MARK | Offer.RING), u32(RAM_FILE_SIZE), [
        DescriptorKind.RING,
        DescriptorKind.DOORBELL,
      ]],
      ...Object.values(Command).map((command) => [Step.SEND, 0, command]),
    ].map((bytes) => Uint8Array.from(bytes)),
    seeds: seeds(),
    run: (bytes, features) => scene.run(bytes, features),
  };
}
