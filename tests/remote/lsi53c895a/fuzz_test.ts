/** Whatever a guest does, no call throws, and none executes more than a slice of SCRIPTS. */
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import { runs } from "../../support/runs.ts";
import { act, dword, instruction, reply, stage } from "./guest_acts.ts";

/** Instructions that one call may execute. */
const SLICE = 10_000;

Deno.test("no sequence of accesses throws, and each ends after a bounded number of instructions", () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 30 }), fc.array(reply, { minLength: 1, maxLength: 6 }), (acts, replies) => {
      const { bench, late } = stage(replies);
      let timerCalls = 0;
      const advance = bench.clock.step.bind(bench.clock);
      bench.clock.step = () => {
        timerCalls++;
        advance();
      };
      for (const one of acts) {
        timerCalls = 0;
        const before = bench.device.instructionsExecuted;
        one(bench);
        late.shift()?.();
        const calls = 64 + timerCalls;
        assertEquals(bench.device.instructionsExecuted - before <= calls * SLICE, true);
      }
      bench.device.close();
      assertEquals(bench.clock.next, undefined);
    }),
    { numRuns: runs(200, 1000) },
  );
});

Deno.test("one register write executes at most a slice", () => {
  fc.assert(
    fc.property(fc.array(instruction, { minLength: 1, maxLength: 40 }), dword, (program, dsa) => {
      const { bench } = stage([(request) => request.offer([1, 2, 3]), (request) => request.end()]);
      bench.write32(Reg.DSA, dsa & 0x3fff);
      const at = bench.load(program);
      const before = bench.device.instructionsExecuted;
      bench.start(at);
      assertEquals(bench.device.instructionsExecuted - before <= SLICE, true);
    }),
    { numRuns: runs(300, 2000) },
  );
});
