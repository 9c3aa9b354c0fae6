/**
 * What device processes are made of that have nothing but a ring.
 *
 * @module
 */
import { answerDoorbell } from "../../src/ffi/doorbell.ts";
import { Epoll, Ready } from "../../src/ffi/event.ts";
import type { RingConsumer } from "../../src/link/ring/consumer.ts";
import type { Spinner } from "../../src/link/ring/waiting.ts";

/** Descriptors of such a process: the ring, its doorbell, and a socket that is hung up when the process is to end. */
export const DEVICE_RING = 3;
export const DEVICE_DOORBELL = 4;
export const DEVICE_LINK = 5;

/**
 * Serves a ring until the link is hung up.
 *
 * @param batch The most requests between two looks at anything else.
 */
export function serveRing(consumer: RingConsumer, spinner: Spinner, batch: number): void {
  const pending = () => consumer.pending;
  const epoll = new Epoll();
  epoll.add(DEVICE_DOORBELL, Ready.IN);
  epoll.add(DEVICE_LINK, Ready.RDHUP);
  for (let there = true; there;) {
    if (consumer.serve(batch) > 0 || spinner.spin(pending)) continue;
    if (!consumer.announceSleep()) continue;
    epoll.wait(-1, (fd) => {
      if (fd === DEVICE_DOORBELL) answerDoorbell(fd);
      else there = false;
    });
    consumer.awake();
    if (consumer.pending) spinner.woken();
  }
}
