import { assertEquals } from "@std/assert";
import {
  ANSWER_SIZE,
  decodeAnswer,
  encodeAnswer,
  encodeRequest,
  SpawnerAction,
} from "../../src/vmm/spawner_protocol.ts";

Deno.test("a request is an action and a device", () => {
  assertEquals([...encodeRequest(SpawnerAction.EMPTY_ROOT, 29)], [1, 29]);
});

Deno.test("an answer is as it was made, and always as long", () => {
  for (
    const answer of [{ pid: 4_194_303, problem: "", isLocked: false }, {
      pid: 0,
      problem: "drive d0: größer als erlaubt",
      isLocked: true,
    }]
  ) {
    const bytes = encodeAnswer(answer);
    assertEquals([bytes.length, decodeAnswer(bytes)], [ANSWER_SIZE, answer]);
  }
});

Deno.test("of a text that is too long the beginning is sent, in whole characters", () => {
  const { problem } = decodeAnswer(encodeAnswer({ pid: 0, problem: "é".repeat(1000), isLocked: false }));
  assertEquals(problem, "é".repeat(Math.floor((ANSWER_SIZE - 9) / 2)));
});

Deno.test("a length beyond the answer's end is the end", () => {
  const bytes = encodeAnswer({ pid: 0, problem: "x".repeat(ANSWER_SIZE), isLocked: false });
  bytes.fill(0xff, 4, 8);
  assertEquals(decodeAnswer(bytes).problem.length, ANSWER_SIZE - 9);
});
