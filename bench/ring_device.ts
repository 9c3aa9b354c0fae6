/**
 * A device process with nothing but a ring: 64 registers.
 *
 * @module
 */
import { leaveProcessor } from "../src/ffi/processor.ts";
import { RingConsumer } from "../src/link/ring/consumer.ts";
import { mapRing, ringMemory } from "../src/link/ring/memory.ts";
import { Spinner } from "../src/link/ring/waiting.ts";
import { DEVICE_RING, serveRing } from "../tests/support/ring_device.ts";

/** The most requests between two looks at anything else. */
const BATCH = 64;

function main([lanes, slots]: readonly number[]): void {
  const geometry = { lanes, slots };
  const registers = new Uint32Array(64);
  const consumer = new RingConsumer({
    memory: ringMemory(mapRing(DEVICE_RING, geometry)),
    geometry,
    spaces: [0, 4 * registers.length],
    target: {
      load: (_, offset) => registers[offset >>> 2],
      store: (_, offset, _size, value) => void (registers[offset >>> 2] = value),
      reset: () => void registers.fill(0),
    },
  });
  serveRing(consumer, new Spinner({ onVain: leaveProcessor }), BATCH);
}

main(Deno.args.map(Number));
