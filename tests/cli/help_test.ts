import { assert, assertEquals } from "@std/assert";
import { helpText, optionSyntax, USAGE } from "../../src/cli/help.ts";
import { type OptionName, OPTIONS, type OptionSpec } from "../../src/cli/option_table.ts";
import { propertyNames } from "../../src/options/properties.ts";

const options = Object.entries<OptionSpec>(OPTIONS) as [OptionName, OptionSpec][];

Deno.test("-help lists every option", () => {
  const lines = helpText().split("\n");
  for (const [name] of options) assert(lines.includes(`  ${optionSyntax(name)}`), name);
});

Deno.test("the help of an option lists its properties, and those of a variant the variant's", () => {
  for (const [option, { argument }] of options) {
    if (argument.kind === "properties") {
      const text = helpText({ option });
      for (const name of propertyNames(argument.properties)) {
        assert(text.includes(`\n  ${name}=`), `-${option} ${name}`);
      }
    }
    if (argument.kind !== "variants") continue;
    for (const [variant, { properties }] of Object.entries(argument.variants)) {
      assert(helpText({ option }).includes(`\n  ${variant} `), `-${option} ${variant}`);
      const text = helpText({ option, variant });
      for (const name of propertyNames(properties)) {
        assert(text.includes(`\n  ${name}=`), `-${option} ${variant} ${name}`);
      }
    }
  }
});

Deno.test("the help of -chardev names every option that one can be for", () => {
  const [, description] = helpText({ option: "chardev" }).split("\n");
  const users = options.filter(([, { argument }]) =>
    argument.kind === "value" && argument.type.syntax.includes("chardev:")
  );
  assertEquals(users.map(([name]) => name), ["serial", "debugcon", "qmp", "monitor"]);
  for (const name of [...users.map(([name]) => name), "mon"]) assert(new RegExp(`-${name}\\b`).test(description), name);
});

Deno.test("help tells what is required and what defaults are", () => {
  const text = helpText({ option: "device", variant: "scsi-hd" });
  assert(text.includes("id of the -drive that holds the data (required)"));
  assert(text.includes("unit number (default: 0)"));
});

Deno.test("help tells the other name of a device and the role that it is for", () => {
  const lines = helpText({ option: "device", variant: "pci-proxy-dev" }).split("\n");
  assertEquals(lines.slice(0, 2), [
    "-device pci-proxy-dev: PCI device in another process, behind a socket [q35 only]",
    "  also called x-pci-proxy-dev",
  ]);
});

Deno.test("help does not speak of properties that are refused", () => {
  assert(!helpText({ option: "m" }).includes("slots"));
});

Deno.test("help is made of lines that fit a wide terminal, and ends in one line feed", () => {
  const texts = [helpText(), USAGE];
  for (const [option, { argument }] of options) {
    texts.push(helpText({ option }));
    if (argument.kind !== "variants") continue;
    for (const variant of Object.keys(argument.variants)) texts.push(helpText({ option, variant }));
  }
  for (const text of texts) {
    assert(/[^\n]\n$/.test(text));
    for (const line of text.split("\n")) assert(line.length <= 120, line);
  }
});

Deno.test("syntax shows what can be left out", () => {
  assertEquals(optionSyntax("m"), "-m [size=]<size>");
  assertEquals(optionSyntax("boot"), "-boot [order=]<letters>[,<property>=<value>...]");
  assertEquals(optionSyntax("device"), "-device [driver=]<driver>[,<property>=<value>...]");
  assertEquals(optionSyntax("nographic"), "-nographic");
});
