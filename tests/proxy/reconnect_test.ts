/** A peer that takes the place of one that was lost: the fake one answers before it is asked, so nothing is ever waited for. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { closeFd, redirectFd } from "../../src/ffi/file.ts";
import { createMemoryFile } from "../../src/ffi/memory.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { Offer } from "../../src/link/message.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy, type ProxyHandle } from "../../src/proxy/pci_proxy.ts";
import { Reconnection } from "../../src/proxy/reconnect.ts";
import { leakingNothingAwaited } from "../support/leaks.ts";
import { FakePeer, RecordingMachine } from "./support/fake_peer.ts";

const IO_BASE = 0xc000;
const MEMORY_BASE = 0xfebf_0000;
const COMMAND = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER;
const RESTART = Offer.MARK | Offer.RESTART;
const LOST = new LinkError("the peer closed the link", "closed");

/** Answers to what a new peer is told: two BARs, cache line size, interrupt line, command, and that it is a new one. */
const REPLAY = 6;

interface Scene {
  readonly machine: RecordingMachine;
  readonly handle: ProxyHandle;
  readonly proxy: PciProxy;
  /** The process that takes the lost one's place. */
  readonly next: FakePeer;
  readonly reconnection: Reconnection;
  readonly memoryFd: number;
}

/** A test with a proxy that a guest has set up, and whose peer is gone. @param answer To the offers of the new one. */
function withLoss(body: (scene: Scene) => Promise<void>, answer: number = RESTART): () => Promise<void> {
  return leakingNothingAwaited(async () => {
    const [peer, next, machine] = [new FakePeer(), new FakePeer(), new RecordingMachine()];
    for (let i = 0; i < 6; i++) peer.reply(0, 0, [0xffffff01, 0xfffffc00][i] ?? 0, 0);
    peer.reply(0x100);
    const handle = { ...connectProxy("lsi0", peer.fd), connectedAt: -Infinity };
    const proxy = new PciProxy(handle, machine, 0);
    peer.reply(0, 0, 0, 0, 0);
    proxy.writeConfig(PciConfig.BAR0, 4, IO_BASE);
    proxy.writeConfig(PciConfig.BAR0 + 4, 4, MEMORY_BASE);
    proxy.writeConfig(PciConfig.CACHE_LINE_SIZE, 1, 0x10);
    proxy.writeConfig(PciConfig.INTERRUPT_LINE, 1, 11);
    proxy.writeConfig(PciConfig.COMMAND, 2, COMMAND);
    proxy.lose(LOST);
    redirectFd(next.fd, handle.fd);
    next.answerToOffers = answer;
    const memoryFd = createMemoryFile("ram", 4096);
    const reconnection = new Reconnection(handle, () => Promise.reject(new Error("no answer is there")));
    try {
      await body({ machine, handle, proxy, next, reconnection, memoryFd });
    } finally {
      closeInterruptFds(handle.interrupt);
      closeFd(memoryFd);
      next.dispose();
      peer.dispose();
    }
  });
}

function guestState({ proxy, memoryFd }: Scene) {
  return { configuration: proxy.configuration, ranges: [{ gpa: 0, size: 4096, offset: 0 }], memoryFd };
}

Deno.test(
  "a new peer is told where RAM is and what the guest has configured, the command register last, and that it is a new one",
  withLoss(async (scene) => {
    const { next, reconnection } = scene;
    next.reply(0x0012_1000);
    await reconnection.greet();
    assertEquals(next.requests(), [["PCI_CFGREAD", PciConfig.VENDOR_ID, 4], ["SET_IRQFD", 2]]);
    for (let i = 0; i < REPLAY; i++) next.reply(0);
    await reconnection.replay(guestState(scene));
    assertEquals(next.requests(), [
      ["SYNC_SYSMEM", 0, 4096, 0],
      ["PCI_CFGWRITE", PciConfig.BAR0, 4, IO_BASE],
      ["PCI_CFGWRITE", PciConfig.BAR0 + 4, 4, MEMORY_BASE],
      ["PCI_CFGWRITE", PciConfig.CACHE_LINE_SIZE, 2, 0x10],
      ["PCI_CFGWRITE", PciConfig.INTERRUPT_LINE, 1, 11],
      ["PCI_CFGWRITE", PciConfig.COMMAND, 2, COMMAND],
      ["DEVICE_RESTARTED"],
    ]);
  }),
);

Deno.test(
  "what has changed since is told again, after a reset",
  withLoss(async (scene) => {
    const { next, reconnection, proxy } = scene;
    next.reply(0x0012_1000);
    await reconnection.greet();
    for (let i = 0; i < REPLAY; i++) next.reply(0);
    const state = guestState(scene);
    await reconnection.replay(state);
    proxy.reset();
    assertEquals(proxy.renew(state.configuration, undefined), false);
    next.requests();
    for (let i = 0; i < 1 + REPLAY; i++) next.reply(0);
    const now = guestState(scene);
    await reconnection.replay(now);
    const requests = next.requests();
    assertEquals(requests[0], ["DEVICE_RESET"]);
    assertEquals(requests.at(-2), ["PCI_CFGWRITE", PciConfig.COMMAND, 2, 0]);
    assertEquals(proxy.renew(now.configuration, undefined), true);
  }),
);

Deno.test(
  "a device is gone until it is renewed, and there again for every thread",
  withLoss(async (scene) => {
    const { handle, machine, proxy, next } = scene;
    const other = new PciProxy(handle, machine, 1);
    for (const each of [proxy, other]) {
      assertEquals([each.failed, each.isBuried, each.readConfig(0, 4)], [true, true, 0xffffffff]);
    }
    const changes = machine.mappingChanges;
    assert(proxy.renew(proxy.configuration, undefined));
    assertEquals(machine.mappingChanges, changes + 1);
    next.reply(0x0012_1000, 0x0012_1000);
    for (const each of [proxy, other]) assertEquals([each.failed, each.readConfig(0, 4)], [false, 0x0012_1000]);
    assertEquals(machine.lost.length, 1);
    // The second one is lost like the first.
    other.lose(LOST);
    assertEquals([proxy.failed, proxy.readConfig(0, 4), machine.lost.length], [true, 0xffffffff, 2]);
    await Promise.resolve();
  }),
);

Deno.test(
  "a peer that knows nothing of restarts is told of none",
  withLoss(async (scene) => {
    const { next, reconnection } = scene;
    next.reply(0x0012_1000);
    await reconnection.greet();
    for (let i = 0; i < REPLAY - 1; i++) next.reply(0);
    await reconnection.replay(guestState(scene));
    assertEquals(next.requests().at(-1)?.[0], "PCI_CFGWRITE");
  }, 0),
);

Deno.test(
  "a peer that ends, or answers with something else, is an error",
  withLoss(async ({ next, reconnection }) => {
    next.send((message) => message.setPong(0));
    await assertRejects(() => reconnection.greet(), LinkError, "the new process does not answer as a device");
    next.close();
    await assertRejects(() => reconnection.greet(), LinkError, "the peer closed the link");
  }),
);
