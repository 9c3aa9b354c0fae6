/**
 * How the threads of a machine stop together: to stand still for a while, to reset it, and to end it.
 *
 * The boot CPU's thread leads. Whoever wants something says so in shared memory and kicks the vCPUs out of the guest; each then comes
 * to rest here, and the leader acts when all have. The leader alone changes the run state.
 *
 * @module
 */
import { kickThread } from "../ffi/thread.ts";
import type { KvmVcpu } from "../ffi/kvm.ts";
import { type Cause, CAUSES, RUN_STATES, type RunStateName, type StoppedState } from "./run_state.ts";

/** What is needed of a vCPU to stop it. */
export type StoppableVcpu = Pick<KvmVcpu, "requestExit">;

/** Words of the shared control memory. */
const Word = {
  /** Not zero while vCPUs are wanted here. */
  ATTENTION: 0,
  /** A {@linkcode Request} in bits 7 to 0, its cause (a number of `CAUSES`) in bits 15 to 8, and the exit status that goes with it above. */
  REQUEST: 1,
  /** How many vCPUs other than the leader are at rest. */
  RESTING: 2,
  /** Counts restarts: those at rest wait for it to change. */
  EPOCH: 3,
  /** Not zero once a thread has claimed the text of the failure. */
  FAILURE_CLAIMED: 4,
  /** The state (a number of `RUN_STATES`) that the machine is to be in: 0, or one in which it stands still. */
  WANTED: 5,
  /** The state that it is in. */
  STATE: 6,
  /** Counts calls to the leader, which waits for one while the machine stands still. */
  CALLS: 7,
  /** How many threads other than the leader's do their work. */
  STARTED: 8,
  /** Thread ids by vCPU from here on; 0 before a thread has started. */
  THREADS: 9,
} as const;

const Request = { NONE: 0, RESET: 1, EXIT: 2, FAILURE: 3 } as const;
const KIND = 0xff;
const CAUSE_SHIFT = 8;
const STATUS_SHIFT = 16;

/** What the leader is to do when all vCPUs are at rest. */
export type Verdict =
  | { readonly kind: "reset"; readonly cause: Cause }
  | { readonly kind: "exit"; readonly status: number; readonly cause: Cause }
  /** A thread could not go on; `message` says why. */
  | { readonly kind: "failure"; readonly message: string }
  /** The machine is to stand still; until something else is wanted, the leader asks again. */
  | { readonly kind: "stop"; readonly state: StoppedState }
  /** The machine is to run: the leader calls {@linkcode RunControl.restart}. */
  | { readonly kind: "run" };

/** Bytes kept for the text of a failure. */
const FAILURE_SIZE = 4096;

/** Bytes of shared memory for a machine with `cpus` vCPUs. */
export function runControlSize(cpus: number): number {
  return 4 * (Word.THREADS + cpus) + FAILURE_SIZE;
}

/** The control memory as one thread sees it. */
export class RunControl {
  readonly #words: Int32Array;
  readonly #failure: Uint8Array;
  readonly #vcpus: readonly StoppableVcpu[];

  /**
   * @param memory {@linkcode runControlSize} bytes, zero at first.
   * @param vcpus All vCPUs of the machine, by index, mapped on this thread.
   */
  constructor(memory: SharedArrayBuffer, vcpus: readonly StoppableVcpu[]) {
    const words = Word.THREADS + vcpus.length;
    this.#words = new Int32Array(memory, 0, words);
    this.#failure = new Uint8Array(memory, 4 * words, FAILURE_SIZE);
    this.#vcpus = vcpus;
  }

  /** The word that is not zero while vCPUs are to come to rest. */
  get attention(): Int32Array {
    return this.#words.subarray(Word.ATTENTION, Word.ATTENTION + 1);
  }

  /** The state that the machine is in. */
  get state(): RunStateName {
    return RUN_STATES[Atomics.load(this.#words, Word.STATE)];
  }

  /** Whether the machine is in the state that it was last asked to be in. */
  get settled(): boolean {
    return Atomics.load(this.#words, Word.STATE) === Atomics.load(this.#words, Word.WANTED);
  }

  /** The calling thread runs this vCPU from now on. */
  register(vcpu: number, threadId: number): void {
    Atomics.store(this.#words, Word.THREADS + vcpu, threadId);
  }

  /** The kernel's ids of the vCPUs' threads; 0 before one has started. */
  threadIds(): number[] {
    return this.#vcpus.map((_, i) => Atomics.load(this.#words, Word.THREADS + i));
  }

  /**
   * The calling thread, which is not the leader's, does its work from now on. If it cannot go on, it {@linkcode fail}s by itself.
   *
   * @returns whether it is the last one.
   */
  reportStarted(): boolean {
    return Atomics.add(this.#words, Word.STARTED, 1) + 1 === this.#vcpus.length;
  }

  /** Whether the control thread and those of all vCPUs do their work. */
  get allStarted(): boolean {
    return Atomics.load(this.#words, Word.STARTED) === this.#vcpus.length;
  }

  /** Asks for a reset of the machine. An exit that has been asked for wins. A machine that stands still does so afterwards, too. */
  requestReset(cause: Cause = "guest-reset"): void {
    const request = Request.RESET | (CAUSES.indexOf(cause) << CAUSE_SHIFT);
    Atomics.compareExchange(this.#words, Word.REQUEST, Request.NONE, request);
    this.#kickAll();
  }

  /** Asks for the end of the machine, with an exit status. The first one counts. */
  requestExit(status: number, cause: Cause = "guest-shutdown"): void {
    this.#claimEnd(Request.EXIT | (CAUSES.indexOf(cause) << CAUSE_SHIFT) | (status << STATUS_SHIFT));
    this.#kickAll();
  }

  /** Asks the machine to stand still. Of several states the first one counts, until it is {@linkcode requestRun told to run}. */
  requestStop(state: StoppedState): void {
    Atomics.compareExchange(this.#words, Word.WANTED, 0, RUN_STATES.indexOf(state));
    this.#kickAll();
  }

  /** Asks the machine to go on. */
  requestRun(): void {
    Atomics.store(this.#words, Word.WANTED, 0);
    this.#call();
  }

  /**
   * A thread cannot go on, and the machine ends. The first failure counts, but not after an exit was asked for. A vCPU's thread comes to
   * {@linkcode rest} afterwards, like all others.
   */
  fail(message: string): void {
    // The text comes first: a leader that waits here already reads it as soon as it sees the request.
    if (Atomics.exchange(this.#words, Word.FAILURE_CLAIMED, 1) !== 0) return;
    this.#failure.set(new TextEncoder().encode(message).subarray(0, FAILURE_SIZE - 1));
    this.#claimEnd(Request.FAILURE);
    this.#kickAll();
  }

  /** A vCPU's thread has ended, and counts as one at rest from now on. That is only for a machine that ends. */
  buryFollower(): void {
    Atomics.add(this.#words, Word.RESTING, 1);
    Atomics.notify(this.#words, Word.RESTING);
  }

  /** A follower's rest: returns when the leader starts the machine again. */
  rest(): void {
    const words = this.#words;
    const epoch = Atomics.load(words, Word.EPOCH);
    Atomics.add(words, Word.RESTING, 1);
    Atomics.notify(words, Word.RESTING);
    while (Atomics.load(words, Word.EPOCH) === epoch) Atomics.wait(words, Word.EPOCH, epoch);
  }

  /**
   * The leader's rest: returns when all followers are at rest, and there is something to do. While the machine stands still, that is
   * when somebody asks for it.
   *
   * @param patience How long to wait for either, in milliseconds.
   * @returns `undefined` after that.
   */
  lead(): Verdict;
  lead(patience: number | undefined): Verdict | undefined;
  lead(patience?: number): Verdict | undefined {
    const words = this.#words;
    const followers = this.#vcpus.length - 1;
    for (;;) {
      const resting = Atomics.load(words, Word.RESTING);
      if (resting >= followers) break;
      if (Atomics.wait(words, Word.RESTING, resting, patience) === "timed-out") return undefined;
    }
    for (;;) {
      const calls = Atomics.load(words, Word.CALLS);
      const verdict = this.#verdict();
      if (verdict !== undefined) return verdict;
      if (Atomics.wait(words, Word.CALLS, calls, patience) === "timed-out") return undefined;
    }
  }

  /** The leader has brought the machine into a state. */
  enter(state: RunStateName): void {
    Atomics.store(this.#words, Word.STATE, RUN_STATES.indexOf(state));
  }

  /**
   * The leader has reset the machine, and is about to look for the next verdict. A machine that stands still is as before its first start
   * now, whatever stopped it.
   */
  endReset(): void {
    const request = Atomics.load(this.#words, Word.REQUEST);
    if ((request & KIND) === Request.RESET) Atomics.compareExchange(this.#words, Word.REQUEST, request, Request.NONE);
    const wanted = Atomics.load(this.#words, Word.WANTED);
    const prelaunch = RUN_STATES.indexOf("prelaunch");
    if (wanted !== 0) Atomics.compareExchange(this.#words, Word.WANTED, wanted, prelaunch);
  }

  /** The leader has nothing more to do at rest: everybody goes on. */
  restart(): void {
    const words = this.#words;
    for (const vcpu of this.#vcpus) vcpu.requestExit(false);
    Atomics.store(words, Word.RESTING, 0);
    Atomics.store(words, Word.ATTENTION, 0);
    // What was asked for meanwhile stands. Whoever asks later than this looks calls for attention after the line above.
    const wanted = Atomics.load(words, Word.REQUEST) !== Request.NONE || Atomics.load(words, Word.WANTED) !== 0;
    if (wanted) Atomics.store(words, Word.ATTENTION, 1);
    Atomics.add(words, Word.EPOCH, 1);
    Atomics.notify(words, Word.EPOCH);
  }

  /** What is to be done now; `undefined` while the machine stands still as it should. */
  #verdict(): Verdict | undefined {
    const request = Atomics.load(this.#words, Word.REQUEST);
    const cause = CAUSES[(request >> CAUSE_SHIFT) & KIND] as Cause;
    switch (request & KIND) {
      case Request.EXIT:
        return { kind: "exit", status: request >> STATUS_SHIFT, cause };
      case Request.FAILURE:
        return { kind: "failure", message: this.#failureText() };
      case Request.RESET:
        return { kind: "reset", cause };
    }
    const wanted = RUN_STATES[Atomics.load(this.#words, Word.WANTED)] as StoppedState | "running";
    if (wanted === "running") return { kind: "run" };
    return wanted === this.state ? undefined : { kind: "stop", state: wanted };
  }

  /** Puts `request` in place of none or a reset; an end that was asked for before stays. */
  #claimEnd(request: number): void {
    for (;;) {
      const current = Atomics.load(this.#words, Word.REQUEST);
      if ((current & KIND) !== Request.NONE && (current & KIND) !== Request.RESET) return;
      if (Atomics.compareExchange(this.#words, Word.REQUEST, current, request) === current) return;
    }
  }

  #failureText(): string {
    const text = this.#failure.slice();
    return new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
  }

  /** Has a leader at rest look again. */
  #call(): void {
    Atomics.add(this.#words, Word.CALLS, 1);
    Atomics.notify(this.#words, Word.CALLS);
  }

  /**
   * Brings every vCPU out of the guest. The flag in `kvm_run` catches one that is about to enter, the signal one that is inside; only both
   * together lose none (api.rst, "immediate_exit").
   */
  #kickAll(): void {
    Atomics.store(this.#words, Word.ATTENTION, 1);
    this.#vcpus.forEach((vcpu, i) => {
      vcpu.requestExit(true);
      const thread = Atomics.load(this.#words, Word.THREADS + i);
      if (thread !== 0) kickThread(thread);
    });
    this.#call();
  }
}
