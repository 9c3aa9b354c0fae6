import { assertEquals, assertThrows } from "@std/assert";
import { functionBody, META_PARAMETER } from "../../../tools/compile/function_body.ts";

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/** Runs a module in its form as a function. */
const run = (module: string, meta: unknown = {}) =>
  new AsyncFunction(META_PARAMETER, functionBody(module, "test.js"))(meta) as Promise<Record<string, unknown>>;

Deno.test("the function returns what the module exports, under its names there", async () => {
  assertEquals(await run("const a = 1, b = 2; export { a as first, b };"), { first: 1, b: 2 });
  assertEquals(await run("var a=1;export{a as first};\n"), { first: 1 });
});

Deno.test("a module without exports returns nothing", async () => {
  assertEquals(await run("globalThis.outcome;"), undefined as unknown as Record<string, unknown>);
});

Deno.test("await may stand at a module's top level", async () => {
  assertEquals(await run("const a = await Promise.resolve(7); export { a };"), { a: 7 });
});

Deno.test("import.meta is what the function is given", async () => {
  assertEquals(await run("const { url } = import.meta; export { url };", { url: "file:///a" }), { url: "file:///a" });
});

Deno.test("the function is strict, as modules are", async () => {
  assertEquals(await run("const strict = (function () { return this === undefined; })(); export { strict };"), {
    strict: true,
  });
});

Deno.test("stack traces call the code by its name", async () => {
  const { stack } = await run("const { stack } = new Error(); export { stack };");
  assertEquals(/\(test\.js/.test(`${stack}`), true);
});

for (
  const [what, text] of [["imports", 'import "./a.js";'], ["exports within", "export const a = 1;"], [
    "mistakes",
    "f(;",
  ]]
) {
  Deno.test(`a module with ${what} cannot be a function`, () => {
    assertThrows(() => functionBody(text, "test.js"), SyntaxError);
  });
}
