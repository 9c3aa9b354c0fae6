/**
 * A hostile producer on a thread of its own.
 *
 * @module
 */
import { Lane, laneAt } from "../../../src/link/ring/layout.ts";
import { randomNumbers } from "./random.ts";
import { forge, GEOMETRY, scribble } from "./scribbles.ts";

/** What the thread is told: the ring, and two words: whether it runs, and whether it is to end. */
interface ScribblerMessage {
  readonly memory: SharedArrayBuffer;
  readonly control: Int32Array;
}

self.addEventListener("message", (event) => {
  const { memory, control } = (event as MessageEvent<ScribblerMessage>).data;
  const ring = { words: new Int32Array(memory), address: 0n };
  const random = randomNumbers(0x2468ace);
  const tails = Array.from({ length: GEOMETRY.lanes }, (_, lane) => laneAt(lane, GEOMETRY) + Lane.TAIL);
  Atomics.store(control, 0, 1);
  while (Atomics.load(control, 1) === 0) {
    forge(random, ring, tails.reduce((sum, tail) => sum + Atomics.load(ring.words, tail), 0));
    if (random(1000) === 0) scribble(random, ring);
  }
  (self as unknown as Pick<Worker, "postMessage">).postMessage("ended");
  self.close();
});
