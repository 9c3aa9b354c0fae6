/**
 * Makes a bundled module into the body of a function.
 *
 * Deno runs a module that is imported from a file without an extension only after a detour through its TypeScript
 * compiler, and takes a fifth of a second for it. A text it imports at once, and V8 compiles a text as fast as a
 * module.
 *
 * @module
 */

/** `Function`, for functions in which `await` may stand as it may at the top level of a module. */
const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/** The function's parameter: what stands for `import.meta`, which is a module's privilege. */
export const META_PARAMETER = "importMeta";

/** The statement at a bundle's end, of names and names with new ones: `export{a as run,b};`. */
const EXPORTS = /\bexport\s*\{([^{}]*)\}\s*;?\s*$/;

function returnExports(_statement: string, list: string): string {
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "");
  const properties = names.map((name) => {
    const [own, exported = own] = name.split(/\s+as\s+/);
    return `${exported}:${own}`;
  });
  return `return{${properties.join(",")}};\n`;
}

/**
 * The body of an asynchronous function that does what a module does, and returns what that exports.
 *
 * @param text A module without imports whose exports, if any, are one statement at its end, as bundles are.
 * @param name The name by which stack traces call the code.
 * @throws {SyntaxError} if it is not one.
 */
export function functionBody(text: string, name: string): string {
  const inner = text.replaceAll(/\bimport\.meta\b/g, META_PARAMETER).replace(EXPORTS, returnExports);
  const body = `"use strict";${inner}\n//# sourceURL=${name}\n`;
  new AsyncFunction(META_PARAMETER, body);
  return body;
}
