import { assert, assertEquals } from "@std/assert";
import { parseArguments, tokenize } from "../../src/cli/arguments.ts";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { parseJailCommand } from "../../src/cli/jail_command.ts";
import { OPTIONS, type OptionSpec } from "../../src/cli/option_table.ts";
import { type Properties, propertyNames, type PropertySpec, propertySyntax } from "../../src/options/properties.ts";

const usage = await Deno.readTextFile(new URL("../../docs/usage.md", import.meta.url));

/** The text under each heading that is an option's (`### -m`) or a variant's (`#### -device scsi-hd`). */
const sections = new Map(
  usage.split(/^#{2,4} /m).slice(1).map((section) => {
    const end = section.indexOf("\n");
    return [section.slice(0, end), section.slice(end)];
  }),
);

/** What the table of a section says: property syntax → default. */
function documented(section: string): Record<string, string> {
  const rows = section.matchAll(/^\| `([^`]*)`\s*\|(?:[^|\\]|\\.)*\|\s*([^|]*?)\s*\|$/gm);
  return Object.fromEntries([...rows].map(([, syntax, value]) => [syntax.replaceAll("\\|", "|"), value]));
}

/** What it has to say. */
function declared(properties: Properties): Record<string, string> {
  return Object.fromEntries(
    propertyNames(properties).map((name) => {
      const property = properties[name] as PropertySpec;
      const { presence, type } = property;
      const value = presence === "default" ? type.format(property.default) : presence === "required" ? "required" : "–";
      return [propertySyntax(name, property), value];
    }),
  );
}

/** Splits a line as a shell does that knows blanks and single quotes. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ""));
}

/** The fenced blocks of a language. */
const blocks = (language: string) =>
  [...usage.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map((m) => m[1]);

Deno.test("usage.md has every option, and no other", () => {
  const names = Object.keys(OPTIONS).map((name) => `-${name}`);
  const headings = [...sections.keys()].filter((heading) => /^-\S+$/.test(heading));
  assertEquals(headings.toSorted(), names.toSorted());
});

Deno.test("usage.md has every property of every option and device, with syntax and default, and no other", () => {
  for (const [name, { argument }] of Object.entries<OptionSpec>(OPTIONS)) {
    if (argument.kind === "properties") {
      assertEquals(documented(sections.get(`-${name}`)!), declared(argument.properties), `-${name}`);
    }
    if (argument.kind !== "variants") continue;
    for (const [variant, { properties }] of Object.entries(argument.variants)) {
      assertEquals(documented(sections.get(`-${name} ${variant}`) ?? ""), declared(properties), `-${name} ${variant}`);
    }
  }
});

Deno.test("usage.md has every alias", () => {
  for (const { aliases = [] } of Object.values<OptionSpec>(OPTIONS)) {
    for (const alias of aliases) assert(usage.includes(`\`-${alias}\``), alias);
  }
  for (const name of ["x-remote", "x-remote-object", "x-pci-proxy-dev"]) assert(usage.includes(`\`${name}\``), name);
});

Deno.test("the command lines of usage.md are accepted", () => {
  const lines = blocks("sh").flatMap((block) => block.replaceAll("\\\n", "").split("\n")).filter((line) => line !== "");
  assert(lines.length >= 5);
  for (const line of lines) {
    const [program, ...argv] = shellWords(line);
    assertEquals(program, "splitvm");
    if (argv[0] === "jail") parseJailCommand(argv.slice(1));
    else parseCommandLine(argv);
  }
});

Deno.test("the examples of usage.md's options are accepted", () => {
  for (const section of sections.values()) {
    const role = section.includes("Device process only.") ? "remote" : "vmm";
    for (const [, line] of section.matchAll(/^Examples?: (.*)$/gm)) {
      for (const [, example] of line.matchAll(/`([^`]+)`/g)) parseArguments([...tokenize(shellWords(example))], role);
    }
  }
});

Deno.test("links inside usage.md lead somewhere", () => {
  const anchors = [...usage.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading.toLowerCase().replaceAll(" ", "-"));
  for (const [, anchor] of usage.matchAll(/\]\(#([^)]*)\)/g)) assert(anchors.includes(anchor), anchor);
});
