/**
 * The VMM's side of one lane: a vCPU thread's accesses to a device in another process.
 *
 * Stores are posted: the vCPU goes on at once. Loads wait. PCI wants of both that those of one vCPU arrive in order (PCI 3.0, appendix E,
 * and 3.2.5: a read pushes the posted writes before it ahead); a processor with several cores also carries out accesses to devices in the
 * order in which its programs make them depend on each other, by a lock for example. So each request takes a number out of one
 * sequence for all lanes, and the consumer keeps to it.
 *
 * The peer can write to the shared memory at any time. Of what it writes, a producer believes only a tail that lies between the last one
 * and what has been published, and the bits of a value that the load asked for.
 *
 * @module
 */
import { LinkError } from "../link_error.ts";
import {
  type AccessSize,
  checkGeometry,
  doorbellTime,
  Header,
  Lane,
  laneAt,
  narrowed,
  RequestKind,
  type RingGeometry,
  type RingMemory,
  Slot,
} from "./layout.ts";
import type { ProducerHost } from "./producer_host.ts";
import { RequestAge } from "./request_age.ts";
import type { ShadowReader } from "./shadow.ts";
import type { StepHook } from "./steps.ts";
import { Spinner, type SpinOptions } from "./waiting.ts";

/** What a {@linkcode RingProducer} needs. */
export interface RingProducerOptions {
  readonly memory: RingMemory;
  readonly geometry: RingGeometry;
  /** Which lane; no other producer has it. */
  readonly lane: number;
  readonly host: ProducerHost;
  /** How long the peer may take for one access, in nanoseconds. */
  readonly deadline: number;
  /** What serves loads that need not go to the device. */
  readonly shadow?: ShadowReader;
  readonly spin?: SpinOptions;
  /** For tests: what happens at the steps of the protocol, and the number of the lane's first request. */
  readonly hook?: StepHook;
  readonly first?: number;
}

/** For so many looks the clock is not read: where both sides run, an answer comes within that time. */
const EAGER_LOOKS = 256;

/**
 * How long an answer is looked for, in nanoseconds: for longer than it takes to wake the consumer. Otherwise the producer would be asleep by
 * then, the consumer again when that is awake, and so on, each of them always waiting for the other to wake up.
 */
const LONGEST_SPIN = 200_000;

/** How long a sleep lasts before it is looked whether the peer is still there, in nanoseconds. */
const NAP = 10e6;

/** A nap that seems to have lasted longer was none. */
const LONGEST_NAP = 10 * NAP;

/** Of so many stores the age of one is watched: reading the clock and the tail takes as long as a store itself. */
const WATCH_INTERVAL = 8;

/**
 * One lane, for one thread. Requests are numbered by signed 32-bit words that wrap around; all comparisons are of differences.
 *
 * Every method that makes a request throws a {@linkcode LinkError} when the peer is gone, is too slow or breaks the rules, and from then on
 * throws it again.
 */
export class RingProducer {
  readonly #words: Int32Array;
  readonly #slots: number;
  readonly #lane: number;
  readonly #tailAt: number;
  /** Where the tails of all lanes are. */
  readonly #tails: readonly number[];
  readonly #tailAddress: bigint;
  readonly #host: ProducerHost;
  readonly #deadline: number;
  readonly #hook: StepHook | undefined;
  readonly #spinner: Spinner;
  readonly #shadow: ShadowReader | undefined;
  readonly #age: RequestAge;
  /** How many requests have been published, and how many the peer was last seen to have carried out. */
  #head = 0;
  #tail = 0;
  /** The tail that is waited for. */
  #target = 0;
  #failure: LinkError | undefined;
  // Made once, not for every wait.
  readonly #reached = () => ((this.#readTail() - this.#target) | 0) >= 0;

  /** A lane that is not as `initializeRing` leaves it, since the peer has written to it, fails when it is used. */
  constructor({ memory, geometry, lane, host, deadline, shadow, spin, hook, first = 0 }: RingProducerOptions) {
    checkGeometry(geometry);
    if (!Number.isInteger(lane) || lane < 0 || lane >= geometry.lanes) throw new RangeError(`There is no lane ${lane}`);
    this.#words = memory.words;
    this.#slots = geometry.slots;
    this.#lane = laneAt(lane, geometry);
    this.#tailAt = this.#lane + Lane.TAIL;
    this.#tails = Array.from({ length: geometry.lanes }, (_, other) => laneAt(other, geometry) + Lane.TAIL);
    this.#tailAddress = memory.address + BigInt(4 * this.#tailAt);
    this.#host = host;
    this.#deadline = deadline;
    this.#spinner = new Spinner({ longest: LONGEST_SPIN, clock: host.now, ...spin });
    this.#shadow = shadow;
    this.#age = new RequestAge(deadline);
    this.#hook = hook;
    this.#head = this.#tail = first | 0;
    if (Atomics.load(memory.words, this.#tailAt) !== this.#tail) {
      this.#fail(`ring: lane ${lane} is not new`, "protocol");
    }
  }

  /**
   * Reads a register, after everything that was asked for before: from the shadow where that is known to hold what the device would say.
   *
   * @returns the value, zero-extended.
   */
  load(space: number, offset: number, size: AccessSize): number {
    if (this.#shadow !== undefined) {
      const at = this.#shadow.find(space, offset, size);
      if (at >= 0 && this.settled) return this.#shadow.read(at, size);
    }
    this.#publish(accessWord(RequestKind.LOAD, space, size), offset, 0);
    this.#complete();
    return narrowed(Atomics.load(this.#words, this.#lane + Lane.VALUE), size);
  }

  /** Posts a write of a register. It waits only for room in the lane. */
  store(space: number, offset: number, size: AccessSize, value: number): void {
    this.#publish(accessWord(RequestKind.STORE, space, size), offset, value);
    if ((this.#head & (WATCH_INTERVAL - 1)) === 0) this.#checkAge();
  }

  /** Writes a register, and waits until that is done. */
  storeAndWait(space: number, offset: number, size: AccessSize, value: number): void {
    this.#publish(accessWord(RequestKind.STORE, space, size), offset, value);
    this.#complete();
  }

  /** Resets the device, and waits until that is done. */
  reset(): void {
    this.#publish(RequestKind.RESET, 0, 0);
    this.#complete();
  }

  /** Waits until everything that was asked for before is done. */
  fence(): void {
    this.#publish(RequestKind.FENCE, 0, 0);
    this.#complete();
  }

  /**
   * Whether nothing is outstanding in any lane: all that any vCPU has asked for before is done, and what a shadow holds now is what a load
   * would return.
   *
   * @throws {LinkError} when the link has failed.
   */
  get settled(): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    const words = this.#words;
    // Read before the tails: a tail counts no request that is not numbered yet.
    const numbered = Atomics.load(words, Header.ORDER);
    let done = 0;
    for (const tail of this.#tails) done = (done + Atomics.load(words, tail)) | 0;
    return done === numbered;
  }

  #publish(access: number, offset: number, value: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    const slots = this.#slots;
    const head = this.#head;
    if (((head - this.#tail) | 0) >= slots) this.#makeRoom();
    const words = this.#words;
    const slot = this.#lane + Lane.SLOTS + Slot.WORDS * (head & (slots - 1));
    // Numbered when nothing can fail any more: a number that no request has would be the last that the consumer waits for. And before
    // the slot is filled: a locked operation in between would let the consumer, which looks at it all the time, take the cache line away.
    const order = Atomics.add(words, Header.ORDER, 1);
    // These are seen in order, and before the sequence: x86-64 keeps stores in order, and V8 moves none across an atomic one.
    words[slot + Slot.ACCESS] = access;
    words[slot + Slot.OFFSET] = offset;
    words[slot + Slot.VALUE] = value;
    words[slot + Slot.ORDER] = order;
    this.#hook?.("filled");
    this.#head = (head + 1) | 0;
    Atomics.store(words, slot + Slot.SEQUENCE, head);
    words[this.#lane + Lane.HEAD] = this.#head;
    this.#hook?.("published");
    // After the store above: see the proof at RingConsumer.announceSleep.
    if (Atomics.load(words, Header.ASLEEP) !== 0) this.#wakeConsumer();
  }

  #wakeConsumer(): void {
    this.#hook?.("saw the consumer asleep");
    this.#words[Header.RUNG_AT] = doorbellTime(this.#host.now()); // seen by whoever sees the exchange
    if (Atomics.exchange(this.#words, Header.ASLEEP, 0) === 0) return; // another lane's producer does it
    this.#hook?.("claimed the consumer");
    this.#host.ring();
  }

  /** Waits until everything published is done. */
  #complete(): void {
    const words = this.#words;
    const head = this.#head;
    for (let look = 0; look < EAGER_LOOKS; look++) {
      if (Atomics.load(words, this.#tailAt) === head) {
        this.#tail = head;
        this.#age.forget();
        return;
      }
    }
    this.#await(head, head, "an access has had no answer");
    this.#age.forget();
  }

  #makeRoom(): void {
    this.#readTail();
    const slots = this.#slots;
    const first = (this.#head - slots + 1) | 0;
    if (((this.#tail - first) | 0) >= 0) return;
    // A sleeper is woken once half of the lane is free: a wake-up for each slot would cost more than the requests.
    this.#await(first, (this.#head - (slots >>> 1)) | 0, "its queue of posted writes has been full");
  }

  /**
   * Waits until the tail has reached `target`.
   *
   * @param wake From which tail on a sleeper is woken.
   */
  #await(target: number, wake: number, what: string): void {
    this.#target = target;
    if (this.#reached()) return;
    let last = this.#host.now();
    if (this.#spinner.spin(this.#reached, last + this.#deadline)) return;
    // Time in which this thread was not there either, since all was frozen, is not the peer's.
    for (let waited = 0; !this.#sleep(wake);) {
      if (this.#reached()) break;
      const now = this.#host.now();
      waited += Math.min(now - last, LONGEST_NAP);
      last = now;
      if (waited >= this.#deadline) throw this.#timeOut(what);
      // What it did before its end counts, and is seen once the end is.
      if (!this.#host.isPeerThere() && !this.#reached()) throw this.#fail("the peer closed the link", "closed");
    }
    Atomics.store(this.#words, this.#lane + Lane.WAITING, 0);
    this.#spinner.woken();
  }

  /**
   * Sleeps for a while, unless the tail has reached what is waited for.
   *
   * No wake-up is lost. The producer stores WAITING, then (the kernel, in its name) loads the tail; the consumer stores the tail, then loads
   * WAITING. All four are sequentially consistent, so one of the loads comes after the other side's store: either the tail is seen
   * not to be `tail` any more, and FUTEX_WAIT returns; or the consumer sees WAITING, and calls FUTEX_WAKE. FUTEX_WAIT compares and
   * falls asleep under the lock that FUTEX_WAKE takes (futex(2)), so the wake-up finds the sleeper. A consumer that sees WAITING and a
   * tail before WAKE_AT wakes nobody, but will look again at the tail that is WAKE_AT.
   *
   * @returns whether the target is reached.
   */
  #sleep(wake: number): boolean {
    this.#hook?.("producer has to wait");
    const words = this.#words;
    words[this.#lane + Lane.WAKE_AT] = wake;
    Atomics.store(words, this.#lane + Lane.WAITING, 1);
    this.#hook?.("producer announced");
    if (this.#reached()) return true;
    this.#host.sleep(this.#tailAddress, this.#tail, Math.min(NAP, this.#deadline));
    this.#hook?.("producer woken");
    return false;
  }

  /** Looks whether posted stores grow old. When no access follows them, only `StallWatch` can tell. */
  #checkAge(): void {
    const tail = this.#readTail();
    if (tail === this.#head) return this.#age.forget();
    if (this.#age.isOverdue(this.#head, tail, this.#host.now())) {
      throw this.#timeOut("a posted write has not been carried out");
    }
  }

  /** The one place where the peer's tail comes in. */
  #readTail(): number {
    const tail = Atomics.load(this.#words, this.#tailAt);
    const known = this.#tail;
    const outstanding = (this.#head - known) | 0;
    const done = (tail - known) | 0;
    if (done < 0 || done > outstanding) {
      throw this.#fail(`ring: the peer says that ${done} of ${outstanding} requests are done`, "protocol");
    }
    return this.#tail = tail;
  }

  #timeOut(what: string): LinkError {
    return this.#fail(`${what} for ${Math.round(this.#deadline / 1e6)} ms`, "timeout");
  }

  #fail(message: string, failure: "closed" | "timeout" | "protocol"): LinkError {
    return this.#failure = new LinkError(message, failure);
  }
}

/** A slot's access word: see layout.ts. */
function accessWord(kind: number, space: number, size: AccessSize): number {
  return kind | (size << 8) | (space << 16);
}
