import { assertEquals } from "@std/assert";
import { hideCachePath } from "../../../tools/compile/bundle.ts";

Deno.test("hideCachePath replaces the cache's path in comments that name files", () => {
  assertEquals(
    hideCachePath("// ../../home/x/.cache/deno/npm/registry.example/std/1.4.0/text/a.js\nf();\n"),
    "// npm:std/1.4.0/text/a.js\nf();\n",
  );
});

Deno.test("hideCachePath replaces the cache's path in the keys of wrapped modules", () => {
  assertEquals(
    hideCachePath('var a = __esm({\n  "../cache/npm/registry.example/@scope/name/2.0.1-rc.1/a.js"() {\n'),
    'var a = __esm({\n  "npm:@scope/name/2.0.1-rc.1/a.js"() {\n',
  );
});

Deno.test("hideCachePath leaves the project's own files and code alone", () => {
  const text = '// src/npm/a.ts\nconst path = "/npm/registry.example/std/1.4.0/a.js";\n';
  assertEquals(hideCachePath(text), text);
});
