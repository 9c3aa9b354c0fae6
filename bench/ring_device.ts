/**
 * A device process with nothing but a ring: 64 registers, and the loop that serves them. Descriptor 3 is the ring, 4 the doorbell, 5 a socket
 * that is hung up when the process is to end.
 *
 * @module
 */
import { answerDoorbell } from "../src/ffi/doorbell.ts";
import { Epoll, Ready } from "../src/ffi/event.ts";
import { leaveProcessor } from "../src/ffi/processor.ts";
import { RingConsumer } from "../src/link/ring/consumer.ts";
import { mapRing, ringMemory } from "../src/link/ring/memory.ts";
import { Spinner } from "../src/link/ring/waiting.ts";

const RING = 3;
const DOORBELL = 4;
const LINK = 5;

/** The most requests between two looks at anything else. */
const BATCH = 64;

function main([lanes, slots]: readonly number[]): void {
  const geometry = { lanes, slots };
  const registers = new Uint32Array(64);
  const consumer = new RingConsumer({
    memory: ringMemory(mapRing(RING, geometry)),
    geometry,
    spaces: [0, 4 * registers.length],
    target: {
      load: (_, offset) => registers[offset >>> 2],
      store: (_, offset, _size, value) => void (registers[offset >>> 2] = value),
      reset: () => void registers.fill(0),
    },
  });
  const spinner = new Spinner({ onVain: leaveProcessor });
  const pending = () => consumer.pending;
  const epoll = new Epoll();
  epoll.add(DOORBELL, Ready.IN);
  epoll.add(LINK, Ready.RDHUP);
  for (let there = true; there;) {
    if (consumer.serve(BATCH) > 0 || spinner.spin(pending)) continue;
    if (!consumer.announceSleep()) continue;
    epoll.wait(-1, (fd) => {
      if (fd === DOORBELL) answerDoorbell(fd);
      else there = false;
    });
    consumer.awake();
    if (consumer.pending) spinner.woken();
  }
}

main(Deno.args.map(Number));
