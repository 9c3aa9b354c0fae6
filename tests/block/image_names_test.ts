import { assertEquals, assertThrows } from "@std/assert";
import { folderOf, resolveImageName, showName } from "../../src/block/image_names.ts";

Deno.test("a name counts from the folder of the image that has it", () => {
  assertEquals(resolveImageName("base.img", "images/"), "images/base.img");
  assertEquals(resolveImageName("../base.img", "images/"), "images/../base.img");
  assertEquals(resolveImageName("base.img", ""), "base.img");
  assertEquals(resolveImageName("/srv/base.img", "images/"), "/srv/base.img");
});

Deno.test("a name with file: counts from the working directory, as in QEMU", () => {
  assertEquals(resolveImageName("file:base.img", "images/"), "base.img");
  assertEquals(resolveImageName("file:/srv/base.img", "images/"), "/srv/base.img");
});

Deno.test("a colon behind a slash is part of a path", () => {
  assertEquals(resolveImageName("./nbd:x", "images/"), "images/./nbd:x");
});

Deno.test("protocols are refused by name", () => {
  for (const [name, protocol] of [["nbd://host/x", "nbd"], ["http://h/x", "http"], ['json:{"driver":"raw"}', "json"]]) {
    assertThrows(
      () => resolveImageName(name, ""),
      Error,
      `${JSON.stringify(name)} is no file on this host, and the protocol '${protocol}' is not served`,
    );
  }
});

Deno.test("names that no file has are refused", () => {
  for (const name of ["", "file:", "a\0b"]) assertThrows(() => resolveImageName(name, ""));
});

Deno.test("a name is shown on one line, and not beyond all length", () => {
  assertEquals(showName("a\nb"), '"a\\nb"');
  assertEquals(showName("x".repeat(5000)).length, 103);
});

Deno.test("a folder keeps its slash", () => {
  assertEquals(["a/b/c", "c", "/c"].map(folderOf), ["a/b/", "", "/"]);
});
