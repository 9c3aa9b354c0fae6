/**
 * How the MC146818A writes time down: BCD or binary, 12 or 24 hours, and alarms with don't-care parts.
 *
 * Table and section names are those of Motorola's MC146818A data sheet (1984).
 *
 * @module
 */

/** Where the time, calendar and alarm bytes are (table 2, "Address map"). */
export const ClockRegister = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  /** 1 is Sunday. */
  DAY_OF_WEEK: 0x06,
  DAY_OF_MONTH: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  /** Not the chip's: a RAM byte that PC firmware uses, as ACPI's FADT tells the operating system (field CENTURY). */
  CENTURY: 0x32,
} as const;

/** The data mode and 24/12 bits of register B. */
export interface ClockFormat {
  /** DM: binary rather than BCD. */
  readonly binary: boolean;
  /** 24/12: hours 0-23 rather than 1-12 with bit 7 for PM. */
  readonly hours24: boolean;
}

/** An alarm; `undefined` parts match everything. */
export interface Alarm {
  readonly hour: number | undefined;
  readonly minute: number | undefined;
  readonly second: number | undefined;
}

const PM = 0x80;
/** "Don't care" codes of alarm bytes: 0xc0 to 0xff. */
const DONT_CARE = 0xc0;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Writes `time` (milliseconds since 1970 of a clock without time zone) into the time and calendar registers. */
export function encodeTime(time: number, format: ClockFormat, registers: Uint8Array): void {
  const date = new Date(time);
  const year = ((date.getUTCFullYear() % 10000) + 10000) % 10000;
  const encode = (value: number) => encodeNumber(value, format);
  registers[ClockRegister.SECONDS] = encode(date.getUTCSeconds());
  registers[ClockRegister.MINUTES] = encode(date.getUTCMinutes());
  registers[ClockRegister.HOURS] = encodeHour(date.getUTCHours(), format);
  registers[ClockRegister.DAY_OF_WEEK] = encode(date.getUTCDay() + 1);
  registers[ClockRegister.DAY_OF_MONTH] = encode(date.getUTCDate());
  registers[ClockRegister.MONTH] = encode(date.getUTCMonth() + 1);
  registers[ClockRegister.YEAR] = encode(year % 100);
  registers[ClockRegister.CENTURY] = encode(Math.floor(year / 100));
}

/**
 * What the time and calendar registers say, in milliseconds since 1970. The day of the week follows from the date. Values that
 * are no time of any day, on which the data sheet is silent, carry over into the next larger unit.
 */
export function decodeTime(registers: Uint8Array, format: ClockFormat): number {
  const decode = (register: number) => decodeNumber(registers[register], format);
  const year = decode(ClockRegister.CENTURY) * 100 + decode(ClockRegister.YEAR);
  const date = new Date(0);
  date.setUTCFullYear(year, decode(ClockRegister.MONTH) - 1, decode(ClockRegister.DAY_OF_MONTH));
  const hour = decodeHour(registers[ClockRegister.HOURS], format);
  return date.setUTCHours(hour, decode(ClockRegister.MINUTES), decode(ClockRegister.SECONDS), 0);
}

/** What the alarm registers say. */
export function decodeAlarm(registers: Uint8Array, format: ClockFormat): Alarm {
  const part = (register: number, decode: (value: number, format: ClockFormat) => number) =>
    registers[register] >= DONT_CARE ? undefined : decode(registers[register], format);
  return {
    hour: part(ClockRegister.HOURS_ALARM, decodeHour),
    minute: part(ClockRegister.MINUTES_ALARM, decodeNumber),
    second: part(ClockRegister.SECONDS_ALARM, decodeNumber),
  };
}

/**
 * How many seconds (1 to 86400) after `secondOfDay` the alarm goes off next; `undefined` for an alarm that names no time.
 *
 * Steps by hours, then minutes, then seconds: at most some hundred steps.
 */
export function secondsUntilAlarm(secondOfDay: number, alarm: Alarm): number | undefined {
  const { hour, minute, second } = alarm;
  if ((hour ?? 0) > 23 || (minute ?? 0) > 59 || (second ?? 0) > 59) return undefined;
  let at = secondOfDay + 1;
  while (at <= secondOfDay + DAY) {
    if (hour !== undefined && Math.floor(at / HOUR) % 24 !== hour) at += HOUR - at % HOUR;
    else if (minute !== undefined && Math.floor(at / MINUTE) % 60 !== minute) at += MINUTE - at % MINUTE;
    else if (second !== undefined && at % MINUTE !== second) at += (second - at % MINUTE + MINUTE) % MINUTE;
    else return at - secondOfDay;
  }
  return undefined;
}

function encodeNumber(value: number, { binary }: ClockFormat): number {
  return binary ? value : Math.floor(value / 10) << 4 | value % 10;
}

function decodeNumber(value: number, { binary }: ClockFormat): number {
  return binary ? value : (value >>> 4) * 10 + (value & 0x0f);
}

function encodeHour(hour: number, format: ClockFormat): number {
  if (format.hours24) return encodeNumber(hour, format);
  return encodeNumber(hour % 12 || 12, format) | (hour >= 12 ? PM : 0);
}

function decodeHour(value: number, format: ClockFormat): number {
  if (format.hours24) return decodeNumber(value, format);
  return decodeNumber(value & ~PM, format) % 12 + (value & PM ? 12 : 0);
}
