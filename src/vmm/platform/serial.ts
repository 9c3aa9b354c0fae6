/**
 * 16550A UART (PC16550D data sheet, National Semiconductor, June 1995; section numbers below are its own).
 *
 * | offset | read                | write               | with DLAB = 1    |
 * | ------ | ------------------- | ------------------- | ---------------- |
 * | 0      | RBR receiver buffer | THR transmitter     | divisor, low     |
 * | 1      | IER                 | IER                 | divisor, high    |
 * | 2      | IIR                 | FCR                 |                  |
 * | 3      | LCR                 | LCR                 |                  |
 * | 4      | MCR                 | MCR                 |                  |
 * | 5      | LSR                 | (factory test)      |                  |
 * | 6      | MSR                 | (deltas, ignored)   |                  |
 * | 7      | SCR                 | SCR                 |                  |
 *
 * The transmitter has no line to wait for, so the holding register is empty again as soon as it is written. The receiver is
 * fed from a ring that the console fills: a character enters the 16-byte FIFO only when there is room, so pasted input never
 * overruns, however slow the guest is. Overruns happen in loopback, as on the chip.
 *
 * @module
 */
import { readByteWise, writeByteWise } from "./byte_access.ts";
import type { BusDevice, PlatformHost, TimedDevice } from "./platform.ts";
import { INPUT_RING_SIZE, Lsr, SerialReceiver, type SerialStateRecord } from "./serial_receiver.ts";

export { INPUT_RING_SIZE, SerialState, type SerialStateRecord } from "./serial_receiver.ts";

const Register = { RBR_THR: 0, IER: 1, IIR_FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;

/** Interrupt enable register (section 8.7). */
const Ier = { RECEIVED_DATA: 0x01, THR_EMPTY: 0x02, LINE_STATUS: 0x04, MODEM_STATUS: 0x08, ALL: 0x0f } as const;

/** Interrupt identification register (section 8.6, table IV), by falling priority. */
const Iir = {
  LINE_STATUS: 0x06,
  RECEIVED_DATA: 0x04,
  CHARACTER_TIMEOUT: 0x0c,
  THR_EMPTY: 0x02,
  MODEM_STATUS: 0x00,
  NONE: 0x01,
  FIFOS_ENABLED: 0xc0,
} as const;

/** FIFO control register (section 8.5). */
const Fcr = { ENABLE: 0x01, CLEAR_RECEIVER: 0x02, TRIGGER_SHIFT: 6, KEPT: 0xc9 } as const;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;

/** Line control register (section 8.1). */
const Lcr = { WORD_LENGTH: 0x03, TWO_STOP_BITS: 0x04, PARITY: 0x08, DLAB: 0x80 } as const;

/** Modem control register (section 8.8). */
const Mcr = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOPBACK: 0x10, ALL: 0x1f } as const;

/** Modem status register (section 8.9): the deltas in the low half belong to the lines in the high half. */
const Msr = { TRAILING_EDGE_RI: 0x04, CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80, LINES: 0xf0, DELTAS: 0x0f } as const;

/** The terminal at the other end is always there and always ready. */
const CONNECTED = Msr.DCD | Msr.DSR | Msr.CTS;

/** The PC's UART clock (1.8432 MHz) runs the baud generator, whose output is 16 times the bit rate (section 8.3). */
const BIT_RATE_AT_DIVISOR_1 = 1_843_200 / 16;
/** 9600 bit/s; the chip leaves the divisor undefined at power-on. */
const POWER_ON_DIVISOR = 12;
const TIMEOUT_CHARACTERS = 4;

/** What a {@linkcode SerialPort} is made of. */
export interface SerialOptions {
  /** The registers; shared by every object that stands for this port. */
  readonly state: SerialStateRecord;
  readonly host: PlatformHost;
  /** The port's interrupt line. */
  readonly gsi: number;
  /** Takes a byte that the guest sends. */
  readonly transmit: (byte: number) => void;
  /** After {@linkcode SerialPort.receive} took less than it was given: half of the ring is free again. */
  readonly inputDrained?: () => void;
}

/** A serial port of 8 I/O ports. */
export class SerialPort implements BusDevice, TimedDevice {
  readonly #state: SerialStateRecord;
  readonly #host: PlatformHost;
  readonly #gsi: number;
  readonly #transmit: (byte: number) => void;
  readonly #inputDrained: () => void;
  readonly #receiver: SerialReceiver;

  constructor({ state, host, gsi, transmit, inputDrained }: SerialOptions) {
    this.#state = state;
    this.#host = host;
    this.#gsi = gsi;
    this.#transmit = transmit;
    this.#inputDrained = inputDrained ?? (() => {});
    this.#receiver = new SerialReceiver(state);
  }

  /**
   * Master reset (section 8.0, table I); also the first thing to happen to a new record. Input that waits in the ring stays: it
   * has not come over the line yet.
   */
  reset(): void {
    const state = this.#state;
    state.ier =
      state.fcr =
      state.lcr =
      state.mcr =
        0;
    state.msr = CONNECTED;
    state.lineErrors = 0;
    state.transmitterEmptied = false;
    if (state.divisor === 0) state.divisor = POWER_ON_DIVISOR;
    this.#clearReceiver();
    this.#settle(false);
  }

  read(offset: number, size: number): number {
    return readByteWise(offset, size, (register) => this.#readRegister(register));
  }

  write(offset: number, size: number, value: number): void {
    writeByteWise(offset, size, value, (register, byte) => this.#writeRegister(register, byte));
  }

  /** Free characters in the input ring. */
  get room(): number {
    return INPUT_RING_SIZE - this.#state.inputCount;
  }

  /**
   * Input from the host's side.
   *
   * @returns How many bytes of `data`, from its start, were taken. When that is not all, `inputDrained` is called once there
   * is room again.
   */
  receive(data: Uint8Array): number {
    let taken = 0;
    while (taken < data.length && this.#receiver.enqueue(data[taken], 0)) taken++;
    if (taken < data.length) this.#state.inputRefused = true;
    this.#settle(false);
    return taken;
  }

  /** A break condition on the line, after the input that is on its way: one zero character with BI. Whether there was room. */
  receiveBreak(): boolean {
    const taken = this.#receiver.enqueue(0, Lsr.BREAK);
    this.#settle(false);
    return taken;
  }

  nextDeadline(): number | undefined {
    return this.#state.timeoutAt || undefined;
  }

  expire(now: number): void {
    const state = this.#state;
    if (state.timeoutAt === 0 || now < state.timeoutAt) return;
    state.timeoutAt = 0;
    state.timedOut = true;
    this.#updateInterrupt();
  }

  #readRegister(offset: number): number {
    const state = this.#state;
    switch (offset) {
      case Register.RBR_THR:
        return state.lcr & Lcr.DLAB ? state.divisor & 0xff : this.#readReceiverBuffer();
      case Register.IER:
        return state.lcr & Lcr.DLAB ? state.divisor >>> 8 : state.ier;
      case Register.IIR_FCR:
        return this.#readInterruptIdentification();
      case Register.LCR:
        return state.lcr;
      case Register.MCR:
        return state.mcr;
      case Register.LSR:
        return this.#readLineStatus();
      case Register.MSR:
        return this.#readModemStatus();
      case Register.SCR:
        return state.scr;
      default:
        return 0xff;
    }
  }

  #writeRegister(offset: number, value: number): void {
    const state = this.#state;
    switch (offset) {
      case Register.RBR_THR:
        if (state.lcr & Lcr.DLAB) state.divisor = (state.divisor & 0xff00) | value;
        else this.#writeTransmitter(value);
        break;
      case Register.IER:
        if (state.lcr & Lcr.DLAB) state.divisor = (value << 8) | (state.divisor & 0xff);
        else this.#writeInterruptEnable(value);
        break;
      case Register.IIR_FCR:
        this.#writeFifoControl(value);
        break;
      case Register.LCR:
        state.lcr = value;
        break;
      case Register.MCR:
        this.#writeModemControl(value);
        break;
      case Register.SCR:
        state.scr = value;
        break;
    }
  }

  #readReceiverBuffer(): number {
    const character = this.#receiver.take();
    this.#state.timedOut = false;
    this.#settle(true);
    return character;
  }

  #writeTransmitter(value: number): void {
    const state = this.#state;
    state.transmitterEmptied = true;
    if (!(state.mcr & Mcr.LOOPBACK)) {
      this.#transmit(value);
      return this.#updateInterrupt();
    }
    const wordMask = 0xff >>> (3 - (state.lcr & Lcr.WORD_LENGTH));
    this.#receiver.arrive(value & wordMask, 0);
    this.#settle(true);
  }

  /** Enabling the THRE interrupt while THR is empty raises it at once: Linux tests UARTs for that (8250 driver, "THRE bug"). */
  #writeInterruptEnable(value: number): void {
    const state = this.#state;
    if (value & Ier.THR_EMPTY && !(state.ier & Ier.THR_EMPTY)) state.transmitterEmptied = true;
    state.ier = value & Ier.ALL;
    this.#settle(false);
  }

  #readInterruptIdentification(): number {
    if (this.#state.timeoutAt !== 0) this.expire(this.#host.now());
    const cause = this.#pendingInterrupt();
    if (cause === Iir.THR_EMPTY) {
      this.#state.transmitterEmptied = false;
      this.#updateInterrupt();
    }
    return this.#state.fcr & Fcr.ENABLE ? cause | Iir.FIFOS_ENABLED : cause;
  }

  /** Section 8.5: the other bits are programmed only together with bit 0, and changing it clears the FIFOs. */
  #writeFifoControl(value: number): void {
    const state = this.#state;
    const kept = value & Fcr.ENABLE ? value & Fcr.KEPT : 0;
    const toggled = (state.fcr ^ kept) & Fcr.ENABLE;
    if (toggled || (value & Fcr.ENABLE && value & Fcr.CLEAR_RECEIVER)) this.#clearReceiver();
    state.fcr = kept;
    this.#settle(false);
  }

  #writeModemControl(value: number): void {
    const state = this.#state;
    state.mcr = value & Mcr.ALL;
    this.#setModemLines(state.mcr & Mcr.LOOPBACK ? this.#loopedModemLines() : CONNECTED);
    this.#settle(false);
  }

  #clearReceiver(): void {
    this.#receiver.clear();
    this.#state.timedOut = false;
  }

  #readLineStatus(): number {
    const status = this.#receiver.readLineStatus() | Lsr.THR_EMPTY | Lsr.TRANSMITTER_EMPTY;
    this.#updateInterrupt();
    return status;
  }

  #readModemStatus(): number {
    const status = this.#state.msr;
    this.#state.msr &= ~Msr.DELTAS;
    this.#updateInterrupt();
    return status;
  }

  /** In loopback the four outputs drive the four inputs (section 8.8). */
  #loopedModemLines(): number {
    const { mcr } = this.#state;
    return (mcr & Mcr.RTS ? Msr.CTS : 0) | (mcr & Mcr.DTR ? Msr.DSR : 0) |
      (mcr & Mcr.OUT1 ? Msr.RI : 0) | (mcr & Mcr.OUT2 ? Msr.DCD : 0);
  }

  /** The ring indicator's delta reports its trailing edge only. */
  #setModemLines(lines: number): void {
    const state = this.#state;
    const before = state.msr & Msr.LINES;
    let deltas = (before ^ lines) >>> 4;
    if (lines & Msr.RI) deltas &= ~Msr.TRAILING_EDGE_RI;
    state.msr = lines | (state.msr & Msr.DELTAS) | deltas;
  }

  /**
   * Lets waiting input in and brings time-out and interrupt up to date, after anything that concerns the receiver.
   *
   * @param activity A character has come or gone, which starts the time-out anew.
   */
  #settle(activity: boolean): void {
    const state = this.#state;
    // Section 8.8: in loopback the serial input is disconnected; what the host sends waits.
    const looped = (state.mcr & Mcr.LOOPBACK) !== 0;
    const refilled = !looped && this.#receiver.refill();
    if (refilled && state.inputRefused && state.inputCount <= INPUT_RING_SIZE / 2) {
      state.inputRefused = false;
      this.#inputDrained();
    }
    this.#updateTimeout(activity || refilled);
    this.#updateInterrupt();
  }

  /** A deadline that only moves away is not announced: {@linkcode expire} looks at the clock. */
  #updateTimeout(restart: boolean): void {
    const state = this.#state;
    const running = state.timeoutAt !== 0;
    if (!this.#timeoutWanted()) state.timeoutAt = 0;
    else if (restart || !running) state.timeoutAt = this.#host.now() + TIMEOUT_CHARACTERS * this.#characterTime();
    if (!running && state.timeoutAt !== 0) this.#host.deadlineChanged();
  }

  /** Characters below the trigger level wait for the time-out; at or above it there is an interrupt anyway. */
  #timeoutWanted(): boolean {
    const { fcr, ier, fifoCount, timedOut } = this.#state;
    return (fcr & Fcr.ENABLE) !== 0 && (ier & Ier.RECEIVED_DATA) !== 0 && !timedOut && fifoCount > 0 &&
      fifoCount < this.#triggerLevel();
  }

  /** Nanoseconds from start bit to last stop bit. A divisor of 0, which stops the chip, counts as 1. */
  #characterTime(): number {
    const { lcr, divisor } = this.#state;
    const wordLength = 5 + (lcr & Lcr.WORD_LENGTH);
    const stopBits = lcr & Lcr.TWO_STOP_BITS ? (wordLength === 5 ? 1.5 : 2) : 1;
    const bits = 1 + wordLength + (lcr & Lcr.PARITY ? 1 : 0) + stopBits;
    return Math.ceil(bits * (divisor || 1) * 1e9 / BIT_RATE_AT_DIVISOR_1);
  }

  #triggerLevel(): number {
    const { fcr } = this.#state;
    return fcr & Fcr.ENABLE ? TRIGGER_LEVELS[fcr >>> Fcr.TRIGGER_SHIFT & 3] : 1;
  }

  #pendingInterrupt(): number {
    const { ier, lineErrors, fifoCount, timedOut, transmitterEmptied, msr } = this.#state;
    if (ier & Ier.LINE_STATUS && lineErrors & Lsr.ERRORS) return Iir.LINE_STATUS;
    if (ier & Ier.RECEIVED_DATA && fifoCount >= this.#triggerLevel()) return Iir.RECEIVED_DATA;
    if (ier & Ier.RECEIVED_DATA && timedOut) return Iir.CHARACTER_TIMEOUT;
    if (ier & Ier.THR_EMPTY && transmitterEmptied) return Iir.THR_EMPTY;
    if (ier & Ier.MODEM_STATUS && msr & Msr.DELTAS) return Iir.MODEM_STATUS;
    return Iir.NONE;
  }

  /** On a PC, OUT2 is the gate between the chip's INTR pin and the interrupt line (PC/AT Technical Reference). */
  #updateInterrupt(): void {
    const state = this.#state;
    const asserted = (state.mcr & Mcr.OUT2) !== 0 && this.#pendingInterrupt() !== Iir.NONE;
    if (asserted === state.irqAsserted) return;
    state.irqAsserted = asserted;
    this.#host.setIrq(this.#gsi, asserted);
  }
}
