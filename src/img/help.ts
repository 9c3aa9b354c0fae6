/**
 * Help texts, made from the table that the parser uses.
 *
 * @module
 */
import { type Properties, propertyNames, type PropertySpec, propertySyntax } from "../options/properties.ts";
import { spelled } from "./arguments.ts";
import { type CommandName, COMMANDS, type CommandSpec, flag } from "./command_table.ts";

const SPECS: Readonly<Record<CommandName, CommandSpec>> = COMMANDS;

/** Rows of two columns, indented; a wide first one has a line of its own. */
function columns(rows: readonly (readonly [string, string])[], most: number): string[] {
  const width = Math.min(most, Math.max(0, ...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) =>
    left.length > width ? `  ${left}\n  ${" ".repeat(width)}  ${right}` : `  ${left.padEnd(width)}  ${right}`
  );
}

/** How an option is written: `-f raw|qcow2`, `--output=human|json`. */
export function imgOptionSyntax(name: string, { type }: PropertySpec): string {
  if (type === flag) return spelled(name);
  return `${spelled(name)}${name.length === 1 ? " " : "="}${type.syntax}`;
}

function description({ type, description, ...property }: PropertySpec): string {
  if (property.presence !== "default" || type === flag) return description;
  return `${description} (default: ${type.format(property.default)})`;
}

/** How a sub-command is written: `create [options] FILE [SIZE]`. */
function usage(name: CommandName): string {
  const operands = SPECS[name].positionals.map(({ name, optional }) => optional ? `[${name}]` : name);
  return ["splitvm img", name, "[options]", ...operands].join(" ");
}

function overview(): string {
  const names = Object.keys(SPECS) as CommandName[];
  return [
    "Usage: splitvm img COMMAND [options] FILE...",
    "",
    ...columns(names.map((name) => [name, SPECS[name].description] as const), 20),
    "",
    "'splitvm img COMMAND --help' lists a command's options. They are those of qemu-img.",
  ].join("\n");
}

/** The help on a sub-command, or on all of them; ends in a line feed. */
export function imgHelp(command?: CommandName): string {
  if (command === undefined) return `${overview()}\n`;
  const { description: what, options, remarks = [] } = SPECS[command];
  const rows = propertyNames(options).map((name) => {
    const property = options[name] as PropertySpec;
    return [imgOptionSyntax(name, property), description(property)] as const;
  });
  const lines = [`Usage: ${usage(command)}`, `  ${what}`, "", ...columns(rows, 28)];
  if (remarks.length > 0) lines.push("", ...remarks);
  return `${lines.join("\n")}\n`;
}

/** The help on the options of a format (`-o help`); ends in a line feed. */
export function formatHelp(format: string, options: Properties): string {
  const rows = propertyNames(options).map((name) => {
    const property = options[name] as PropertySpec;
    return [propertySyntax(name, property), description(property)] as const;
  });
  return [`Options of ${format}:`, ...columns(rows, 40), ""].join("\n");
}
