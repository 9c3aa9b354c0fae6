import { assertEquals } from "@std/assert";
import { atLeast, atMost, missedGoals, missedGoalsText, shortfall, verdict } from "../../bench/goals.ts";

Deno.test("a goal is missed by a part of its bound, in the direction that counts", () => {
  assertEquals(shortfall(1.5, atMost(1)), 0.5);
  assertEquals(shortfall(0.9, atMost(1)), 0);
  assertEquals(shortfall(1.5, atLeast(2)), 0.25);
  assertEquals(shortfall(2.5, atLeast(2)), 0);
});

Deno.test("a goal is met at its bound", () => {
  assertEquals([shortfall(2, atMost(2)), shortfall(2, atLeast(2))], [0, 0]);
});

Deno.test("a verdict has the goal, and whether it is met", () => {
  assertEquals(verdict(1.1, atMost(1.15)), "≤ 1.15: met");
  assertEquals(verdict(2.3, atMost(1.15)), "≤ 1.15: missed by 100%");
  assertEquals(verdict(1, atLeast(2)), "≥ 2: missed by 50%");
});

Deno.test("what is missed by a hair is missed", () => {
  assertEquals(verdict(1.001, atMost(1)), "≤ 1: missed by less than 1%");
});

Deno.test("without a figure there is no judgement, and without a goal there is nothing to judge", () => {
  assertEquals(verdict(undefined, atMost(1)), "≤ 1");
  assertEquals(verdict(5, undefined), "–");
});

Deno.test("each goal that is missed is named with by how much, and no other", () => {
  const judged = [
    { name: "load", figure: 2, goal: atMost(1) },
    { name: "store", figure: 1, goal: atMost(1) },
    { name: "reset", figure: 9, goal: undefined },
    { name: "config", figure: undefined, goal: atMost(1) },
  ];
  assertEquals(missedGoals(judged), ["load: 2.00, where the goal is at most 1; missed by 100%."]);
  assertEquals(missedGoalsText(judged), `Goals that are missed:\n\n- ${missedGoals(judged)[0]}`);
  assertEquals(missedGoalsText(judged.slice(1)), "No goal is missed.");
  assertEquals(missedGoalsText(judged.slice(2)), "No goal was measured.");
});
