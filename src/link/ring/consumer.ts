/**
 * The device process's side of a ring: carries out what the lanes ask for, in the order in which the vCPUs asked.
 *
 * The peer can write to the shared memory at any time. A consumer loads each word of a request once, checks it against what was agreed upon
 * and uses what it checked; where it is in the ring it knows from words of its own.
 *
 * @module
 */
import { wakeFutex } from "../../ffi/futex.ts";
import { LinkError } from "../link_error.ts";
import {
  type AccessSize,
  checkGeometry,
  Header,
  Lane,
  laneAt,
  narrowed,
  RequestKind,
  type RingGeometry,
  type RingMemory,
  Slot,
  Space,
} from "./layout.ts";
import type { StepHook } from "./steps.ts";

/** What requests are carried out on. Offsets and sizes lie within the spaces that were agreed upon. */
export interface RingTarget {
  /** Reads a register. @returns the value; its upper bits are ignored. */
  load(space: number, offset: number, size: AccessSize): number;
  /** Writes a register. @param value Unsigned, of `size` bytes. */
  store(space: number, offset: number, size: AccessSize, value: number): void;
  reset(): void;
}

/** What a {@linkcode RingConsumer} needs. */
export interface RingConsumerOptions {
  readonly memory: RingMemory;
  readonly geometry: RingGeometry;
  /** The size in bytes of each {@linkcode Space}, 0 for one that is not there. */
  readonly spaces: readonly number[];
  readonly target: RingTarget;
  /** Wakes who sleeps on the word at an address. @default {wakeFutex} */
  readonly wake?: (address: bigint) => void;
  /** For tests: what happens at the steps of the protocol, and the number of each lane's first request. */
  readonly hook?: StepHook;
  readonly first?: number;
}

/**
 * All lanes of a ring, for one thread.
 *
 * A loop serves it in each turn. Before it waits in the kernel for the doorbell among other things, it calls
 * {@linkcode RingConsumer.announceSleep}, and does not wait when that says so; afterwards {@linkcode RingConsumer.awake}.
 *
 * {@linkcode RingConsumer.serve} throws a {@linkcode LinkError} when the peer breaks the rules, and from then on throws it again.
 */
export class RingConsumer {
  readonly #words: Int32Array;
  readonly #slots: number;
  /** The most requests that can be outstanding in all lanes together. */
  readonly #most: number;
  readonly #spaces: Float64Array;
  readonly #target: RingTarget;
  readonly #wake: (address: bigint) => void;
  readonly #hook: StepHook | undefined;
  /** Where each lane begins, how many of its requests are done, and the address of the word that says so. */
  readonly #lanes: Int32Array;
  readonly #tails: Int32Array;
  readonly #futexes: readonly bigint[];
  /** How many requests are done in all lanes together. */
  #order = 0;
  #failure: LinkError | undefined;

  constructor({ memory, geometry, spaces, target, wake = wakeFutex, hook, first = 0 }: RingConsumerOptions) {
    checkGeometry(geometry);
    this.#words = memory.words;
    this.#slots = geometry.slots;
    this.#most = geometry.lanes * geometry.slots;
    this.#spaces = Float64Array.from({ length: Space.COUNT }, (_, space) => spaces[space] ?? 0);
    this.#target = target;
    this.#wake = wake;
    this.#hook = hook;
    this.#lanes = Int32Array.from({ length: geometry.lanes }, (_, lane) => laneAt(lane, geometry));
    this.#tails = new Int32Array(geometry.lanes).fill(first);
    this.#futexes = Array.from(this.#lanes, (lane) => memory.address + BigInt(4 * (lane + Lane.TAIL)));
    this.#order = Math.imul(first, geometry.lanes);
  }

  /**
   * Carries out requests that are there, in order.
   *
   * @param most After how many it stops, so that others get their turn.
   * @returns how many there were.
   * @throws what the target throws; that request counts as not done.
   */
  serve(most: number): number {
    const lanes = this.#lanes.length;
    let served = 0;
    // The next request of the order is in one lane: after each, all may have it.
    for (let passed = 0, lane = 0; passed < lanes && served < most;) {
      if (this.closed) return served;
      if (this.#serveNext(lane)) {
        served++;
        passed = 0;
      } else {
        passed++;
        if (++lane === lanes) lane = 0;
      }
    }
    return served;
  }

  /** Whether the VMM has given the device up: nothing is carried out any more. */
  get closed(): boolean {
    return Atomics.load(this.#words, Header.CLOSED) !== 0;
  }

  /** Whether {@linkcode serve} would carry something out, or throw. */
  get pending(): boolean {
    if (this.#failure !== undefined) return true;
    if (this.closed) return false;
    try {
      for (let lane = 0; lane < this.#lanes.length; lane++) if (this.#isNext(lane)) return true;
      return false;
    } catch {
      return true;
    }
  }

  /**
   * Has producers ring the doorbell from now on.
   *
   * No wake-up is lost. The consumer stores ASLEEP, then loads the lanes; a producer stores its request's sequence, then loads ASLEEP. All of
   * them are sequentially consistent, so, for each request, one of the loads comes after the other side's store:
   *
   * - The consumer sees the request here, and does not sleep. Or
   * - the producer sees ASLEEP. It takes it back by an exchange, so that of several producers one rings: this one, or another, which
   *   has done so or is about to. The doorbell stays readable until it is answered, whether the consumer is asleep yet or not.
   *
   * A producer that finds ASLEEP taken back by the consumer itself ({@linkcode awake}) need not ring: the consumer looks at the lanes again
   * before it sleeps. A request whose turn in the order has not come is seen by neither, and does not have to be: the one before it is not
   * published yet, and its producer then does as above.
   *
   * @returns whether the consumer may sleep; otherwise there is something to serve already.
   */
  announceSleep(): boolean {
    this.#hook?.("consumer is idle");
    Atomics.store(this.#words, Header.ASLEEP, 1);
    this.#hook?.("consumer announced");
    if (this.pending) {
      this.awake();
      return false;
    }
    this.#hook?.("consumer falls asleep");
    return true;
  }

  /**
   * Takes the announcement back. What it returns means something once for each announcement.
   *
   * @returns when a producer rang the doorbell upon it, as {@linkcode doorbellTime} has it and as far as producers can be believed;
   * `undefined` when none did.
   */
  awake(): number | undefined {
    this.#hook?.("consumer woken");
    const rung = Atomics.exchange(this.#words, Header.ASLEEP, 0) === 0;
    return rung ? Atomics.load(this.#words, Header.RUNG_AT) : undefined;
  }

  /** Whether the next request of a lane is there, and is next in the order of all lanes. */
  #isNext(lane: number): boolean {
    const words = this.#words;
    const tail = this.#tails[lane];
    const slot = this.#slotOf(lane, tail);
    const sequence = Atomics.load(words, slot + Slot.SEQUENCE);
    if (sequence !== tail) {
      if (sequence === ((tail - this.#slots) | 0)) return false;
      throw this.#fail(`a slot of lane ${lane} has sequence ${sequence >>> 0} where ${tail >>> 0} is next`);
    }
    const order = Atomics.load(words, slot + Slot.ORDER);
    if (order === this.#order) return true;
    const ahead = (order - this.#order) | 0;
    if (ahead > 0 && ahead < this.#most) return false;
    throw this.#fail(
      `request ${tail >>> 0} of lane ${lane} has number ${order >>> 0} where ${this.#order >>> 0} is next`,
    );
  }

  #serveNext(lane: number): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#isNext(lane)) return false;
    this.#hook?.("taken");
    const words = this.#words;
    const base = this.#lanes[lane];
    const tail = this.#tails[lane];
    const slot = this.#slotOf(lane, tail);
    words[base + Lane.VALUE] = this.#carryOut(
      Atomics.load(words, slot + Slot.ACCESS),
      Atomics.load(words, slot + Slot.OFFSET) >>> 0,
      Atomics.load(words, slot + Slot.VALUE) >>> 0,
    );
    const done = (tail + 1) | 0;
    this.#tails[lane] = done;
    this.#order = (this.#order + 1) | 0;
    Atomics.store(words, base + Lane.TAIL, done);
    this.#hook?.("completed");
    // After the store above: see the proof at RingProducer.#sleep.
    if (Atomics.load(words, base + Lane.WAITING) !== 0) this.#wakeProducer(lane, done);
    return true;
  }

  #carryOut(access: number, offset: number, value: number): number {
    if (access === RequestKind.FENCE) return 0;
    if (access === RequestKind.RESET) {
      this.#target.reset();
      return 0;
    }
    const kind = access & 0xff;
    const size = (access >>> 8) & 0xff;
    const space = access >>> 16;
    if ((kind !== RequestKind.LOAD && kind !== RequestKind.STORE) || (size !== 1 && size !== 2 && size !== 4)) {
      throw this.#fail(`there is no access of kind ${kind} and ${size} bytes`);
    }
    if (space >= Space.COUNT || offset + size > this.#spaces[space]) {
      throw this.#fail(`an access of ${size} bytes at offset 0x${offset.toString(16)} of space ${space} lies outside`);
    }
    if (kind === RequestKind.LOAD) return this.#target.load(space, offset, size);
    this.#target.store(space, offset, size, narrowed(value, size));
    return 0;
  }

  #wakeProducer(lane: number, done: number): void {
    this.#hook?.("saw the producer asleep");
    const words = this.#words;
    const base = this.#lanes[lane];
    if (((done - Atomics.load(words, base + Lane.WAKE_AT)) | 0) < 0) return;
    if (Atomics.exchange(words, base + Lane.WAITING, 0) === 0) return;
    this.#hook?.("claimed the producer");
    try {
      this.#wake(this.#futexes[lane]);
    } catch (cause) {
      // Somebody sleeps there in a way that no producer does: with a lock, FUTEX_WAKE fails.
      throw this.#failure = new LinkError(`ring: the producer of lane ${lane} cannot be woken`, "protocol", { cause });
    }
  }

  #slotOf(lane: number, request: number): number {
    return this.#lanes[lane] + Lane.SLOTS + Slot.WORDS * (request & (this.#slots - 1));
  }

  #fail(what: string): LinkError {
    return this.#failure = new LinkError(`ring: ${what}`);
  }
}
