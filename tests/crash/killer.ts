/**
 * Kills processes after a while, wherever they and this thread then are.
 *
 * @module
 */

/** Words that this thread and the killer's share. */
const Word = { STATE: 0, MICROSECONDS: 1, COUNT: 2, PIDFDS: 3 } as const;
const State = { STARTING: 0, IDLE: 1, ARMED: 2, QUIT: 3 } as const;

/** Processes that can be killed at once. */
const MOST_VICTIMS = 4;

/** What a worker gets that is to be a killer. */
export type KillerMessage = SharedArrayBuffer;

/** A thread that kills when it is told to. */
export class Killer {
  readonly #words = new Int32Array(new SharedArrayBuffer(4 * (Word.PIDFDS + MOST_VICTIMS)));
  readonly #worker = new Worker(new URL("./killer_worker.ts", import.meta.url), { type: "module" });

  constructor() {
    this.#worker.postMessage(this.#words.buffer satisfies KillerMessage);
    Atomics.wait(this.#words, Word.STATE, State.STARTING);
  }

  /**
   * Has processes killed, one directly after the other. {@linkcode wait} is to be called before their pidfds are closed.
   *
   * @param delay Milliseconds.
   */
  arm(pidfds: readonly number[], delay: number): void {
    if (pidfds.length > MOST_VICTIMS) throw new RangeError(`${pidfds.length} processes are too many`);
    this.#words[Word.COUNT] = pidfds.length;
    this.#words.set(pidfds, Word.PIDFDS);
    this.#words[Word.MICROSECONDS] = Math.round(1000 * delay);
    this.#set(State.ARMED);
  }

  /** Waits until it has killed. */
  wait(): void {
    while (Atomics.load(this.#words, Word.STATE) === State.ARMED) Atomics.wait(this.#words, Word.STATE, State.ARMED);
  }

  close(): void {
    this.wait();
    this.#set(State.QUIT);
    this.#worker.terminate();
  }

  #set(state: number): void {
    Atomics.store(this.#words, Word.STATE, state);
    Atomics.notify(this.#words, Word.STATE);
  }
}

/** The killer's side: serves until it is told to quit. */
export function serveKills(shared: KillerMessage, kill: (pidfd: number) => void): void {
  const words = new Int32Array(shared);
  const never = new Int32Array(new SharedArrayBuffer(4));
  const idle = () => {
    Atomics.store(words, Word.STATE, State.IDLE);
    Atomics.notify(words, Word.STATE);
  };
  idle();
  for (;;) {
    Atomics.wait(words, Word.STATE, State.IDLE);
    if (Atomics.load(words, Word.STATE) === State.QUIT) return;
    Atomics.wait(never, 0, 0, words[Word.MICROSECONDS] / 1000);
    words.subarray(Word.PIDFDS, Word.PIDFDS + words[Word.COUNT]).forEach(kill);
    idle();
  }
}
