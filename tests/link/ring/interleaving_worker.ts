/**
 * An actor of the interleaving tests, on a thread of its own.
 *
 * @module
 */
import { RingConsumer } from "../../../src/link/ring/consumer.ts";
import { Lane, laneAt } from "../../../src/link/ring/layout.ts";
import { RingProducer } from "../../../src/link/ring/producer.ts";
import { CONSUMER, type Scenario, State, Turns } from "./interleaving.ts";

/** What an actor is told. */
export interface ActorMessage {
  readonly actor: number;
  readonly scenario: Scenario;
  readonly turns: SharedArrayBuffer;
  readonly ring: SharedArrayBuffer;
}

/** What an actor does in each run. */
function actorOf({ actor, scenario: { programs, slots }, ring }: ActorMessage, turns: Turns): () => void {
  const geometry = { lanes: programs.length, slots };
  const memory = { words: new Int32Array(ring), address: 0n };
  const shared = { memory, geometry, hook: () => turns.step(actor) };
  return actor === CONSUMER ? () => consume(shared, turns, programs) : () => produce(shared, turns, actor, programs);
}

type Shared = Pick<ConstructorParameters<typeof RingConsumer>[0], "memory" | "geometry" | "hook">;

function consume(shared: Shared, turns: Turns, programs: Scenario["programs"]): void {
  const register = new Uint32Array(programs.length);
  const expected = programs.flat().length;
  const lane = (address: bigint) =>
    programs.findIndex((_, i) => address === BigInt(4 * (laneAt(i, shared.geometry) + Lane.TAIL)));
  const consumer = new RingConsumer({
    ...shared,
    spaces: [4 * programs.length],
    target: {
      load: (_, offset) => register[offset / 4],
      store: (_, offset, _size, value) => void (register[offset / 4] = value),
      reset() {},
    },
    wake: (address) => turns.wake(1 + lane(address)),
  });
  for (let served = 0; served < expected;) {
    const count = consumer.serve(1);
    served += count;
    if (count > 0 || !consumer.announceSleep()) continue;
    turns.step(CONSUMER, State.ON_DOORBELL);
    turns.answer();
    consumer.awake();
  }
}

function produce(shared: Shared, turns: Turns, actor: number, programs: Scenario["programs"]): void {
  const lane = actor - 1;
  const { words } = shared.memory;
  const tailAt = laneAt(lane, shared.geometry) + Lane.TAIL;
  const producer = new RingProducer({
    ...shared,
    lane,
    deadline: 1,
    spin: { longest: 0 },
    host: {
      ring: () => turns.ring(),
      sleep(_, expected) {
        if (words[tailAt] === expected) turns.step(actor, State.ON_FUTEX);
      },
      isPeerThere: () => true,
      now: () => 0,
    },
  });
  let stored = 0;
  for (const access of programs[lane]) {
    if (access === "store") producer.store(0, 4 * lane, 4, ++stored);
    else if (producer.load(0, 4 * lane, 4) !== stored) throw new Error(`a load did not bring ${stored}`);
  }
}

self.addEventListener("message", (event) => {
  const { data } = event as MessageEvent<ActorMessage>;
  const { actor, scenario } = data;
  const turns = new Turns(1 + scenario.programs.length, data.turns);
  const act = actorOf(data, turns);
  (self as unknown as Pick<Worker, "postMessage">).postMessage("ready");
  for (let run = 0;;) {
    run = turns.awaitRun(run);
    if (turns.over) return self.close();
    try {
      turns.begin(actor);
      act();
      turns.end(actor);
    } catch {
      if (!turns.over) turns.fail();
    }
  }
});
