import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { permissionFlags, readPermissionSet } from "../../../tools/compile/permissions.ts";

Deno.test("A permission that is granted as a whole is a flag without names", () => {
  assertEquals(permissionFlags({ read: true, ffi: true, net: false }), ["--allow-read", "--allow-ffi"]);
});

Deno.test("A permission for named things is a flag that lists them", () => {
  assertEquals(permissionFlags({ env: ["A", "B"], read: ["/etc"] }), ["--allow-env=A,B", "--allow-read=/etc"]);
});

Deno.test("An empty list grants nothing, rather than everything", () => {
  assertEquals(permissionFlags({ env: [] }), []);
});

Deno.test("Allowing and denying rules become a flag each", () => {
  assertEquals(permissionFlags({ read: { allow: true, deny: ["/etc"] } }), ["--allow-read", "--deny-read=/etc"]);
});

for (
  const [what, set, message] of [
    ["all permissions at once", { all: true }, '"all"'],
    ["a permission that Deno does not have", { reed: true }, '"reed"'],
    ["a name with a comma, which flags cannot hold", { env: ["A,B"] }, "--allow-env"],
    ["a grant that is no list of names", { env: "A" }, "--allow-env"],
    ["a rule that flags cannot say", { env: { ignore: ["A"] } }, "ignore"],
    ["a path that depends on the working directory", { read: ["images"] }, "absolute"],
  ] as const
) {
  Deno.test(`permissionFlags refuses ${what}`, () => {
    assertThrows(() => permissionFlags(set), TypeError, message);
  });
}

Deno.test("readPermissionSet says which set is missing where", async () => {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, '{ "permissions": { "other": {} } }');
    await assertRejects(() => readPermissionSet(path, "splitvm"), Error, `${path} has no permission set "splitvm"`);
  } finally {
    await Deno.remove(path);
  }
});
