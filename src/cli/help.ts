/**
 * Help texts, made from the tables that the parser uses.
 *
 * @module
 */
import { type Properties, propertyNames, type PropertySpec, propertySyntax, type Role } from "../options/properties.ts";
import type { HelpTopic } from "./arguments.ts";
import { type OptionArgument, type OptionName, OPTIONS, type OptionSpec, type Section } from "./option_table.ts";

const SPECS: Readonly<Record<OptionName, OptionSpec>> = OPTIONS;

const SECTIONS: readonly Section[] = [
  "Machine",
  "Boot",
  "Devices and drives",
  "Consoles",
  "Information",
  "Without effect",
];

/** What a command line without options is answered with. */
export const USAGE = `Usage: splitvm [-machine q35] [options]     runs a virtual machine
       splitvm -machine remote [options]    serves a device to one
       splitvm jail -- -machine remote ...  does so in a jail
       splitvm img COMMAND ...              makes, checks, converts and resizes disk images
'splitvm -help' lists the options.
`;

/** How an option is written: `-m [size=]<size>[,...]`. */
export function optionSyntax(name: OptionName): string {
  return [`-${name}`, ...argumentSyntax(SPECS[name].argument)].join(" ");
}

function argumentSyntax(argument: OptionArgument): string[] {
  switch (argument.kind) {
    case "flag":
      return [];
    case "value":
      return [argument.type.syntax];
    case "variants":
      return [`[${argument.implied}=]<${argument.implied}>[,<property>=<value>...]`];
    case "properties": {
      const { implied, properties } = argument;
      const more = propertyNames(properties).length > 1;
      if (implied === undefined) return ["<property>=<value>[,<property>=<value>...]"];
      const syntax = propertySyntax(implied, properties[implied] as PropertySpec);
      return [`[${implied}=]${syntax.slice(implied.length + 1)}${more ? "[,<property>=<value>...]" : ""}`];
    }
  }
}

function presence(property: PropertySpec): string {
  if (property.presence === "default") return ` (default: ${property.type.format(property.default)})`;
  return property.presence === "required" ? " (required)" : "";
}

/** One line a property: its syntax, what it is for, and its default. */
function propertyLines(properties: Properties): string[] {
  const rows = propertyNames(properties).map((name) => {
    const property = properties[name] as PropertySpec;
    return [propertySyntax(name, property), `${property.description}${presence(property)}`];
  });
  return columns(rows);
}

/** Rows of two columns, indented; the second begins where the widest but a very wide first one ends. */
function columns(rows: readonly string[][]): string[] {
  const width = Math.min(40, Math.max(0, ...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) =>
    left.length > width ? `  ${left}\n  ${" ".repeat(width)}  ${right}` : `  ${left.padEnd(width)}  ${right}`
  );
}

const ROLE_REMARK: Readonly<Record<Role, string>> = { vmm: "q35 only", remote: "remote only" };

function roleRemark(roles: readonly Role[]): string {
  return roles.length === 1 ? ` [${ROLE_REMARK[roles[0]]}]` : "";
}

function overview(): string {
  const lines = USAGE.trimEnd().split("\n").slice(0, -1);
  for (const section of SECTIONS) {
    lines.push("", `${section}:`);
    for (const name of Object.keys(SPECS) as OptionName[]) {
      if (SPECS[name].section !== section) continue;
      lines.push(`  ${optionSyntax(name)}`, `      ${SPECS[name].description}${roleRemark(SPECS[name].roles)}`);
    }
  }
  lines.push(
    "",
    "Each option may begin with one hyphen or two. ',,' is a comma inside a value. -device help, -device <driver>,help",
    "and so on list what an option takes.",
  );
  return lines.join("\n");
}

function topicText({ option, variant }: HelpTopic): string {
  const { argument, description } = SPECS[option];
  const head = [optionSyntax(option), `  ${description}`];
  if (argument.kind === "properties") return [...head, "", ...propertyLines(argument.properties)].join("\n");
  if (argument.kind !== "variants") return head.join("\n");
  const { variants } = argument;
  if (variant === undefined) {
    const rows = Object.entries(variants).map(([name, { description, roles }]) => [
      name,
      description + (option === "machine" ? "" : roleRemark(roles)),
    ]);
    return [...head, "", ...columns(rows)].join("\n");
  }
  const { description: what, properties, roles, alias } = variants[variant];
  const remark = option === "machine" ? "" : roleRemark(roles);
  const otherName = alias === undefined ? [] : [`  also called ${alias}`];
  return [`-${option} ${variant}: ${what}${remark}`, ...otherName, "", ...propertyLines(properties)].join("\n")
    .trimEnd();
}

/** The help on a topic, or on everything; ends in a line feed. */
export function helpText(topic?: HelpTopic): string {
  return `${topic === undefined ? overview() : topicText(topic)}\n`;
}
