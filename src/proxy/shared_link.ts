/**
 * Which link the threads of a VMM reach a device by, and where its ring is: a device process that was lost may be followed by another.
 *
 * Links are numbered from 1 on, and 0 is none. Each thread compares the number with that of the link which it has opened, in each access,
 * and opens the other one when they differ. A ring's memory may be given back once no thread has its link open: a thread says which one it
 * opens before it looks once more whether that is still in use (hazard pointers, M. Michael, 2004).
 *
 * @module
 */
import { defineState } from "../device/state.ts";
import { releaseRing, type RingHandle } from "./ring_setup.ts";

/** Words of the shared memory. */
const Word = {
  /** The link in use. */
  LINK: 0,
  /** How many there have been. */
  LINKS: 1,
  /** The last link that was lost, once everything that follows from that has been done. */
  BURIED: 2,
  /** By lane: the link that its thread has open. */
  OPEN: 4,
} as const;

/** Where the ring of the link in use is. */
const RingPlace = defineState("ring-place", 1, { address: "f64", shadow: "f64", doorbell: "u32" });

/** See the module. One thread's view. */
export class SharedLink {
  readonly #words: Int32Array;
  readonly #place: ReturnType<typeof RingPlace.attach>;
  readonly #lanes: number;
  /** What is known of the first link's ring holds for all, but its place. */
  readonly #model: RingHandle | undefined;
  /** Rings of lost links that may be in use: only the thread that renews has any. */
  #retired: { readonly link: number; readonly ring: RingHandle }[] = [];

  /** Memory for the first link. */
  static allocate(ring: RingHandle | undefined): SharedArrayBuffer {
    const lanes = ring?.geometry.lanes ?? 0;
    const memory = new SharedArrayBuffer(RingPlace.size + 8 * Math.ceil((Word.OPEN + lanes) / 2));
    const link = new SharedLink(memory, ring);
    link.#settle(ring);
    link.#words[Word.LINKS] = link.#words[Word.LINK] = 1;
    return memory;
  }

  /** @param ring The first link's. */
  constructor(memory: SharedArrayBuffer, ring: RingHandle | undefined) {
    this.#place = RingPlace.attach(memory);
    this.#words = new Int32Array(memory, RingPlace.size);
    this.#lanes = ring?.geometry.lanes ?? 0;
    this.#model = ring;
  }

  /** The number of the link in use, 0 for none. */
  get current(): number {
    return Atomics.load(this.#words, Word.LINK);
  }

  /** The number of the link in use or, where there is none, of that which was lost last. */
  get last(): number {
    return Atomics.load(this.#words, Word.LINKS);
  }

  /** Whether there is no link, and nobody has anything to do with the one that was lost any more. */
  get isBuried(): boolean {
    return Atomics.load(this.#words, Word.BURIED) === this.last;
  }

  /** The ring of the link in use. */
  get ring(): RingHandle | undefined {
    if (this.#model === undefined) return undefined;
    const { address, shadow, doorbell } = this.#place;
    return {
      ...this.#model,
      address: BigInt(address),
      doorbell,
      shadow: { ...this.#model.shadow, address: BigInt(shadow) },
    };
  }

  /** A link is lost. @returns whether that is news: of several threads that find out, one sees to what follows from it. */
  lose(link: number): boolean {
    return link !== 0 && Atomics.compareExchange(this.#words, Word.LINK, link, 0) === link;
  }

  /** All that follows from the loss has been done. */
  bury(): void {
    Atomics.store(this.#words, Word.BURIED, this.last);
  }

  /** The thread of this lane opens a link, or 0 for none. @returns whether it is in use; its ring stays for as long then. */
  open(lane: number, link: number): boolean {
    if (lane < this.#lanes) Atomics.store(this.#words, Word.OPEN + lane, link);
    return this.current === link;
  }

  /** Another link takes the place of the one that was lost. Always the same thread does this. */
  renew(ring: RingHandle | undefined): void {
    const lost = this.ring;
    if (lost !== undefined) this.#retired.push({ link: this.last, ring: lost });
    this.#settle(ring);
    const link = Atomics.add(this.#words, Word.LINKS, 1) + 1;
    Atomics.store(this.#words, Word.LINK, link);
    this.#giveBack();
  }

  #settle(ring: RingHandle | undefined): void {
    if (ring === undefined) return;
    this.#place.address = Number(ring.address);
    this.#place.shadow = Number(ring.shadow.address);
    this.#place.doorbell = ring.doorbell;
  }

  #giveBack(): void {
    const lanes = Array.from({ length: this.#lanes }, (_, lane) => Atomics.load(this.#words, Word.OPEN + lane));
    const [used, free] = [true, false].map((use) => this.#retired.filter(({ link }) => lanes.includes(link) === use));
    this.#retired = used;
    for (const { ring } of free) releaseRing(ring);
  }
}
