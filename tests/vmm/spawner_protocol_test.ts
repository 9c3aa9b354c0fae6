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
  for (const answer of [{ pid: 4_194_303, problem: "" }, { pid: 0, problem: "drive d0: größer als erlaubt" }]) {
    const bytes = encodeAnswer(answer);
    assertEquals([bytes.length, decodeAnswer(bytes)], [ANSWER_SIZE, answer]);
  }
});

Deno.test("of a text that is too long the beginning is sent, in whole characters", () => {
  const { problem } = decodeAnswer(encodeAnswer({ pid: 0, problem: "é".repeat(1000) }));
  assertEquals(problem, "é".repeat((ANSWER_SIZE - 8) / 2));
});

Deno.test("a length beyond the answer's end is the end", () => {
  const bytes = encodeAnswer({ pid: 0, problem: "x".repeat(ANSWER_SIZE) });
  bytes.fill(0xff, 4, 8);
  assertEquals(decodeAnswer(bytes).problem.length, ANSWER_SIZE - 8);
});
