/**
 * A device process to play the proxy to, on this thread.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { createSocketPair, MessageSocket, WOULD_BLOCK } from "../../src/ffi/socket.ts";
import { HEADER_SIZE, Message } from "../../src/link/message.ts";
import { registerDevice } from "../../src/remote/devices.ts";
import { RemoteMachine } from "../../src/remote/remote_machine.ts";
import { leakingNothing } from "./leaks.ts";
import { TestDevice } from "./test_device.ts";

/** Turns after which a machine that still has something to do counts as one that never rests. */
const TOO_MANY_TURNS = 100_000;

let latest: TestDevice;
registerDevice("test-device", (_config, { host }) => latest = new TestDevice(host));

/** The device of that type which was made last. */
export function latestTestDevice(): TestDevice {
  return latest;
}

/** The bytes of a message. */
export function bytesOf(make: (message: Message) => void): Uint8Array<ArrayBuffer> {
  const message = new Message();
  make(message);
  return message.bytes.slice(0, message.length);
}

/** What a RET brought: its value in halves; both 0, and `empty`, where it had no payload. */
export interface Reply {
  readonly low: number;
  readonly high: number;
  readonly empty: boolean;
}

/** The proxy's end of a link to a machine that hosts a {@linkcode TestDevice}. */
export class FakeProxy {
  readonly #socket: MessageSocket;
  #open = true;

  constructor(fd: number, readonly machine: RemoteMachine, readonly device: TestDevice) {
    this.#socket = new MessageSocket(fd);
  }

  /** Sends bytes, whatever they are, and lets the machine work on them. */
  send(bytes: Uint8Array<ArrayBuffer>, descriptors: readonly number[] = []): void {
    assertEquals(this.#socket.send(bytes, 0, bytes.length, descriptors, true), bytes.length);
    this.settle();
  }

  /** Sends what fits, without letting the machine work. @returns whether all of it did. */
  stuff(bytes: Uint8Array<ArrayBuffer>): boolean {
    return this.#socket.send(bytes, 0, bytes.length, [], false) === bytes.length;
  }

  /** Sends a message, and lets the machine work on it. */
  request(make: (message: Message) => void, descriptors: readonly number[] = []): void {
    this.send(bytesOf(make), descriptors);
  }

  /** Sends a message and returns its reply, which must be the only one. */
  call(make: (message: Message) => void): Reply {
    this.request(make);
    const reply = this.reply();
    if (reply === undefined) throw new Error("There was no reply");
    assertEquals(this.reply(), undefined, "there was more than one reply");
    return reply;
  }

  /** Takes the next RET. @returns `undefined` when there is none. */
  reply(): Reply | undefined {
    const header = new DataView(new ArrayBuffer(HEADER_SIZE));
    if (!this.#read(new Uint8Array(header.buffer))) return undefined;
    assertEquals(header.getInt32(0, true), 1, "the remote sent something other than RET");
    const size = header.getUint32(8, true);
    assertEquals([0, 8].includes(size) && header.getUint32(12, true) === 0, true, `RET of ${size} bytes`);
    const value = new DataView(new ArrayBuffer(size));
    if (size > 0) assertEquals(this.#read(new Uint8Array(value.buffer)), true, "half a reply");
    if (size === 0) return { low: 0, high: 0, empty: true };
    return { low: value.getUint32(0, true), high: value.getUint32(4, true), empty: false };
  }

  /** Whether the remote has closed the link, with nothing left to read. */
  get closedByRemote(): boolean {
    if (!this.#open) return true;
    try {
      return this.#socket.receive(new Uint8Array(1), 0, 1, false) === 0;
    } catch {
      return true; // ECONNRESET: closed with bytes of ours unread
    }
  }

  /** Lets the machine work until it is idle or gone. */
  settle(): void {
    let turns = 0;
    while (this.machine.turn(false)) assert(++turns < TOO_MANY_TURNS, "the machine does not come to rest");
  }

  /** Goes away. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#socket.fd);
  }

  #read(into: Uint8Array<ArrayBuffer>): boolean {
    for (let at = 0; at < into.length;) {
      const step = this.#socket.receive(into, at, into.length - at, false);
      if (step === WOULD_BLOCK || step === 0) {
        assertEquals(at, 0, "the remote sent a part of a message");
        return false;
      }
      at += step;
    }
    return true;
  }
}

/** A machine with `count` devices, and a proxy for each. */
export function startRemote(log: string[], count = 1): { machine: RemoteMachine; proxies: FakeProxy[] } {
  const machine = new RemoteMachine((line) => log.push(line));
  const proxies = Array.from({ length: count }, (_, i) => {
    const [near, far] = createSocketPair();
    machine.add({ id: `robj${i}`, fd: near, device: { driver: "test-device", id: `dev${i}` } });
    return new FakeProxy(far, machine, latest);
  });
  return { machine, proxies };
}

/**
 * A test body that gets a proxy of a running device process. Afterwards proxy and process are gone, and so is
 * everything that was passed between them.
 */
export function withRemote(body: (proxy: FakeProxy, log: string[]) => void): () => void {
  return leakingNothing(() => {
    const log: string[] = [];
    const { machine, proxies: [proxy] } = startRemote(log);
    try {
      body(proxy, log);
    } finally {
      proxy.close();
      machine.close();
    }
    assertEquals(proxy.device.closed, 1, "the device was not closed once");
  });
}
