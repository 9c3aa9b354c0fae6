import { assert, assertEquals } from "@std/assert";
import { describeError, errorChain } from "../src/error_chain.ts";

Deno.test("an error is told with its causes, outermost first", () => {
  const inner = new Error("openat: ENOENT");
  const middle = new Error("cannot open disk.img", { cause: inner });
  assertEquals(
    errorChain(new Error("-drive id=d0", { cause: middle })),
    "-drive id=d0: cannot open disk.img: openat: ENOENT",
  );
});

Deno.test("a cause that the error repeats is told once", () => {
  assertEquals(errorChain(new Error("reading failed: EIO", { cause: new Error("EIO") })), "reading failed: EIO");
});

Deno.test("line breaks do not make a second line", () => {
  assertEquals(errorChain(new Error("one\n  two\r\nthree\n")), "one two three");
});

Deno.test("what a terminal would obey is spelled out", () => {
  assertEquals(errorChain(new Error("\x1b]0;title\x07 \u202egnp.exe")), "\\x1b]0;title\\x07 \\u202egnp.exe");
});

Deno.test("a chain that leads back into itself ends", () => {
  const first = new Error("a");
  first.cause = new Error("b", { cause: first });
  assert(errorChain(first).startsWith("a: b"));
});

Deno.test("what is no error is told as it is", () => {
  assertEquals(errorChain("a string"), "a string");
  assertEquals(errorChain(undefined), "undefined");
  assertEquals(errorChain(new Error("a", { cause: "b" })), "a: b");
});

Deno.test("an error without a message is told by its name", () => {
  assertEquals(errorChain(new TypeError()), "TypeError");
});

Deno.test("a mistake of the program's own is called one", () => {
  assertEquals(describeError(new TypeError("x is not a function")), "internal error: x is not a function");
  assertEquals(describeError(new Error("no such image")), "no such image");
});
