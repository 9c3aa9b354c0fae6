/**
 * The receiving half of a 16550A: what the host has sent waits in a ring, and enters the FIFO when there is room.
 *
 * Section numbers are those of the PC16550D data sheet (National Semiconductor, June 1995).
 *
 * @module
 */
import { bytes, defineState, type StateRecord, type StateValues } from "../../device/state.ts";

/** Characters that the receive FIFO holds. */
export const FIFO_DEPTH = 16;
/** Characters of host input that wait for room in the FIFO. */
export const INPUT_RING_SIZE = 4096;

/** Line status register (section 8.4). */
export const Lsr = {
  DATA_READY: 0x01,
  OVERRUN: 0x02,
  PARITY_ERROR: 0x04,
  FRAMING_ERROR: 0x08,
  BREAK: 0x10,
  THR_EMPTY: 0x20,
  TRANSMITTER_EMPTY: 0x40,
  FIFO_ERROR: 0x80,
  /** The conditions that raise a receiver line status interrupt and go when the register is read. */
  ERRORS: 0x1e,
} as const;

const fields = {
  ier: "u8",
  /** FCR as written: FIFO enable and trigger level. */
  fcr: "u8",
  lcr: "u8",
  mcr: "u8",
  msr: "u8",
  scr: "u8",
  divisor: "u16",
  /** The transmitter has become empty and nobody has been told (table IV, third priority). */
  transmitterEmptied: "bool",
  irqAsserted: "bool",
  lineErrors: "u8",
  /** The character read last: RBR keeps it when the FIFO is empty. */
  receiverBuffer: "u8",
  fifo: bytes(FIFO_DEPTH),
  /** {@linkcode Lsr} error bits of each character in `fifo`. */
  fifoErrors: bytes(FIFO_DEPTH),
  fifoHead: "u8",
  fifoCount: "u8",
  /** A character time-out is indicated. */
  timedOut: "bool",
  /** When the characters in the FIFO time out, in nanoseconds of the machine's clock; 0 when the time-out is not running. */
  timeoutAt: "f64",
  input: bytes(INPUT_RING_SIZE),
  inputErrors: bytes(INPUT_RING_SIZE),
  inputHead: "u32",
  inputCount: "u32",
  /** The host was told that the ring was full, and waits to hear of room. */
  inputRefused: "bool",
} as const;

/** All that a serial port is: its registers, its FIFO and the input that waits. */
export const SerialState = defineState("serial-16550a", 1, fields);

/** A record of {@linkcode SerialState}. */
export type SerialStateRecord = StateValues<typeof fields> & StateRecord;

/** The input ring, the FIFO (one character deep while FIFOs are off) and their error bits. */
export class SerialReceiver {
  readonly #state: SerialStateRecord;

  constructor(state: SerialStateRecord) {
    this.#state = state;
  }

  /** Characters that the receiver holds before one is overrun. */
  get capacity(): number {
    return this.#state.fcr & 1 ? FIFO_DEPTH : 1;
  }

  /** Puts a character from the host's side into the ring. Whether there was room. */
  enqueue(character: number, errors: number): boolean {
    const state = this.#state;
    if (state.inputCount === INPUT_RING_SIZE) return false;
    const tail = (state.inputHead + state.inputCount) % INPUT_RING_SIZE;
    state.input[tail] = character;
    state.inputErrors[tail] = errors;
    state.inputCount++;
    return true;
  }

  /** Moves waiting input into the FIFO until it is full. Whether any character moved. */
  refill(): boolean {
    const state = this.#state;
    let moved = false;
    while (state.inputCount > 0 && state.fifoCount < this.capacity) {
      const head = state.inputHead % INPUT_RING_SIZE;
      this.arrive(state.input[head], state.inputErrors[head]);
      state.inputHead = (head + 1) % INPUT_RING_SIZE;
      state.inputCount--;
      moved = true;
    }
    return moved;
  }

  /** A character comes in over the line. What does not fit is lost, or replaces RBR while FIFOs are off (section 8.4, OE). */
  arrive(character: number, errors: number): void {
    const state = this.#state;
    const full = state.fifoCount >= this.capacity;
    if (full) state.lineErrors |= Lsr.OVERRUN;
    if (full && state.fcr & 1) return;
    if (full) state.fifoCount = 0;
    const tail = (state.fifoHead + state.fifoCount) % FIFO_DEPTH;
    state.fifo[tail] = character;
    state.fifoErrors[tail] = errors;
    state.fifoCount++;
    if (state.fifoCount === 1) this.#reveal();
  }

  /** Takes the oldest character out of the FIFO. */
  take(): number {
    const state = this.#state;
    if (state.fifoCount === 0) return state.receiverBuffer;
    const head = state.fifoHead % FIFO_DEPTH;
    state.receiverBuffer = state.fifo[head];
    state.fifoHead = (head + 1) % FIFO_DEPTH;
    state.fifoCount--;
    if (state.fifoCount > 0) this.#reveal();
    return state.receiverBuffer;
  }

  /** The receiver's bits of LSR. Reading the register acknowledges the errors that it shows. */
  readLineStatus(): number {
    const state = this.#state;
    let status = state.lineErrors;
    if (state.fifoCount > 0) status |= Lsr.DATA_READY;
    if (state.fcr & 1 && this.#holdsErrors()) status |= Lsr.FIFO_ERROR;
    state.lineErrors = 0;
    if (state.fifoCount > 0) state.fifoErrors[state.fifoHead % FIFO_DEPTH] = 0;
    return status;
  }

  /** Drops what the FIFO holds; input that waits in the ring is still on its way and stays. */
  clear(): void {
    this.#state.fifoHead = 0;
    this.#state.fifoCount = 0;
  }

  /** An error belongs to its character and shows when that character comes to the top (section 8.4). */
  #reveal(): void {
    this.#state.lineErrors |= this.#state.fifoErrors[this.#state.fifoHead % FIFO_DEPTH];
  }

  #holdsErrors(): boolean {
    const state = this.#state;
    for (let i = 0; i < state.fifoCount; i++) {
      if (state.fifoErrors[(state.fifoHead + i) % FIFO_DEPTH] !== 0) return true;
    }
    return false;
  }
}
