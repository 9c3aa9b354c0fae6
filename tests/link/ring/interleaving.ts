/**
 * Threads that take turns: at each step of the ring's protocol it is decided who goes on, so that orders of events can be tried one after the
 * other, all that there are. The threads run the ring's own code; only the kernel is played, without timeouts, so that a wake-up that
 * is lost leaves somebody asleep for ever.
 *
 * Whoever holds the turn decides, from what is in shared memory; others wait.
 *
 * @module
 */

/** Actor 0 is the consumer; each other one is the producer of a lane. */
export const CONSUMER = 0;

/** What each producer does, in order: a store or a load. */
export type Program = readonly ("store" | "load")[];

/** What is tried. */
export interface Scenario {
  readonly programs: readonly Program[];
  readonly slots: number;
}

/** How a run ended. */
export const Outcome = { RUNNING: 0, DONE: 1, DEADLOCK: 2, MISTAKE: 3 } as const;

/** What an actor may be waiting for. */
export const State = { RUNNABLE: 0, DONE: 1, ON_FUTEX: 2, ON_DOORBELL: 3 } as const;

const Word = { TURN: 0, DEPTH: 1, PREFIX: 2, OUTCOME: 3, RINGS: 4, RUN: 5, OVER: 6, STATES: 8, CHOSEN: 16 } as const;

/** The most decisions in a run. */
const MOST = 1024;

/** Nobody's turn: the run has ended, or not begun. */
const NOBODY = -1;

/** Looks at whose turn it is, before a thread goes to sleep. */
const LOOKS = 2000;

/** Who can go on, whoever was last first: to go on with another is a preemption. */
function order(enabled: number, last: number): number[] {
  const actors = Array.from({ length: 31 }, (_, actor) => actor).filter((actor) => (enabled >>> actor & 1) === 1);
  return actors.includes(last) ? [last, ...actors.filter((actor) => actor !== last)] : actors;
}

/** One decision: who was chosen, and who could have been (a bit for each). */
export interface Decision {
  readonly chosen: number;
  readonly enabled: number;
}

/** The words that threads share about whose turn it is. */
export class Turns {
  readonly memory: SharedArrayBuffer;
  readonly actors: number;
  readonly #words: Int32Array;

  constructor(actors: number, memory = new SharedArrayBuffer(4 * (Word.CHOSEN + 2 * MOST))) {
    this.memory = memory;
    this.actors = actors;
    this.#words = new Int32Array(memory);
  }

  /** Whether no further run is to come. */
  get over(): boolean {
    return Atomics.load(this.#words, Word.OVER) !== 0;
  }

  /** Starts a run that begins with these decisions, and waits for its end. */
  run(prefix: readonly number[]): number {
    const words = this.#words;
    words.fill(0, Word.DEPTH, Word.RUN);
    words.fill(State.RUNNABLE, Word.STATES, Word.STATES + this.actors);
    words.set(prefix, Word.CHOSEN);
    words[Word.PREFIX] = prefix.length;
    words[Word.TURN] = NOBODY;
    Atomics.add(words, Word.RUN, 1);
    Atomics.notify(words, Word.RUN);
    this.#decide(-1);
    this.#await(NOBODY);
    return words[Word.OUTCOME];
  }

  /** Waits, as an actor, for the run after one. @returns its number. */
  awaitRun(last: number): number {
    Atomics.wait(this.#words, Word.RUN, last);
    return Atomics.load(this.#words, Word.RUN);
  }

  /** Lets any actor that can go on, until it is this one's turn. */
  step(actor: number, state: number = State.RUNNABLE): void {
    this.#words[Word.STATES + actor] = state;
    if (!this.#decide(actor)) this.#await(actor);
    this.#words[Word.STATES + actor] = State.RUNNABLE;
  }

  /** Waits for the first turn. */
  begin(actor: number): void {
    this.#await(actor);
  }

  /** The actor is done. */
  end(actor: number): void {
    this.#words[Word.STATES + actor] = State.DONE;
    this.#decide(actor);
  }

  /** The actor has found a mistake. */
  fail(): void {
    this.#finish(Outcome.MISTAKE);
  }

  /** Rings the doorbell. */
  ring(): void {
    this.#words[Word.RINGS]++;
  }

  /** Whether it has been rung since it was answered last. */
  answer(): boolean {
    const rung = this.#words[Word.RINGS] > 0;
    this.#words[Word.RINGS] = 0;
    return rung;
  }

  /** Wakes an actor, if it sleeps on its futex. */
  wake(actor: number): void {
    if (this.#words[Word.STATES + actor] === State.ON_FUTEX) this.#words[Word.STATES + actor] = State.RUNNABLE;
  }

  /** Has the actors' threads end, wherever they are. */
  stop(): void {
    Atomics.store(this.#words, Word.OVER, 1);
    Atomics.add(this.#words, Word.RUN, 1);
    Atomics.notify(this.#words, Word.RUN);
  }

  /** All decisions of the last run. */
  decisions(): Decision[] {
    const words = this.#words;
    return Array.from({ length: words[Word.DEPTH] }, (_, i) => ({
      chosen: words[Word.CHOSEN + i],
      enabled: words[Word.CHOSEN + MOST + i],
    }));
  }

  /** What each actor waits for. */
  states(): number[] {
    return [...this.#words.subarray(Word.STATES, Word.STATES + this.actors)];
  }

  /** @returns whether it is the turn of who asks. */
  #decide(asking: number): boolean {
    const words = this.#words;
    const states = this.states();
    let enabled = 0;
    states.forEach((state, actor) => {
      const rung = state === State.ON_DOORBELL && words[Word.RINGS] > 0;
      if (state === State.RUNNABLE || rung) enabled |= 1 << actor;
    });
    if (enabled === 0) {
      this.#finish(states.every((state) => state === State.DONE) ? Outcome.DONE : Outcome.DEADLOCK);
      return false;
    }
    const depth = words[Word.DEPTH]++;
    if (depth >= MOST) throw new RangeError("a run has too many steps");
    const last = depth === 0 ? NOBODY : words[Word.CHOSEN + depth - 1];
    const chosen = depth < words[Word.PREFIX] ? words[Word.CHOSEN + depth] : order(enabled, last)[0];
    words[Word.CHOSEN + depth] = chosen;
    words[Word.CHOSEN + MOST + depth] = enabled;
    if (chosen === asking) return true;
    this.#pass(chosen);
    return false;
  }

  #finish(outcome: number): void {
    this.#words[Word.OUTCOME] = outcome;
    this.#pass(NOBODY);
  }

  #pass(to: number): void {
    Atomics.store(this.#words, Word.TURN, to);
    Atomics.notify(this.#words, Word.TURN);
  }

  #await(actor: number): void {
    const words = this.#words;
    // It is nobody's turn before the first decision, too: the run has ended only with an outcome.
    const mine = (turn: number) => turn === actor && (actor !== NOBODY || Atomics.load(words, Word.OUTCOME) !== 0);
    for (let look = 0; look < LOOKS; look++) {
      if (mine(Atomics.load(words, Word.TURN))) return;
      Atomics.pause();
    }
    for (;;) {
      const turn = Atomics.load(words, Word.TURN);
      if (mine(turn)) return;
      if (this.over) throw new Error("the run was given up");
      Atomics.wait(words, Word.TURN, turn, 100);
    }
  }
}

/**
 * The decisions that a search tries next, after a run: the last that had an alternative is taken the other way.
 *
 * @param preemptions How often an actor that could go on may be made to wait.
 * @returns `undefined` when all have been tried.
 */
export function nextPrefix(decisions: readonly Decision[], preemptions: number): number[] | undefined {
  const last = (i: number) => i === 0 ? NOBODY : decisions[i - 1].chosen;
  const preempts = (i: number, actor: number) =>
    i > 0 && actor !== last(i) && (decisions[i].enabled >>> last(i) & 1) === 1 ? 1 : 0;
  const before = [0];
  decisions.forEach(({ chosen }, i) => before.push(before[i] + preempts(i, chosen)));
  for (let i = decisions.length - 1; i >= 0; i--) {
    const actors = order(decisions[i].enabled, last(i));
    const next = actors[actors.indexOf(decisions[i].chosen) + 1];
    if (next === undefined || before[i] + preempts(i, next) > preemptions) continue;
    return [...decisions.slice(0, i).map(({ chosen }) => chosen), next];
  }
  return undefined;
}
