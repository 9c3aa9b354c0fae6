import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { isEqual, isZero, runs } from "../../src/block/zeroes.ts";

/** A view of `length` bytes that begins `lead` bytes into its buffer. */
function view(lead: number, length: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(lead + length), lead, length);
}

Deno.test("bytes are zero where each of them is, at any place and of any length", () => {
  fc.assert(fc.property(fc.nat(9), fc.nat(100), fc.option(fc.nat(99)), (lead, length, at) => {
    const bytes = view(lead, length);
    if (at !== null && at < length) bytes[at] = 0x80;
    assertEquals(isZero(bytes), !(at !== null && at < length));
  }));
});

Deno.test("bytes are equal where each of them is, at any place and of any length", () => {
  fc.assert(fc.property(fc.nat(9), fc.nat(9), fc.nat(100), fc.nat(99), (leadA, leadB, length, at) => {
    const [a, b] = [view(leadA, length), view(leadB, length)];
    if (at < length) b[at] = 1;
    assertEquals(isEqual(a, b), at >= length);
  }));
});

Deno.test("runs cover a range without gaps, and neighbours differ", () => {
  fc.assert(fc.property(fc.array(fc.boolean(), { maxLength: 40 }), fc.nat(511), (granules, cut) => {
    const length = Math.max(0, granules.length * 512 - cut);
    const found = [...runs(length, 512, (start) => granules[start / 512])];
    let end = 0;
    found.forEach((run, i) => {
      assertEquals(run.start, end);
      if (i > 0) assertEquals(run.same, !found[i - 1].same);
      for (let at = run.start; at < run.end; at += 512) assertEquals(granules[at / 512], run.same);
      end = run.end;
    });
    assertEquals(end, length);
  }));
});
