/** The watch over a link whose other end is on this thread, with real time: short intervals, and bounds that are generous. */
import { assert, assertEquals } from "@std/assert";
import { isReady, Ready } from "../../src/ffi/event.ts";
import { MessageSocket } from "../../src/ffi/socket.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { Offer } from "../../src/link/message.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy } from "../../src/proxy/pci_proxy.ts";
import type { Watcher } from "../../src/qmp/connection.ts";
import { ProxyWatch } from "../../src/vmm/proxy_watch.ts";
import { SharedLock } from "../../src/vmm/shared_lock.ts";
import { FakePeer, RecordingMachine } from "../proxy/support/fake_peer.ts";

/** Milliseconds. */
const INTERVAL = 10;
const DEADLINE = 100;

/** After this long without what a test waits for, in milliseconds, it fails. */
const PATIENCE = 30_000;

const turn = (milliseconds = 1) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Tells of news when it is asked to look. */
class ManualWatcher implements Watcher {
  #fd = -1;
  #events = 0;
  #ready: (events: number) => void = () => {};
  looks = 0;

  watch(fd: number, events: number, ready: (events: number) => void) {
    [this.#fd, this.#events, this.#ready] = [fd, events, ready];
    return { modify: (events: number) => void (this.#events = events), cancel: () => {} };
  }

  look(): void {
    const asked = this.#events & (Ready.IN | Ready.RDHUP);
    const found = [Ready.IN, Ready.RDHUP].filter((bit) => (asked & bit) !== 0 && isReady(this.#fd, bit));
    if (found.length === 0) return;
    this.looks++;
    this.#ready(found.reduce((all, bit) => all | bit, 0));
  }
}

/** A device process that is watched. */
class Scene {
  readonly peer = new FakePeer();
  readonly machine = new RecordingMachine();
  readonly watcher = new ManualWatcher();
  readonly lock = new SharedLock(new Int32Array(new SharedArrayBuffer(4)));
  readonly proxy: PciProxy;
  readonly #interrupt;
  hasEnded = false;
  losses = 0;

  constructor({ answers = true, deadline = DEADLINE } = {}) {
    this.peer.answerToOffers = answers ? Offer.MARK | Offer.PING : 0;
    this.peer.reply(...new Array(25).fill(0));
    const handle = connectProxy("lsi0", this.peer.fd, { timeout: deadline, heartbeat: true });
    this.#interrupt = handle.interrupt;
    this.peer.requests();
    this.proxy = new PciProxy(handle, this.machine, 0);
    const { proxy, lock, watcher } = this;
    const hasEnded = () => this.hasEnded;
    const onLost = () => void this.losses++;
    new ProxyWatch({ proxy, handle, interval: INTERVAL, lock, watcher, hasEnded, onLost }).begin();
  }

  /** Answers pings until `done`. */
  async serveUntil(done: () => boolean): Promise<void> {
    await this.until(done, () => {
      for (const [name, number] of this.peer.requests()) {
        if (name === "PROXY_PING") this.peer.send((m) => m.setPong(Number(number)));
      }
    });
  }

  /** Lets time pass until `done`. */
  async until(done: () => boolean, meanwhile: () => void = () => {}): Promise<void> {
    for (const end = performance.now() + PATIENCE; !done();) {
      assert(performance.now() < end, "nothing has happened");
      meanwhile();
      this.watcher.look();
      await turn();
    }
  }

  get answered(): number {
    return this.proxy.heartbeat!.answered;
  }

  /** Lets the watch see that the machine has ended, upon which it leaves no timer. */
  async close(): Promise<void> {
    this.hasEnded = true;
    await turn(DEADLINE);
    closeInterruptFds(this.#interrupt);
    this.peer.dispose();
  }
}

function testWatch(name: string, body: (scene: Scene) => Promise<void>, options = {}): void {
  Deno.test(name, async () => {
    const scene = new Scene(options);
    try {
      await body(scene);
    } finally {
      await scene.close();
    }
  });
}

testWatch("a device process that answers is pinged again and again", async (scene) => {
  await scene.serveUntil(() => scene.answered >= 10);
  assertEquals([scene.proxy.failed, scene.machine.lost], [false, []]);
});

testWatch("one that does not answer is given up, once", async (scene) => {
  await scene.serveUntil(() => scene.answered >= 2);
  await scene.until(() => scene.proxy.failed);
  await turn(DEADLINE);
  assertEquals([scene.machine.lost, scene.losses], [["a ping has had no answer for 100 ms"], 1]);
  assert(scene.peer.requests().length <= 1, "it was not pinged again");
});

testWatch("one that answers late, and within its deadline, is not", async (scene) => {
  await turn(DEADLINE);
  await scene.serveUntil(() => scene.answered >= 3);
  assertEquals(scene.machine.lost, []);
}, { deadline: 60_000 });

testWatch("one that closes its socket is given up at once", async (scene) => {
  scene.peer.close();
  await scene.until(() => scene.proxy.failed);
  assertEquals(scene.machine.lost, ["the peer closed the link"]);
}, { deadline: 60_000 });

testWatch("one that a vCPU has given up is watched no more", async (scene) => {
  scene.proxy.lose(new LinkError("an access has had no answer"));
  await scene.until(() => scene.losses > 0);
  await turn(5 * INTERVAL);
  assertEquals([scene.machine.lost, scene.losses], [["an access has had no answer"], 1]);
});

testWatch("one that reads nothing, so that no ping can be sent, is given up", async (scene) => {
  const socket = new MessageSocket(scene.peer.fd);
  while (socket.send(new Uint8Array(64), 0, 64, [], false) > 0);
  await scene.until(() => scene.proxy.failed);
  assertEquals(scene.machine.lost, ["a ping has had no answer for 100 ms"]);
  assertEquals(scene.proxy.heartbeat!.figures().sent, 0);
});

testWatch(
  "while a vCPU has the lock, nobody waits for it, and no time is counted that nobody could look",
  async (scene) => {
    scene.lock.acquire();
    await turn(3 * DEADLINE);
    assertEquals(scene.peer.requests(), []);
    scene.lock.release();
    await scene.serveUntil(() => scene.answered >= 2);
    assertEquals(scene.machine.lost, []);
  },
);

testWatch("a machine that has ended pings nobody", async (scene) => {
  await scene.serveUntil(() => scene.answered >= 2);
  scene.hasEnded = true;
  await turn(3 * INTERVAL);
  scene.peer.requests();
  await turn(5 * INTERVAL);
  assertEquals(scene.peer.requests(), []);
});

testWatch("a peer without a heartbeat, as QEMU's, is sent nothing, and missed when it goes", async (scene) => {
  await turn(5 * INTERVAL);
  assertEquals(scene.peer.requests(), []);
  scene.peer.close();
  await scene.until(() => scene.proxy.failed);
  assertEquals(scene.machine.lost, ["the peer closed the link"]);
}, { answers: false });

/** What a hostile device process may send as fast as it can, and what is said of it. */
const FLOODS: readonly [string, (peer: FakePeer) => void, RegExp][] = [
  ["pongs", (peer) => peer.send((m) => m.setPong(0)), /^it sent \d+ bytes that nobody asked for$|something else$/],
  ["replies", (peer) => peer.reply(0), /^it sent \d+ bytes that nobody asked for$|something else$/],
  ["questions", (peer) => peer.send((m) => m.setConfigRead(0, 4)), /that nobody asked for$|something else$/],
  [
    "noise",
    (peer) => peer.sendRaw(crypto.getRandomValues(new Uint8Array(64))),
    /that nobody asked for$|unknown command/,
  ],
];

for (const [name, send, said] of FLOODS) {
  testWatch(`a flood of ${name} ends the link with one line, and wakes nobody meanwhile`, async (scene) => {
    await scene.serveUntil(() => scene.answered >= 2);
    for (let i = 0; i < 100 && !scene.proxy.failed; i++) send(scene.peer);
    await scene.until(() => scene.proxy.failed);
    assertEquals(scene.machine.lost.length, 1);
    assert(said.test(scene.machine.lost[0]), scene.machine.lost[0]);
    const { looks } = scene.watcher;
    await turn(5 * INTERVAL);
    assertEquals(scene.machine.lost.length, 1);
    assertEquals(scene.watcher.looks <= looks + 1, true);
  });
}

testWatch("half an answer is no answer, however long it takes", async (scene) => {
  await scene.until(() => scene.peer.requests().length > 0);
  const half = new Uint8Array(12);
  half[0] = 19;
  half[8] = 8;
  scene.peer.sendRaw(half);
  await scene.until(() => scene.proxy.failed);
  assertEquals(scene.machine.lost, ["a ping has had no answer for 100 ms"]);
});
