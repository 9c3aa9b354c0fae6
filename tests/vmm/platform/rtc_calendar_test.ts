/** How the MC146818A writes time down, against its data sheet's table 3. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type ClockFormat,
  decodeAlarm,
  decodeTime,
  encodeTime,
  secondsUntilAlarm,
} from "../../../src/vmm/platform/rtc_calendar.ts";

const FORMATS: readonly ClockFormat[] = [
  { binary: false, hours24: true },
  { binary: false, hours24: false },
  { binary: true, hours24: true },
  { binary: true, hours24: false },
];

function encoded(time: number, format: ClockFormat): number[] {
  const registers = new Uint8Array(64);
  encodeTime(time, format, registers);
  return [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].map((register) => registers[register]);
}

/** The example of the data sheet's table 3: 5:58:21 on Thursday, 15 February 1979. */
const EXAMPLE = Date.UTC(1979, 1, 15, 5, 58, 21);

Deno.test("the data sheet's example is written in BCD and in binary", () => {
  assertEquals(encoded(EXAMPLE, FORMATS[0]), [0x21, 0x58, 0x05, 0x05, 0x15, 0x02, 0x79, 0x19]);
  assertEquals(encoded(EXAMPLE, FORMATS[2]), [0x15, 0x3a, 0x05, 0x05, 0x0f, 0x02, 0x4f, 0x13]);
});

Deno.test("twelve-hour time has no hour 0 and marks PM in bit 7", () => {
  const hours = [0, 1, 11, 12, 13, 23].map((hour) => encoded(Date.UTC(2024, 0, 1, hour), FORMATS[1])[2]);
  assertEquals(hours, [0x12, 0x01, 0x11, 0x92, 0x81, 0x91]);
});

Deno.test("what is written down reads back as the same second in every format", () => {
  const time = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31, 23, 59, 59) / 1000 });
  fc.assert(fc.property(time, fc.constantFrom(...FORMATS), (seconds, format) => {
    const registers = new Uint8Array(64);
    encodeTime(seconds * 1000, format, registers);
    assertEquals(decodeTime(registers, format), seconds * 1000);
  }));
});

Deno.test("any bytes are some time", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.constantFrom(...FORMATS), (bytes, format) => {
      assertEquals(Number.isSafeInteger(decodeTime(bytes, format)), true);
    }),
  );
});

Deno.test("alarm bytes from 0xc0 to 0xff match everything", () => {
  const registers = new Uint8Array(64);
  registers[1] = 0xc0;
  registers[3] = 0xff;
  registers[5] = 0x17;
  assertEquals(decodeAlarm(registers, FORMATS[0]), { hour: 17, minute: undefined, second: undefined });
});

Deno.test("an alarm goes off at the next second that matches, a day later at most", () => {
  const part = (limit: number) => fc.option(fc.nat(limit - 1), { nil: undefined });
  const alarms = fc.record({ hour: part(24), minute: part(60), second: part(60) });
  fc.assert(
    fc.property(fc.nat(86_399), alarms, (now, alarm) => {
      const matches = (second: number) =>
        (alarm.hour ?? Math.floor(second / 3600) % 24) === Math.floor(second / 3600) % 24 &&
        (alarm.minute ?? Math.floor(second / 60) % 60) === Math.floor(second / 60) % 60 &&
        (alarm.second ?? second % 60) === second % 60;
      let expected = 1;
      while (!matches(now + expected)) expected++;
      assertEquals(secondsUntilAlarm(now, alarm), expected);
    }),
    { numRuns: 50 },
  );
});

Deno.test("an alarm at no time of day never goes off", () => {
  assertEquals(secondsUntilAlarm(0, { hour: 24, minute: 0, second: 0 }), undefined);
  assertEquals(secondsUntilAlarm(0, { hour: undefined, minute: 60, second: undefined }), undefined);
  assertEquals(secondsUntilAlarm(0, { hour: undefined, minute: undefined, second: 165 }), undefined);
});
