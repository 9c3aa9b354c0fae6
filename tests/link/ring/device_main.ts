/**
 * A device process with nothing but a ring: a BAR that is memory. It ends when its link is hung up.
 *
 * @module
 */
import { RingConsumer } from "../../../src/link/ring/consumer.ts";
import { mapRing, ringMemory } from "../../../src/link/ring/memory.ts";
import { Spinner } from "../../../src/link/ring/waiting.ts";
import { DEVICE_RING, serveRing } from "../../support/ring_device.ts";
import { delayHook } from "./delays.ts";
import type { DeviceArguments } from "./device_arguments.ts";

/** The most requests between two looks at anything else. */
const BATCH = 16;

function main({ geometry, barSize, spin, delay, seed }: DeviceArguments): void {
  const registers = new DataView(new ArrayBuffer(barSize));
  const consumer = new RingConsumer({
    memory: ringMemory(mapRing(DEVICE_RING, geometry)),
    geometry,
    spaces: [barSize],
    hook: delayHook(delay, seed),
    target: {
      load(_, offset, size) {
        if (size === 4) return registers.getUint32(offset, true);
        return size === 2 ? registers.getUint16(offset, true) : registers.getUint8(offset);
      },
      store(_, offset, size, value) {
        if (size === 4) registers.setUint32(offset, value, true);
        else if (size === 2) registers.setUint16(offset, value, true);
        else registers.setUint8(offset, value);
      },
      reset() {},
    },
  });
  serveRing(consumer, new Spinner(spin), BATCH);
}

main(JSON.parse(Deno.args[0]));
