/**
 * A device process with nothing but a ring: a BAR that is memory. It ends when its link is hung up.
 *
 * @module
 */
import { answerDoorbell } from "../../../src/ffi/doorbell.ts";
import { Epoll, Ready } from "../../../src/ffi/event.ts";
import { RingConsumer } from "../../../src/link/ring/consumer.ts";
import { mapRing, ringMemory } from "../../../src/link/ring/memory.ts";
import { Spinner } from "../../../src/link/ring/waiting.ts";
import { delayHook } from "./delays.ts";
import { DEVICE_DOORBELL, DEVICE_LINK, DEVICE_RING, type DeviceArguments } from "./device_arguments.ts";

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
  const spinner = new Spinner(spin);
  const pending = () => consumer.pending;
  const epoll = new Epoll();
  epoll.add(DEVICE_DOORBELL, Ready.IN);
  epoll.add(DEVICE_LINK, Ready.RDHUP);
  for (let there = true; there;) {
    if (consumer.serve(BATCH) > 0 || spinner.spin(pending)) continue;
    if (!consumer.announceSleep()) continue;
    epoll.wait(-1, (fd) => {
      if (fd === DEVICE_DOORBELL) answerDoorbell(fd);
      else there = false;
    });
    consumer.awake();
    if (consumer.pending) spinner.woken();
  }
}

main(JSON.parse(Deno.args[0]));
