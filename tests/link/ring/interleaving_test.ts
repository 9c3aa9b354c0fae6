import { assert, assertEquals } from "@std/assert";
import { initializeRing, ringSize } from "../../../src/link/ring/layout.ts";
import { workersEnded } from "../../support/leaks.ts";
import { runs } from "../../support/runs.ts";
import { nextPrefix, Outcome, type Scenario, Turns } from "./interleaving.ts";
import type { ActorMessage } from "./interleaving_worker.ts";

/** Starts an actor's thread. */
function startActor(message: ActorMessage): Promise<Worker> {
  const worker = new Worker(new URL("./interleaving_worker.ts", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve(worker);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(message);
  });
}

/**
 * Runs a scenario in all orders of its steps in which an actor is made to wait at most so often.
 *
 * @returns how many there are.
 */
async function explore(scenario: Scenario, preemptions: number): Promise<number> {
  const actors = 1 + scenario.programs.length;
  const geometry = { lanes: scenario.programs.length, slots: scenario.slots };
  const ring = new SharedArrayBuffer(ringSize(geometry));
  const turns = new Turns(actors);
  await Promise.all(
    Array.from({ length: actors }, (_, actor) => startActor({ actor, scenario, turns: turns.memory, ring })),
  );
  let count = 0, outcome: number = Outcome.DONE;
  for (let prefix: number[] | undefined = []; prefix !== undefined; count++) {
    const words = new Int32Array(ring).fill(0);
    initializeRing(words, geometry);
    outcome = turns.run(prefix);
    if (outcome !== Outcome.DONE) break;
    prefix = nextPrefix(turns.decisions(), preemptions);
  }
  const history = turns.decisions().map(({ chosen }) => chosen).join(" ");
  const states = turns.states();
  turns.stop();
  await workersEnded();
  assertEquals(outcome, Outcome.DONE, `after turns of ${history}, with actors in states ${states}`);
  return count;
}

/** No limit: all orders that there are. */
const ALL = Infinity;

/** What is tried, with how many preemptions, and how many orders there are at least. */
const SCENARIOS: readonly [name: string, Scenario, preemptions: number, atLeast: number][] = [
  ["a store", { programs: [["store"]], slots: 4 }, ALL, 137],
  ["a load", { programs: [["load"]], slots: 4 }, ALL, 1320],
  ["a store and a load", { programs: [["store", "load"]], slots: 4 }, runs(4, 6), 1000],
  ["stores into a full lane", { programs: [["store", "store", "store", "load"]], slots: 2 }, runs(3, 4), 1000],
  ["stores of two vCPUs", { programs: [["store"], ["store"]], slots: 4 }, runs(2, 4), 500],
  ["a store of one vCPU and a load of another", { programs: [["store"], ["load"]], slots: 4 }, runs(2, 3), 500],
  ["stores and loads of two vCPUs", { programs: [["store", "load"], ["load"]], slots: 2 }, runs(1, 3), 100],
];

for (const [name, scenario, preemptions, atLeast] of SCENARIOS) {
  Deno.test(`no wake-up is lost in any order of steps: ${name}`, async () => {
    const count = await explore(scenario, preemptions);

    assert(count >= atLeast, `${count} orders`);
  });
}
