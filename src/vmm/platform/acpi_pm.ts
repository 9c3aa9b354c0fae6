/**
 * ACPI power management: the ICH9's power management block (ICH9, section 13.8.3; ACPI 6.4, section 4.8) and the two
 * APM ports by which an operating system takes it over (ICH9, APM_CNT and APM_STS).
 *
 * | offset      | register  | here                                                              |
 * | ----------- | --------- | ----------------------------------------------------------------- |
 * | 0x00, 16    | PM1_STS   | timer, power button, wake; cleared by writing ones                |
 * | 0x02, 16    | PM1_EN    |                                                                   |
 * | 0x04, 32    | PM1_CNT   | SCI_EN, sleep type, SLP_EN                                        |
 * | 0x08, 32    | PM1_TMR   | 24 bits at 3.579545 MHz                                           |
 * | 0x20, 64    | GPE0_STS  | cleared by writing ones                                           |
 * | 0x28, 64    | GPE0_EN   |                                                                   |
 * | 0x30, 32    | SMI_EN    | can be read back; there are no SMIs                               |
 * | 0x34, 32    | SMI_STS   | 0                                                                 |
 *
 * The rest of the 128 ports reads as 0 and ignores writes (processor control, TCO watchdog).
 *
 * SMI_EN has APMC_EN set from reset on. That is how firmware for QEMU is told that somebody has set up system
 * management mode already, so that it does not wait for an SMI that never comes.
 *
 * @module
 */
import { bytes, defineState } from "../../device/state.ts";
import { readByteWise, writeByteWise } from "./byte_access.ts";
import type { BusDevice, PlatformHost, TimedDevice } from "./platform.ts";

const Register = {
  PM1_STS: 0x00,
  PM1_EN: 0x02,
  PM1_CNT: 0x04,
  PM1_TMR: 0x08,
  GPE0_STS: 0x20,
  GPE0_EN: 0x28,
  SMI_EN: 0x30,
} as const;

/** PM1_STS; the events have the same bits in PM1_EN. */
const Pm1 = { TMROF: 0x0001, GBL: 0x0020, PWRBTN: 0x0100, RTC: 0x0400, WAK: 0x8000 } as const;
/** The bits that PM1_EN has: the events, and PCIEXP_WAK_DIS. */
const PM1_EN_MASK = 0x4521;
/** What raises the SCI. */
const PM1_EVENTS = Pm1.TMROF | Pm1.GBL | Pm1.PWRBTN | Pm1.RTC;

/** PM1_CNT: of its bits, SLP_EN and GBL_RLS read as 0. */
const Pm1Cnt = { SCI_EN: 0x0001, BM_RLD: 0x0002, SLP_TYP: 0x1c00, SLP_TYP_SHIFT: 10, SLP_EN: 0x2000 } as const;

/**
 * Sleep types that switch off: the value that this machine's \_S5 object has (QEMU's), and the chipset's own for S5.
 */
const SOFT_OFF_TYPES: readonly number[] = [0, 7];

const SMI_EN_APMC = 0x20;

/** Commands that software writes to APM_CNT; the FADT names them as ACPI_ENABLE and ACPI_DISABLE. */
export const ApmCommand = { ACPI_ENABLE: 2, ACPI_DISABLE: 3 } as const;

const TIMER_HZ = 3_579_545;
const TIMER_MASK = 0xff_ffff;
/** TMROF_STS is set whenever bit 23 of the timer changes. */
const TIMER_HALF_PERIOD = 0x80_0000;
const NANOSECONDS = 1e9;

const GPE_BYTES = 8;

/** Registers of the power management block. */
export const AcpiPmState = defineState("ich9-acpi-pm", 1, {
  /** PM1_STS but for TMROF, which {@linkcode AcpiPm} works out from the time. */
  pm1Status: "u16",
  pm1Enable: "u16",
  pm1Control: "u16",
  /** How many half periods of the timer had passed when software last cleared TMROF. */
  timerHalfPeriodsSeen: "f64",
  gpeStatus: bytes(GPE_BYTES),
  gpeEnable: bytes(GPE_BYTES),
  smiEnable: "u32",
  apmControl: "u8",
  apmStatus: "u8",
  /** The GSI that is driven high for the SCI, plus one; 0 while none is. */
  sciDriven: "u8",
});

/** What {@linkcode AcpiPm} needs. */
export interface AcpiPmOptions {
  readonly state: ReturnType<typeof AcpiPmState.attach>;
  readonly host: PlatformHost;
  /** The GSI that the LPC bridge routes the SCI to, or `undefined`. */
  sciGsi(): number | undefined;
}

/** The power management block, as a device of 128 ports. */
export class AcpiPm implements BusDevice, TimedDevice {
  /** The APM ports: control at offset 0, status at offset 1. */
  readonly apm: BusDevice;
  readonly #state: AcpiPmOptions["state"];
  readonly #host: PlatformHost;
  readonly #sciGsi: AcpiPmOptions["sciGsi"];

  constructor({ state, host, sciGsi }: AcpiPmOptions) {
    this.#state = state;
    this.#host = host;
    this.#sciGsi = sciGsi;
    this.apm = {
      read: (offset, size) =>
        readByteWise(offset, size, (at) => at === 0 ? this.#state.apmControl : this.#state.apmStatus),
      write: (offset, size, value) => writeByteWise(offset, size, value, (at, byte) => this.#writeApm(at, byte)),
    };
  }

  read(offset: number, size: number): number {
    // The timer must not tick between the bytes of one access.
    if ((offset & 3) + size <= 4) {
      const shifted = this.#readRegister(offset & ~3) >>> (8 * (offset & 3));
      return size === 4 ? shifted : shifted & ((1 << (8 * size)) - 1);
    }
    return readByteWise(offset, size, (at) => (this.#readRegister(at & ~3) >>> (8 * (at & 3))) & 0xff);
  }

  write(offset: number, size: number, value: number): void {
    writeByteWise(offset, size, value, (at, byte) => this.#writeByte(at, byte));
    this.updateSci();
    if (offset < Register.PM1_CNT) this.#host.deadlineChanged();
  }

  /** Someone presses the power button: the operating system is asked to shut down. */
  pressPowerButton(): void {
    this.#state.pm1Status |= Pm1.PWRBTN;
    this.updateSci();
  }

  /** A general purpose event happens: bit `event` (0 to 63) of GPE0_STS. */
  raiseGpe(event: number): void {
    this.#state.gpeStatus[event >>> 3] |= 1 << (event & 7);
    this.updateSci();
  }

  /** Drives the SCI as the registers say; to be called when the LPC bridge routes it elsewhere, too. */
  updateSci(): void {
    const wanted = this.#sciWanted() ? this.#sciGsi() : undefined;
    const driven = this.#state.sciDriven === 0 ? undefined : this.#state.sciDriven - 1;
    if (wanted === driven) return;
    this.#state.sciDriven = wanted === undefined ? 0 : wanted + 1;
    if (driven !== undefined) this.#host.setIrq(driven, false);
    if (wanted !== undefined) this.#host.setIrq(wanted, true);
  }

  /** When TMROF will raise the SCI; only while it is enabled and not set yet. */
  nextDeadline(): number | undefined {
    if ((this.#state.pm1Enable & Pm1.TMROF) === 0 || (this.#pm1Status() & Pm1.TMROF) !== 0) return undefined;
    const ticks = (this.#state.timerHalfPeriodsSeen + 1) * TIMER_HALF_PERIOD;
    let deadline = Math.ceil(ticks * NANOSECONDS / TIMER_HZ);
    // Rounding must not let the deadline come a tick before the timer's bit changes.
    while (ticksAt(deadline) < ticks) deadline++;
    return deadline;
  }

  expire(): void {
    this.updateSci();
    this.#host.deadlineChanged();
  }

  /** Machine reset. The timer itself runs on. */
  reset(): void {
    const state = this.#state;
    state.pm1Status = 0;
    state.pm1Enable = 0;
    state.pm1Control = 0;
    state.timerHalfPeriodsSeen = this.#halfPeriods();
    state.gpeStatus.fill(0);
    state.gpeEnable.fill(0);
    state.smiEnable = SMI_EN_APMC;
    state.apmControl = 0;
    state.apmStatus = 0;
    this.updateSci();
    this.#host.deadlineChanged();
  }

  #ticks(): number {
    return ticksAt(this.#host.now());
  }

  #halfPeriods(): number {
    return Math.floor(this.#ticks() / TIMER_HALF_PERIOD);
  }

  #pm1Status(): number {
    const overflown = this.#halfPeriods() > this.#state.timerHalfPeriodsSeen;
    return this.#state.pm1Status | (overflown ? Pm1.TMROF : 0);
  }

  /** Without SCI_EN the events would raise SMIs instead, of which there are none. */
  #sciWanted(): boolean {
    const { pm1Enable, pm1Control, gpeStatus, gpeEnable } = this.#state;
    if ((pm1Control & Pm1Cnt.SCI_EN) === 0) return false;
    if ((this.#pm1Status() & pm1Enable & PM1_EVENTS) !== 0) return true;
    return gpeStatus.some((status, i) => (status & gpeEnable[i]) !== 0);
  }

  /** The 32 bits at a multiple of 4. */
  #readRegister(offset: number): number {
    const { pm1Enable, pm1Control, gpeStatus, gpeEnable, smiEnable } = this.#state;
    switch (offset) {
      case Register.PM1_STS:
        return (this.#pm1Status() | (pm1Enable << 16)) >>> 0;
      case Register.PM1_CNT:
        return pm1Control;
      case Register.PM1_TMR:
        return this.#ticks() % (TIMER_MASK + 1);
      case Register.GPE0_STS:
      case Register.GPE0_STS + 4:
        return littleEndian(gpeStatus, offset - Register.GPE0_STS);
      case Register.GPE0_EN:
      case Register.GPE0_EN + 4:
        return littleEndian(gpeEnable, offset - Register.GPE0_EN);
      case Register.SMI_EN:
        return smiEnable;
      default:
        return 0;
    }
  }

  #writeByte(offset: number, value: number): void {
    const state = this.#state;
    const shift = 8 * (offset & 1);
    if (offset < Register.PM1_EN) this.#clearPm1Status(value << shift);
    else if (offset < Register.PM1_CNT) {
      state.pm1Enable = withByte(state.pm1Enable, shift, value) & PM1_EN_MASK;
    } else if (offset < Register.PM1_CNT + 2) this.#writePm1Control(shift, value);
    else if (offset >= Register.GPE0_STS && offset < Register.GPE0_EN) {
      state.gpeStatus[offset - Register.GPE0_STS] &= ~value;
    } else if (offset >= Register.GPE0_EN && offset < Register.SMI_EN) {
      state.gpeEnable[offset - Register.GPE0_EN] = value;
    } else if (offset >= Register.SMI_EN && offset < Register.SMI_EN + 4) {
      state.smiEnable = withByte(state.smiEnable, 8 * (offset - Register.SMI_EN), value);
    }
  }

  #clearPm1Status(ones: number): void {
    this.#state.pm1Status &= ~ones;
    if ((ones & Pm1.TMROF) !== 0) this.#state.timerHalfPeriodsSeen = this.#halfPeriods();
  }

  #writePm1Control(shift: number, value: number): void {
    const written = withByte(this.#state.pm1Control, shift, value);
    this.#state.pm1Control = written & (Pm1Cnt.SCI_EN | Pm1Cnt.BM_RLD | Pm1Cnt.SLP_TYP);
    if ((written & Pm1Cnt.SLP_EN) !== 0) this.#sleep((written & Pm1Cnt.SLP_TYP) >>> Pm1Cnt.SLP_TYP_SHIFT);
  }

  #sleep(type: number): void {
    if (SOFT_OFF_TYPES.includes(type)) {
      this.#host.requestExit(0);
      return;
    }
    // Only S5 is offered. Whoever tries another state finds itself awake at once, rather than waiting for ever.
    this.#host.warnOnce(`The guest asked for sleep type ${type}, which this machine does not have`);
    this.#state.pm1Status |= Pm1.WAK;
  }

  #writeApm(offset: number, value: number): void {
    if (offset === 1) {
      this.#state.apmStatus = value;
      return;
    }
    this.#state.apmControl = value;
    if (value === ApmCommand.ACPI_ENABLE) this.#state.pm1Control |= Pm1Cnt.SCI_EN;
    else if (value === ApmCommand.ACPI_DISABLE) this.#state.pm1Control &= ~Pm1Cnt.SCI_EN;
    this.updateSci();
  }
}

/** Ticks of the timer since the machine was created; a number that does not wrap. */
function ticksAt(now: number): number {
  return Math.floor(now * TIMER_HZ / NANOSECONDS);
}

function withByte(word: number, shift: number, value: number): number {
  return ((word & ~(0xff << shift)) | (value << shift)) >>> 0;
}

function littleEndian(from: Uint8Array, offset: number): number {
  return (from[offset] | (from[offset + 1] << 8) | (from[offset + 2] << 16) | (from[offset + 3] << 24)) >>> 0;
}
