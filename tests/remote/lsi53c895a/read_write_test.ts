import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { operate } from "../../../src/remote/lsi53c895a/alu.ts";
import { Ctest2, Istat0, Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { Bench } from "./harness.ts";
import * as S from "./scripts_words.ts";

const { Alu } = S;

/** Runs instructions on SCRATCHA = `before` and returns SCRATCHA's low byte, SFBR and the carry afterwards. */
function compute(before: number, ...program: number[][]): { scratch: number; sfbr: number; carry: boolean } {
  const bench = new Bench();
  bench.write32(Reg.SCRATCHA, before);
  bench.run([...program, S.int(1, S.ifCarry()), S.int(0)]);
  return {
    scratch: bench.read8(Reg.SCRATCHA),
    sfbr: bench.read8(Reg.SFBR),
    carry: bench.read32(Reg.DSPS) === 1,
  };
}

Deno.test("a move puts the instruction's byte into register or SFBR", () => {
  assertEquals(compute(0, S.modify(Reg.SCRATCHA, Alu.MOVE, 0x5a)).scratch, 0x5a);
  assertEquals(compute(0, S.registerToSfbr(Reg.SCRATCHA, Alu.MOVE, 0xa5)).sfbr, 0xa5);
  assertEquals(compute(0, S.sfbrToRegister(Reg.SCRATCHA, Alu.MOVE, 0x77)).scratch, 0x77);
});

Deno.test("OR, XOR and AND take either operand's bits and leave the carry alone", () => {
  assertEquals(compute(0x0f, S.set(S.CARRY), S.modify(Reg.SCRATCHA, Alu.OR, 0xf0)), {
    scratch: 0xff,
    sfbr: 0,
    carry: true,
  });
  assertEquals(compute(0xff, S.modify(Reg.SCRATCHA, Alu.XOR, 0x0f)).scratch, 0xf0);
  assertEquals(compute(0x3c, S.modify(Reg.SCRATCHA, Alu.AND, 0x0f)).scratch, 0x0c);
});

Deno.test("shifts rotate through the carry", () => {
  assertEquals(compute(0x81, S.modify(Reg.SCRATCHA, Alu.SHL)), { scratch: 0x02, sfbr: 0, carry: true });
  assertEquals(compute(0x40, S.set(S.CARRY), S.modify(Reg.SCRATCHA, Alu.SHL)), {
    scratch: 0x81,
    sfbr: 0,
    carry: false,
  });
  assertEquals(compute(0x01, S.modify(Reg.SCRATCHA, Alu.SHR)), { scratch: 0x00, sfbr: 0, carry: true });
  assertEquals(compute(0x02, S.set(S.CARRY), S.modify(Reg.SCRATCHA, Alu.SHR)), {
    scratch: 0x81,
    sfbr: 0,
    carry: false,
  });
});

Deno.test("additions set the carry, and only ADC adds it", () => {
  assertEquals(compute(0xff, S.set(S.CARRY), S.modify(Reg.SCRATCHA, Alu.ADD, 0x01)), {
    scratch: 0x00,
    sfbr: 0,
    carry: true,
  });
  assertEquals(compute(0xff, S.set(S.CARRY), S.modify(Reg.SCRATCHA, Alu.ADC, 0xff)), {
    scratch: 0xff,
    sfbr: 0,
    carry: true,
  });
  assertEquals(compute(0x10, S.clear(S.CARRY), S.modify(Reg.SCRATCHA, Alu.ADC, 0x01)), {
    scratch: 0x11,
    sfbr: 0,
    carry: false,
  });
});

Deno.test("ADD and ADC count over 24 bits as drivers do", () => {
  const bench = new Bench();
  bench.write32(Reg.SCRATCHA, 0x0000ffff);
  bench.run([
    S.modify(Reg.SCRATCHA, Alu.ADD, 1),
    S.modify(Reg.SCRATCHA + 1, Alu.ADC, 0),
    S.modify(Reg.SCRATCHA + 2, Alu.ADC, 0),
    S.int(0),
  ]);
  assertEquals(bench.read32(Reg.SCRATCHA), 0x00010000);
});

Deno.test("SFBR goes to a register and a register to SFBR through the ALU", () => {
  assertEquals(
    compute(0x12, S.registerToSfbr(Reg.SCRATCHA, Alu.OR, 0), S.sfbrToRegister(Reg.SCRATCHA, Alu.ADD, 1)),
    { scratch: 0x13, sfbr: 0x12, carry: false },
  );
});

Deno.test("a read-modify-write takes SFBR for its data when told so", () => {
  const { scratch } = compute(
    0x11,
    S.registerToSfbr(Reg.SCRATCHA, Alu.MOVE, 0x22),
    S.modify(Reg.SCRATCHA, Alu.ADD, 0x99, { useSfbr: true }),
  );
  assertEquals(scratch, 0x33);
});

Deno.test("registers above 0x7f are reached through bit 7", () => {
  const bench = new Bench();
  bench.run([S.modify(Reg.CSBC, Alu.MOVE, 0x42), S.int(0)]);
  assertEquals(bench.read8(Reg.CSBC), 0x42);
});

Deno.test("reading a register from SCRIPTS has its side effects, writing keeps its mask", () => {
  const bench = new Bench();
  bench.write8(Reg.ISTAT0, Istat0.SIGP);
  bench.run([S.registerToSfbr(Reg.CTEST2, Alu.OR, 0), S.modify(Reg.SSID, Alu.MOVE, 0xff), S.int(0)]);
  assertEquals(bench.read8(Reg.SFBR) & Ctest2.SIGP, Ctest2.SIGP);
  assertEquals(bench.read8(Reg.ISTAT0) & Istat0.SIGP, 0);
  assertEquals(bench.read8(Reg.SSID), 0);
});

Deno.test("SCRIPTS set the semaphore bit of ISTAT0", () => {
  const bench = new Bench();
  bench.run([S.modify(Reg.ISTAT0, Alu.OR, Istat0.SEM), S.int(0)]);
  assertEquals(bench.read8(Reg.ISTAT0) & Istat0.SEM, Istat0.SEM);
});

Deno.test("every operation gives eight bits and a carry", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 7 }), byte, byte, fc.integer({ min: 0, max: 1 }), (operator, ...args) => {
      const result = operate(operator, ...args);
      return Number.isInteger(result) && result >= 0 && result <= 0x1ff;
    }),
  );
});

Deno.test("shifting left and then right gives the byte and the carry back", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  fc.assert(fc.property(byte, fc.integer({ min: 0, max: 1 }), (value, carry) => {
    const left = operate(Alu.SHL, value, 0, carry);
    return operate(Alu.SHR, left & 0xff, 0, left >> 8) === (value | (carry << 8));
  }));
});
