import { assert, assertEquals } from "@std/assert";
import { parseImgArguments } from "../../src/img/arguments.ts";
import { type CommandName, COMMANDS, type CommandSpec } from "../../src/img/command_table.ts";
import { FORMAT_OPTIONS } from "../../src/img/format_options.ts";
import { formatHelp, imgHelp, imgOptionSyntax } from "../../src/img/help.ts";
import { type Properties, propertyNames, type PropertySpec, propertySyntax } from "../../src/options/properties.ts";

const document = await Deno.readTextFile(new URL("../../docs/img.md", import.meta.url));

/** The text under each heading. */
const sections = new Map(
  document.split(/^#{2,3} /m).slice(1).map((section) => {
    const end = section.indexOf("\n");
    return [section.slice(0, end), section.slice(end)];
  }),
);

/** The first column of the tables in a section whose rows begin with an option. */
function documented(heading: string, begin: RegExp): string[] {
  const rows = sections.get(heading)!.matchAll(/^\| `((?:[^`])*)`\s*\|/gm);
  return [...rows].map(([, syntax]) => syntax.replaceAll("\\|", "|")).filter((syntax) => begin.test(syntax)).sort();
}

const commands = Object.entries(COMMANDS) as unknown as [CommandName, CommandSpec][];
const specOf = (properties: Properties, name: string) => properties[name] as PropertySpec;

Deno.test("the list of commands has all of them", () => {
  const help = imgHelp();
  for (const [name, { description }] of commands) {
    assert(help.split("\n").some((line) => line.trim().startsWith(name) && line.endsWith(description)), name);
  }
});

Deno.test("a command's help has each of its options, and fits a terminal", () => {
  for (const [name, { options, positionals }] of commands) {
    const lines = imgHelp(name).split("\n");
    for (const positional of positionals) assert(lines[0].includes(positional.name), name);
    for (const option of propertyNames(options)) {
      const syntax = imgOptionSyntax(option, specOf(options, option));
      assert(lines.some((line) => line.startsWith(`  ${syntax}`)), `${name} ${syntax}`);
    }
    for (const line of lines) assert(line.length <= 132, line);
  }
});

Deno.test("img.md has every option of every command, and no other", () => {
  for (const [name, { options }] of commands) {
    const declared = propertyNames(options).map((option) => {
      const syntax = imgOptionSyntax(option, specOf(options, option));
      return syntax.replace(/<.*>|writeback\|.*/, (value) => value.startsWith("writeback") ? "<cache>" : value);
    });
    assertEquals(documented(name, /^-/), declared.sort(), name);
  }
});

Deno.test("img.md has every option of every format, and no other", () => {
  for (const [format, options] of Object.entries<Properties>(FORMAT_OPTIONS)) {
    const declared = propertyNames(options).map((name) => propertySyntax(name, specOf(options, name)));
    assertEquals(documented(`Options of ${format}`, /=/), declared.sort(), format);
    for (const syntax of declared) assert(formatHelp(format, options).includes(syntax), syntax);
  }
});

Deno.test("the command lines of img.md are accepted", () => {
  const blocks = [...document.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block);
  const lines = blocks.flatMap((block) => block.trimEnd().split("\n"));
  assert(lines.length >= 5);
  for (const line of lines) {
    const [program, command, ...argv] = line.split(" ");
    assertEquals([program, command], ["splitvm", "img"]);
    assertEquals(parseImgArguments(argv).kind, "command");
  }
});
