import { assertEquals, assertThrows } from "@std/assert";
import { parseImgArguments } from "../../src/img/arguments.ts";
import { OptionError } from "../../src/options/option_error.ts";

/** Parses a command line that asks for no help. */
function parse(...argv: string[]) {
  const request = parseImgArguments(argv);
  if (request.kind !== "command") throw new Error("asks for help");
  const options = request.args.options as Readonly<Record<string, unknown>>;
  return { name: request.name, options, positionals: request.args.positionals as readonly unknown[] };
}

function refuses(argv: string[], message: string): void {
  assertEquals(assertThrows(() => parseImgArguments(argv), OptionError).message, message);
}

Deno.test("options and operands may stand in any order", () => {
  for (const argv of [["a.img", "1G", "-f", "qcow2", "-q"], ["-q", "-f", "qcow2", "a.img", "1G"]]) {
    const { name, options, positionals } = parse("create", ...argv);
    assertEquals([name, options.f, options.q, positionals], ["create", "qcow2", true, ["a.img", 2 ** 30]]);
  }
});

Deno.test("a value may follow its letter directly, and flags may be written together", () => {
  const { options } = parse("convert", "-pcOqcow2", "-S64k", "-ocompat=1.1,cluster_size=4k", "a", "b");
  assertEquals([options.p, options.c, options.O, options.S], [true, true, "qcow2", 65536]);
  assertEquals(options.o, "compat=1.1,cluster_size=4k");
});

Deno.test("a long option's value stands behind '=' or by itself", () => {
  assertEquals(parse("info", "--output=json", "a").options.output, "json");
  assertEquals(parse("info", "--output", "json", "a").options.output, "json");
});

Deno.test("options that are left out have their defaults", () => {
  const { options } = parse("convert", "a", "b");
  assertEquals([options.O, options.S, options.m, options.f, options.c], ["raw", 4096, 8, undefined, false]);
});

Deno.test("-o may be given several times, as the parts of one list", () => {
  assertEquals(parse("create", "-o", "a=1", "-o", "b=2", "x").options.o, "a=1,b=2");
});

Deno.test("what follows -- is no option", () => {
  assertEquals(parse("info", "--", "--help").positionals, ["--help"]);
  assertEquals(parse("info", "-U", "--", "-Uf").positionals, ["-Uf"]);
});

Deno.test("sizes and names that look like numbers stay what they are", () => {
  assertEquals(parse("create", "0x10", "1.5k").positionals, ["0x10", 1536]);
});

Deno.test("resize takes a size that begins with a sign", () => {
  const change = (size: string) => parse("resize", "a", size).positionals[1];
  assertEquals(change("20G"), { relation: "=", bytes: 20 * 2 ** 30 });
  assertEquals(change("+512"), { relation: "+", bytes: 512 });
  assertEquals(change("-1.5M"), { relation: "-", bytes: 1.5 * 2 ** 20 });
  assertEquals(parse("resize", "--shrink", "a", "-1M").options.shrink, true);
  assertEquals(parse("resize", "a", "--", "-1M").positionals[1], { relation: "-", bytes: 2 ** 20 });
});

Deno.test("--help asks for help on a command, and on all", () => {
  assertEquals(parseImgArguments(["create", "--help"]), { kind: "help", command: "create" });
  assertEquals(parseImgArguments(["info", "-h", "--nonsense"]), { kind: "help", command: "info" });
  for (const argv of [[], ["--help"], ["-h"]]) {
    assertEquals(parseImgArguments(argv), { kind: "help", command: undefined });
  }
});

Deno.test("mistakes are answered with what was expected", () => {
  refuses(["crate"], "'crate': unknown command; did you mean 'create'?");
  refuses(["info", "--outptu=json", "a"], "info: unknown option '--outptu=json'; did you mean '--output'?");
  refuses(["info", "-x", "a"], "info: unknown option '-x'; 'splitvm img info --help' lists them");
  for (const word of ["-_", "--_", "--_=x", "-_=x", "-p_"]) {
    refuses(["convert", word, "a", "b"], `convert: unknown option '${word}'; 'splitvm img convert --help' lists them`);
  }
  refuses(["create", "-f", "qcow3", "a"], "create -f: 'qcow3' is not accepted; expected raw or qcow2");
  refuses(["create", "-f"], "create -f: its argument is missing");
  refuses(["create", "-f", "raw", "-fqcow2", "a"], "create -f: is given twice");
  refuses(["create", "a", "1Q"], "create SIZE: '1Q' is not accepted; expected a size such as 512M, 20G or 1.5T");
  refuses(["create", "a", "-1"], "create: unknown option '-1'; 'splitvm img create --help' lists them");
  refuses(["info"], "info: FILE is missing; 'splitvm img info --help' explains it");
  refuses(["info", "a", "b"], "info: 'b' is one argument too many");
});

Deno.test("what qemu-img has and splitvm has not is refused by name", () => {
  refuses(
    ["convert", "--salvage", "a", "b"],
    "convert --salvage: is not supported: a source that cannot be read ends the conversion",
  );
  refuses(["info", "--image-opts", "driver=raw"], "info --image-opts: is not supported: expected the path of an image");
});

Deno.test("names of JavaScript's own properties are no options and no commands", () => {
  for (const name of ["__proto__", "constructor", "toString"]) {
    assertThrows(() => parseImgArguments(["info", `--${name}=x`, "a"]), OptionError, "unknown option");
    assertThrows(() => parseImgArguments([name]), OptionError, "unknown command");
  }
});
