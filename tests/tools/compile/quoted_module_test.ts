import { assertEquals, assertThrows } from "@std/assert";
import { quoteModule } from "../../../tools/compile/quoted_module.ts";

/** Runs a module; what it leaves in `globalThis.outcome` is returned. */
async function outcome(module: string): Promise<unknown> {
  const url = `data:text/javascript,${encodeURIComponent(module)}`;
  await import(url);
  const holder = globalThis as { outcome?: unknown };
  const value = holder.outcome;
  delete holder.outcome;
  return value;
}

Deno.test("A quoted module runs to its end before it counts as loaded", async () => {
  assertEquals(await outcome(quoteModule("const a = await Promise.resolve(7); globalThis.outcome = a;")), 7);
});

Deno.test("A quoted module sees the properties of import.meta", async () => {
  const program = "globalThis.outcome = [typeof import.meta.url, import.meta.main];";
  assertEquals(await outcome(quoteModule(program)), ["string", false]);
});

Deno.test("A quoted module is strict, as modules are", async () => {
  assertEquals(
    await outcome(quoteModule("globalThis.outcome = (function () { return this; })() === undefined;")),
    true,
  );
});

Deno.test("Quotes, backslashes, line breaks and characters beyond ASCII survive quoting", async () => {
  const text = "'\"`\\\n\u2028\u{1f980}${}";
  assertEquals(await outcome(quoteModule(`globalThis.outcome = ${JSON.stringify(text)};`)), text);
});

for (const [what, text] of [["imports", 'import "./a.js";'], ["exports", "export const a = 1;"], ["mistakes", "f(;"]]) {
  Deno.test(`A module with ${what} cannot be quoted`, () => {
    assertThrows(() => quoteModule(text), SyntaxError);
  });
}
