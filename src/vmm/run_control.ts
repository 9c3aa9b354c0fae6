/**
 * How the threads of a machine stop together: to reset it, and to end it.
 *
 * The boot CPU's thread leads. Whoever wants a stop says so in shared memory and kicks the vCPUs out of the guest; each then comes
 * to rest here, and the leader acts when all have.
 *
 * @module
 */
import { kickThread } from "../ffi/thread.ts";
import type { KvmVcpu } from "../ffi/kvm.ts";

/** What is needed of a vCPU to stop it. */
export type StoppableVcpu = Pick<KvmVcpu, "requestExit">;

/** Words of the shared control memory. */
const Word = {
  /** Not zero while vCPUs are wanted here. */
  ATTENTION: 0,
  /** A {@linkcode Request} in bits 7 to 0, and the exit status that goes with it above. */
  REQUEST: 1,
  /** How many vCPUs other than the leader are at rest. */
  RESTING: 2,
  /** Counts restarts: those at rest wait for it to change. */
  EPOCH: 3,
  /** Not zero once a thread has claimed the text of the failure. */
  FAILURE_CLAIMED: 4,
  /** Thread ids by vCPU from here on; 0 before a thread has started. */
  THREADS: 5,
} as const;

const Request = { NONE: 0, RESET: 1, EXIT: 2, FAILURE: 3 } as const;
const KIND = 0xff;
const STATUS_SHIFT = 8;

/** What the leader is to do when all vCPUs are at rest. */
export type Verdict =
  | { readonly kind: "reset" }
  | { readonly kind: "exit"; readonly status: number }
  /** A thread could not go on; `message` says why. */
  | { readonly kind: "failure"; readonly message: string };

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

  /** The calling thread runs this vCPU from now on. */
  register(vcpu: number, threadId: number): void {
    Atomics.store(this.#words, Word.THREADS + vcpu, threadId);
  }

  /** Asks for a reset of the machine. An exit that has been asked for wins. */
  requestReset(): void {
    Atomics.compareExchange(this.#words, Word.REQUEST, Request.NONE, Request.RESET);
    this.#kickAll();
  }

  /** Asks for the end of the machine, with an exit status. The first one counts. */
  requestExit(status: number): void {
    this.#claimEnd(Request.EXIT | (status << STATUS_SHIFT));
    this.#kickAll();
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

  /** A follower's rest: returns when the leader starts the machine again. */
  rest(): void {
    const words = this.#words;
    const epoch = Atomics.load(words, Word.EPOCH);
    Atomics.add(words, Word.RESTING, 1);
    Atomics.notify(words, Word.RESTING);
    while (Atomics.load(words, Word.EPOCH) === epoch) Atomics.wait(words, Word.EPOCH, epoch);
  }

  /** The leader's rest: returns when all followers are at rest. */
  lead(): Verdict {
    const words = this.#words;
    const followers = this.#vcpus.length - 1;
    for (;;) {
      const resting = Atomics.load(words, Word.RESTING);
      if (resting >= followers) break;
      Atomics.wait(words, Word.RESTING, resting);
    }
    const request = Atomics.load(words, Word.REQUEST);
    switch (request & KIND) {
      case Request.EXIT:
        return { kind: "exit", status: request >> STATUS_SHIFT };
      case Request.FAILURE:
        return { kind: "failure", message: this.#failureText() };
      default:
        return { kind: "reset" };
    }
  }

  /** The leader has reset the machine: everybody goes on. */
  restart(): void {
    const words = this.#words;
    for (const vcpu of this.#vcpus) vcpu.requestExit(false);
    Atomics.store(words, Word.RESTING, 0);
    Atomics.compareExchange(words, Word.REQUEST, Request.RESET, Request.NONE);
    Atomics.store(words, Word.ATTENTION, 0);
    // An end that was asked for meanwhile stands. Whoever asks later than this looks calls for attention after the line above.
    if (Atomics.load(words, Word.REQUEST) !== Request.NONE) Atomics.store(words, Word.ATTENTION, 1);
    Atomics.add(words, Word.EPOCH, 1);
    Atomics.notify(words, Word.EPOCH);
  }

  /** Puts `request` in place of none or a reset; an end that was asked for before stays. */
  #claimEnd(request: number): void {
    for (;;) {
      const current = Atomics.load(this.#words, Word.REQUEST);
      if (current !== Request.NONE && current !== Request.RESET) return;
      if (Atomics.compareExchange(this.#words, Word.REQUEST, current, request) === current) return;
    }
  }

  #failureText(): string {
    const text = this.#failure.slice();
    return new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
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
  }
}
