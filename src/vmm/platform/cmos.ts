/**
 * CMOS RAM and real-time clock: Motorola MC146818A (data sheet of 1984) as the PC/AT and the ICH9 wire it.
 *
 * | port | access | meaning                                                        |
 * | ---- | ------ | -------------------------------------------------------------- |
 * | 0x70 | write  | bits 0-6: which byte; bit 7: NMI mask (there is no NMI source)  |
 * | 0x71 | r/w    | that byte: clock 0x00-0x0d, RAM 0x0e-0x7f                       |
 *
 * The guest's clock is the host's plus an offset, which changes when the guest sets its clock. Flags (PF, AF, UF) are
 * worked out when somebody looks; a timer runs only while an interrupt is enabled.
 *
 * @module
 */
import { bytes, defineState, type StateRecord, type StateValues } from "../../device/state.ts";
import { readByteWise, writeByteWise } from "./byte_access.ts";
import type { BusDevice, PlatformHost, TimedDevice } from "./platform.ts";
import {
  type ClockFormat,
  ClockRegister,
  decodeAlarm,
  decodeTime,
  encodeTime,
  secondsUntilAlarm,
} from "./rtc_calendar.ts";

const Register = { A: 0x0a, B: 0x0b, C: 0x0c, D: 0x0d } as const;

/** Register A: bits 4-6 select the divider chain, bits 0-3 the periodic rate. */
const A = { UIP: 0x80, RATE: 0x0f, DIVIDER_RESET: 0x60, POWER_ON: 0x26 } as const;
/** Register B. */
const B = { SET: 0x80, PIE: 0x40, AIE: 0x20, UIE: 0x10, SQWE: 0x08, BINARY: 0x04, HOURS_24: 0x02 } as const;
/** Register C: flags at the places of their enable bits in register B. */
const C = { IRQF: 0x80, PF: 0x40, AF: 0x20, UF: 0x10, FLAGS: 0x70 } as const;
/** Register D: the RAM and the time are valid. */
const D = { VRT: 0x80 } as const;

/** From UIP's rise to the end of the update: 244 µs of warning and 1984 µs of update (table 6). In milliseconds. */
const UPDATE_IN_PROGRESS_MS = 2.228;
/** "When the divider reset is removed, the first update cycle begins one-half second later" (register A). */
const FIRST_UPDATE_MS = 500;
/** An alarm far away is looked at again now and then, because the host's clock may be set meanwhile. */
const ALARM_RECHECK_MS = 60_000;
const CRYSTAL_HZ = 32_768;

const fields = {
  index: "u8",
  ram: bytes(128),
  /** The guest's clock less the host's, in milliseconds; its fraction of a second is the divider chain's phase. */
  clockOffset: "f64",
  /** The guest's second up to which UF and AF are worked out. */
  secondsSeen: "f64",
  /** When the divider chain last left reset, in nanoseconds of the machine's clock. */
  dividerStart: "f64",
  /** Periods since then up to which PF is worked out. */
  periodsSeen: "f64",
  /** When a timer interrupt is due, in nanoseconds of the machine's clock; 0 for none. */
  deadline: "f64",
  irqAsserted: "bool",
} as const;

/** All that the clock and the RAM are. */
export const CmosState = defineState("cmos-mc146818a", 1, fields);

/** A record of {@linkcode CmosState}. */
export type CmosStateRecord = StateValues<typeof fields> & StateRecord;

/** What a {@linkcode Cmos} is made of. */
export interface CmosOptions {
  readonly state: CmosStateRecord;
  readonly host: PlatformHost;
  /** The clock's interrupt line. */
  readonly gsi: number;
}

/** The two ports of CMOS RAM and clock. */
export class Cmos implements BusDevice, TimedDevice {
  readonly #state: CmosStateRecord;
  readonly #host: PlatformHost;
  readonly #gsi: number;

  constructor({ state, host, gsi }: CmosOptions) {
    this.#state = state;
    this.#host = host;
    this.#gsi = gsi;
  }

  /**
   * The battery is put in: the first thing to happen to a new record.
   *
   * @param contents RAM bytes that firmware finds; see `cmosContents`.
   * @param offset What the guest's clock shows less the host's, in milliseconds: 0 for UTC.
   */
  powerOn(contents: ReadonlyMap<number, number>, offset = 0): void {
    const state = this.#state;
    state.ram.fill(0);
    for (const [address, value] of contents) {
      if (address > Register.D && address < state.ram.length) state.ram[address] = value;
    }
    state.ram[Register.A] = A.POWER_ON;
    state.ram[Register.B] = B.HOURS_24;
    state.clockOffset = offset;
    state.secondsSeen = this.#guestSecond();
    this.reset();
  }

  /** The RESET pin: interrupts off and flags cleared (registers B and C); time, calendar and RAM live on. */
  reset(): void {
    const state = this.#state;
    state.ram[Register.B] &= ~(B.PIE | B.AIE | B.UIE | B.SQWE);
    state.ram[Register.C] = 0;
    this.#settle();
  }

  /**
   * The machine goes on after it stood still. The time of day has gone on meanwhile: an alarm or an update that it has passed happens
   * now.
   */
  resume(): void {
    this.#catchUp();
    this.#settle();
  }

  /** Port 0x70 cannot be read. */
  read(offset: number, size: number): number {
    return readByteWise(offset, size, (port) => port === 1 ? this.#readByte(this.#state.index) : 0xff);
  }

  write(offset: number, size: number, value: number): void {
    writeByteWise(offset, size, value, (port, byte) => {
      if (port === 0) this.#state.index = byte & 0x7f;
      else if (port === 1) this.#writeByte(this.#state.index, byte);
    });
  }

  nextDeadline(): number | undefined {
    return this.#state.deadline || undefined;
  }

  expire(now: number): void {
    const { deadline, ram } = this.#state;
    if (deadline === 0 || now < deadline) return;
    const unacknowledged = (ram[Register.C] & C.PF) !== 0;
    this.#catchUp();
    this.#settle(unacknowledged);
  }

  #readByte(address: number): number {
    const { ram } = this.#state;
    switch (address) {
      case Register.A:
        return ram[Register.A] | (this.#updateInProgress() ? A.UIP : 0);
      case Register.C:
        return this.#readFlags();
      case Register.D:
        return D.VRT;
    }
    if (isClock(address) && this.#running()) this.#latchTime();
    return ram[address];
  }

  #writeByte(address: number, value: number): void {
    switch (address) {
      case Register.A:
        return this.#writeA(value & ~A.UIP);
      case Register.B:
        return this.#writeB(value);
      case Register.C:
      case Register.D:
        return;
    }
    const { ram } = this.#state;
    if (address > Register.D && address !== ClockRegister.CENTURY) {
      ram[address] = value;
      return;
    }
    this.#catchUp();
    const setsRunningClock = isClock(address) && this.#running();
    if (setsRunningClock) this.#latchTime();
    ram[address] = value;
    if (setsRunningClock) this.#startClock();
    this.#settle();
  }

  #writeA(value: number): void {
    const state = this.#state;
    this.#catchUp();
    const wasReset = this.#dividerReset();
    if (this.#running()) this.#latchTime();
    state.ram[Register.A] = value;
    if (wasReset && !this.#dividerReset()) {
      state.dividerStart = this.#host.now();
      state.clockOffset = FIRST_UPDATE_MS - this.#host.wallClock();
    }
    if (wasReset && this.#running()) this.#startClock();
    state.periodsSeen = this.#periods();
    this.#settle();
  }

  /** Setting SET stops updates and clears UIE (register B). */
  #writeB(value: number): void {
    const { ram } = this.#state;
    this.#catchUp();
    const before = ram[Register.B];
    if (this.#running()) this.#latchTime();
    ram[Register.B] = value & B.SET && !(before & B.SET) ? value & ~B.UIE : value;
    if (before & B.SET && this.#running()) this.#startClock();
    this.#settle();
  }

  #readFlags(): number {
    const { ram } = this.#state;
    this.#catchUp();
    const flags = ram[Register.C] | (this.#interruptPending() ? C.IRQF : 0);
    ram[Register.C] = 0;
    this.#settle();
    return flags;
  }

  #format(): ClockFormat {
    const b = this.#state.ram[Register.B];
    return { binary: (b & B.BINARY) !== 0, hours24: (b & B.HOURS_24) !== 0 };
  }

  #dividerReset(): boolean {
    return (this.#state.ram[Register.A] & A.DIVIDER_RESET) === A.DIVIDER_RESET;
  }

  /** Whether the clock counts; otherwise the registers hold what was last written. */
  #running(): boolean {
    return !(this.#state.ram[Register.B] & B.SET) && !this.#dividerReset();
  }

  #guestTime(): number {
    return this.#host.wallClock() + this.#state.clockOffset;
  }

  #guestSecond(): number {
    return Math.floor(this.#guestTime() / 1000);
  }

  /** Milliseconds since the last update. */
  #phase(): number {
    return this.#guestTime() - this.#guestSecond() * 1000;
  }

  #updateInProgress(): boolean {
    return this.#running() && this.#phase() >= 1000 - UPDATE_IN_PROGRESS_MS;
  }

  #latchTime(): void {
    encodeTime(this.#guestSecond() * 1000, this.#format(), this.#state.ram);
  }

  /** The clock goes on from what the registers say; the divider chain's phase is not touched. */
  #startClock(): void {
    const state = this.#state;
    const time = decodeTime(state.ram, this.#format()) + this.#phase();
    state.clockOffset = time - this.#host.wallClock();
    state.secondsSeen = this.#guestSecond();
  }

  /** Nanoseconds of the selected periodic rate; 0 for none (table 5, 32.768 kHz: rates 1 and 2 repeat 8 and 9). */
  #period(): number {
    const rate = this.#state.ram[Register.A] & A.RATE;
    if (rate === 0 || this.#dividerReset()) return 0;
    return 2 ** ((rate < 3 ? rate + 7 : rate) - 1) * 1e9 / CRYSTAL_HZ;
  }

  #periods(): number {
    const period = this.#period();
    return period === 0 ? 0 : Math.floor((this.#host.now() - this.#state.dividerStart) / period);
  }

  /** Sets the flags of everything that has happened since the last look. */
  #catchUp(): void {
    const state = this.#state;
    const periods = this.#periods();
    if (periods > state.periodsSeen) state.ram[Register.C] |= C.PF;
    state.periodsSeen = periods;
    if (!this.#running()) return;
    const second = this.#guestSecond();
    const elapsed = second - state.secondsSeen;
    if (elapsed > 0) {
      state.ram[Register.C] |= C.UF;
      if ((this.#secondsUntilAlarm(state.secondsSeen) ?? Infinity) <= elapsed) state.ram[Register.C] |= C.AF;
    }
    state.secondsSeen = second;
  }

  #secondsUntilAlarm(second: number): number | undefined {
    const secondOfDay = ((second % 86_400) + 86_400) % 86_400;
    return secondsUntilAlarm(secondOfDay, decodeAlarm(this.#state.ram, this.#format()));
  }

  #interruptPending(): boolean {
    const { ram } = this.#state;
    return (ram[Register.B] & ram[Register.C] & C.FLAGS) !== 0;
  }

  /**
   * Brings interrupt line and timer up to date with the registers.
   *
   * @param unacknowledged The guest has let a whole period pass without reading register C: the periodic timer rests until
   * it does.
   */
  #settle(unacknowledged = false): void {
    const state = this.#state;
    const asserted = this.#interruptPending();
    if (asserted !== state.irqAsserted) {
      state.irqAsserted = asserted;
      this.#host.setIrq(this.#gsi, asserted);
    }
    const before = state.deadline;
    state.deadline = this.#computeDeadline(unacknowledged);
    if (state.deadline !== 0 && (before === 0 || state.deadline < before)) this.#host.deadlineChanged();
  }

  #computeDeadline(unacknowledged: boolean): number {
    const { ram, dividerStart, periodsSeen } = this.#state;
    const wanted = ram[Register.B] & ~ram[Register.C];
    let deadline = Infinity;
    const period = this.#period();
    if (ram[Register.B] & B.PIE && period !== 0 && !unacknowledged) {
      deadline = dividerStart + (periodsSeen + 1) * period;
    }
    if (this.#running() && wanted & (B.UIE | B.AIE)) {
      const seconds = wanted & B.UIE ? 1 : this.#secondsUntilAlarm(this.#guestSecond()) ?? Infinity;
      const milliseconds = Math.min(seconds * 1000 - this.#phase(), ALARM_RECHECK_MS);
      deadline = Math.min(deadline, this.#host.now() + milliseconds * 1e6);
    }
    return deadline === Infinity ? 0 : Math.ceil(deadline);
  }
}

/** Whether a byte shows the running clock: time and calendar, not the alarm. */
function isClock(address: number): boolean {
  if (address === ClockRegister.CENTURY) return true;
  return address <= ClockRegister.YEAR && address !== ClockRegister.SECONDS_ALARM &&
    address !== ClockRegister.MINUTES_ALARM && address !== ClockRegister.HOURS_ALARM;
}
