/** A device process that has been taken over, and sends what nobody asked for: the machine goes on, and takes nothing in that was sent along. */
import { assert, assertEquals } from "@std/assert";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, duplicateFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { MessageSocket } from "../../src/ffi/socket.ts";
import { Channel } from "../../src/link/channel.ts";
import { Command, Message } from "../../src/link/message.ts";
import { descriptorsOf } from "../support/process_tree.ts";
import { QmpClient } from "../support/qmp_client.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import { GIVEN_DEVICE, startGuest, testOnKvm } from "./guests.ts";

/** Milliseconds. */
const MOMENT = 5;
/** The most descriptors that the kernel passes in one message (net/scm.h, SCM_MAX_FD). */
const MOST_DESCRIPTORS = 253;

/** A PCI device without BARs, at the far end of a link. */
class Device {
  readonly #fd: number;
  readonly #channel: Channel;
  readonly #config = new DataView(new ArrayBuffer(256));

  /** @param fd The socket, which belongs to the device from now on. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#channel = new Channel(fd);
    this.#config.setUint32(0, 0x00121000, true);
  }

  /** Answers what has come, or comes in a moment. */
  serve(): void {
    pollFd(this.#fd, Ready.IN, MOMENT);
    while (this.#channel.poll() === "message") {
      this.#channel.takeDescriptors().forEach(closeFd);
      const { command, configAddress } = this.#channel.incoming;
      const answer = command === Command.PCI_CFGREAD ? this.#config.getUint32(configAddress & 0xfc, true) : 0;
      if (command === Command.SYNC_SYSMEM || command === Command.SET_IRQFD) continue;
      this.#channel.outgoing.setReturn(answer >>> 8 * (configAddress & 3));
      this.#channel.send(this.#channel.outgoing);
    }
  }

  /** Sends bytes, with so many descriptors of the same file beside them. */
  sendRaw(bytes: Uint8Array<ArrayBuffer>, descriptors: number): void {
    const file = openFile("/dev/null", OpenFlags.O_RDWR);
    new MessageSocket(this.#fd).send(bytes, 0, bytes.length, Array(descriptors).fill(file), true);
    closeFd(file);
  }

  close(): void {
    this.#channel.close();
  }
}

/** The bytes of a message. */
function bytesOf(make: (message: Message) => void): Uint8Array<ArrayBuffer> {
  const message = new Message();
  make(message);
  return Uint8Array.from(message.bytes.subarray(0, message.length));
}

const UNASKED: Readonly<Record<string, readonly [Uint8Array<ArrayBuffer>, number]>> = {
  "an answer with descriptors": [bytesOf((message) => message.setReturn(0)), 7],
  "guest RAM of its own": [bytesOf((message) => message.setSyncSysmem([{ gpa: 0, size: 4096, offset: 0 }])), 1],
  "eventfds for an interrupt": [bytesOf((message) => message.setIrqFd()), 2],
  "a question": [bytesOf((message) => message.setConfigRead(0, 4)), 0],
  "the shadow of a ring that nobody agreed upon": [
    bytesOf((message) => message.setRingReady({ size: 4096, ranges: [] })),
    1,
  ],
  "as many descriptors as the kernel passes": [bytesOf((message) => message.setReturn(0)), MOST_DESCRIPTORS],
  "noise with descriptors": [Uint8Array.from({ length: 999 }, (_, i) => i * 37), 30],
};

for (const [what, [bytes, descriptors]] of Object.entries(UNASKED)) {
  testOnKvm(`a device process that sends ${what}: it is gone, and nothing of it stays in the VMM`, (stage) => {
    const [near, far] = stage.link();
    const device = new Device(duplicateFd(far));
    const path = `${stage.directory}/qmp.sock`;
    const options = [...GIVEN_DEVICE, "-qmp", `unix:${path},server=on,wait=off`];
    const vmm = startGuest(stage, idle, { options, given: near });
    stage.giveAway();
    try {
      stage.runUntil(() => {
        device.serve();
        return vmm.console.includes("waiting\r\n") || vmm.hasEnded;
      }, "the guest to start");
      vmm.waitFor("waiting\r\n");
      const qmp = new QmpClient(path);
      const before = descriptorsOf(vmm.pid).length;
      device.sendRaw(bytes, descriptors);
      qmp.call("system_reset"); // of which the device is told
      vmm.waitForError("device lsi0 is gone: ");
      vmm.waitFor("waiting\r\n");
      assert(descriptorsOf(vmm.pid).length <= before, "descriptors stay");
      assertEquals(vmm.errors.split("\n").length, 2, vmm.errors);
      vmm.send("x");
      vmm.waitFor("ready\r\n");
      qmp.close();
    } finally {
      device.close();
    }
  });
}
