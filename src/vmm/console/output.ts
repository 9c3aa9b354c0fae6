/**
 * Where the bytes of serial ports, debug consoles and human monitors go.
 *
 * Every thread writes them to the same descriptor, as they come.
 *
 * @module
 */
import { monotonicNow } from "../../ffi/clock.ts";
import { PatientWriter } from "../../ffi/patient_writer.ts";

/**
 * How long the machine waits for whoever reads its output, in milliseconds. The machine's lock is held meanwhile, so that no vCPU gets far,
 * and somebody who wants to end the machine waits, too.
 */
const PATIENCE = 1000;

/** Bytes that go at once to a descriptor that is ready: a blocking one takes as much without waiting, be it a pipe, socket or terminal. */
const PIECE = 256;

const LINE_FEED = 0x0a;

/** Bytes of shared memory for {@linkcode Timestamps}. */
export const TIMESTAMPS_SIZE = 16;

/** Whether lines of output begin with the time since that was switched on. One for each device, shared by the threads. */
export class Timestamps {
  /** Not zero while it is on; not zero in the middle of a line. */
  readonly #words: Int32Array;
  /** When it was switched on, in nanoseconds of CLOCK_MONOTONIC. */
  readonly #start: Float64Array;

  /** @param memory {@linkcode TIMESTAMPS_SIZE} bytes, zero at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, 2);
    this.#start = new Float64Array(memory, 8, 1);
  }

  /** Switches it on or off. */
  toggle(now = monotonicNow()): void {
    this.#start[0] = now;
    Atomics.xor(this.#words, 0, 1);
  }

  /** What goes before `byte`; empty but at the beginning of a line. */
  before(byte: number, now: () => number = monotonicNow): string {
    const begun = Atomics.exchange(this.#words, 1, byte === LINE_FEED ? 0 : 1);
    if (begun !== 0 || Atomics.load(this.#words, 0) === 0) return "";
    const ms = Math.max(0, Math.floor((now() - this.#start[0]) / 1e6));
    const pad = (value: number, digits: number) => String(value).padStart(digits, "0");
    const time = [ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60].map((part) => pad(Math.floor(part), 2));
    return `[${time.join(":")}.${pad(ms % 1000, 3)}] `;
  }
}

/** What an {@linkcode Output} is made of. */
export interface OutputOptions {
  /** `undefined` drops all output. */
  readonly fd: number | undefined;
  readonly timestamps?: Timestamps | undefined;
  /** The longest wait for a reader, in milliseconds. @default {1000} */
  readonly patience?: number;
}

/**
 * Writes to a descriptor. Output that nobody takes is dropped, as that of a serial line without a peer is: a guest must not stop because
 * its console was closed, or because nobody reads it.
 */
export class Output {
  readonly #writer: PatientWriter | undefined;
  readonly #timestamps: Timestamps | undefined;
  readonly #byte = new Uint8Array(1);

  constructor({ fd, timestamps, patience = PATIENCE }: OutputOptions) {
    this.#writer = fd === undefined ? undefined : new PatientWriter({ fd, piece: PIECE, patience });
    this.#timestamps = timestamps;
  }

  /** Writes one byte. */
  put(byte: number): void {
    if (this.#writer === undefined) return;
    const prefix = this.#timestamps?.before(byte) ?? "";
    if (prefix !== "") this.print(prefix);
    this.#byte[0] = byte;
    this.#writer.write(this.#byte);
  }

  /** Writes text, without timestamps. */
  print(text: string): void {
    this.#writer?.write(new TextEncoder().encode(text));
  }
}
