/**
 * A ring between two processes: a device process, and vCPU threads of this one.
 *
 * @module
 */
import { createDoorbell } from "../../../src/ffi/doorbell.ts";
import { closeFd } from "../../../src/ffi/file.ts";
import { type ChildProcess, Signal, spawn } from "../../../src/ffi/process.ts";
import { createSocketPair } from "../../../src/ffi/socket.ts";
import type { RingGeometry } from "../../../src/link/ring/layout.ts";
import { createRingMemory, ringMemory, type SharedMemory } from "../../../src/link/ring/memory.ts";
import { RingProducer, type RingProducerOptions } from "../../../src/link/ring/producer.ts";
import { producerHost } from "../../../src/link/ring/producer_host.ts";
import { childEnvironment } from "../../support/child.ts";
import { DEVICE_DOORBELL, DEVICE_LINK, DEVICE_RING } from "../../support/ring_device.ts";
import type { DeviceArguments } from "./device_arguments.ts";

/** A device process, and this one's end of the ring. */
export class DeviceProcess {
  readonly ring: SharedMemory;
  readonly doorbell: number;
  readonly link: number;
  readonly child: ChildProcess;
  readonly #geometry: RingGeometry;
  #closed = false;

  constructor(device: DeviceArguments) {
    this.#geometry = device.geometry;
    this.ring = createRingMemory(device.geometry);
    const [ringer, listener] = createDoorbell();
    const [near, far] = createSocketPair();
    [this.doorbell, this.link] = [ringer, near];
    const program = new URL("./device_main.ts", import.meta.url).pathname;
    this.child = spawn({
      command: [
        Deno.execPath(),
        "run",
        "--quiet",
        "--no-prompt",
        "--allow-ffi",
        "--allow-read",
        program,
        JSON.stringify(device),
      ],
      env: childEnvironment(),
      descriptors: new Map([[DEVICE_RING, this.ring.fd], [DEVICE_DOORBELL, listener], [DEVICE_LINK, far]]),
    });
    [listener, far].forEach(closeFd);
  }

  /** A producer on this thread. */
  producer(options: Pick<RingProducerOptions, "lane" | "deadline"> & Partial<RingProducerOptions>): RingProducer {
    return new RingProducer({
      memory: ringMemory(this.ring.mapping),
      geometry: this.#geometry,
      host: producerHost(this.doorbell, this.link),
      ...options,
    });
  }

  /** Ends the device process, which ends by itself once its link is hung up. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFd(this.link);
    this.child.kill(Signal.CONT);
    const status = this.child.wait();
    this.child.close();
    [this.doorbell, this.ring.fd].forEach(closeFd);
    this.ring.mapping.unmap();
    const wasKilled = "signal" in status && status.signal === Signal.KILL;
    if (!wasKilled && !("code" in status && status.code === 0)) {
      throw new Error(`the device process ended with ${JSON.stringify(status)}`);
    }
  }
}
