/**
 * The command line of `splitvm jail`: options of its own, `--`, and the command line of the device process.
 *
 * @module
 */
import { nearest, OptionError, quote } from "../options/option_error.ts";
import { fileArguments, type JailedArguments } from "../options/device_arguments.ts";
import { securityContext } from "../options/property_types.ts";
import type { RemoteConfig } from "../remote/config.ts";
import { type Token, tokenize } from "./arguments.ts";
import { parseCommandLine } from "./command_line.ts";
import type { OptionName } from "./option_table.ts";

/** What a command line of `splitvm jail` asks for. */
export type JailRequest =
  | { readonly kind: "help" }
  /** Nothing was asked for. */
  | { readonly kind: "usage" }
  | ({ readonly kind: "jail" } & JailCommand);

/** A device process to be jailed. */
export interface JailCommand {
  /** Its command line, without what {@linkcode deviceWords} adds. */
  readonly words: readonly string[];
  readonly config: RemoteConfig;
  /** Whether it gives up system calls: `-sandbox`, on if left out. */
  readonly sandbox: boolean;
  /** `-secontext`: what it is to run under. */
  readonly securityContext: string | undefined;
}

/** What `splitvm jail -help` prints. */
export const JAIL_USAGE = `Usage: splitvm jail [options] -- -machine remote ...
Starts a device process in a jail, as a VMM does with its own: its images are opened for it, it inherits
standard streams and the sockets that its options name, and nothing else.

  -secontext <context>  SELinux context or AppArmor profile of the device process
  -help                 prints this
`;

const CONTEXT = /^--?secontext$/;
const HELP = /^--?(help|h|\?)$/;

/** Options of a device process that its jailer takes over, and gives anew. */
const TAKEN_OVER: ReadonlySet<OptionName> = new Set(["add-fd", "run-with", "sandbox"]);

/**
 * Parses what follows `splitvm jail`.
 *
 * @throws {OptionError} when it cannot be carried out.
 */
export function parseJailCommand(argv: readonly string[]): JailRequest {
  if (argv.length === 0) return { kind: "usage" };
  const border = argv.indexOf("--");
  const own = border < 0 ? argv : argv.slice(0, border);
  if (own.some((word) => HELP.test(word))) return { kind: "help" };
  const context = takeContext(own);
  if (border < 0) throw new OptionError("--", "is missing, and the options of a device process behind it");
  return { kind: "jail", ...deviceProcess(argv.slice(border + 1)), securityContext: context };
}

/** The value of the only option that has one. */
function takeContext(words: readonly string[]): string | undefined {
  if (words.length === 0) return undefined;
  const [option, text, ...more] = words;
  if (!CONTEXT.test(option)) throw new OptionError(quote(option), misplaced(option));
  if (text === undefined) throw new OptionError("-secontext", "its argument is missing");
  if (more.length > 0) {
    throw new OptionError(quote(more[0]), CONTEXT.test(more[0]) ? "is given twice" : misplaced(more[0]));
  }
  const context = securityContext.parse(text);
  if (context !== undefined) return context;
  throw new OptionError("-secontext", `${quote(text)} is not accepted; expected ${securityContext.expected}`);
}

function misplaced(word: string): string {
  const known = nearest(word.replace(/^-+/, ""), ["help", "secontext"]);
  return known === undefined ? "expected -- and the options of a device process" : `did you mean '-${known}'?`;
}

function deviceProcess(argv: readonly string[]): Omit<JailCommand, "securityContext"> {
  const command = parseCommandLine(argv);
  if (command.kind !== "remote") throw new OptionError("--", "expected a device process: -machine remote");
  const { config } = command;
  const tokens = [...tokenize(argv)];
  for (const { id, transport } of config.monitors) {
    if (!("path" in transport)) continue;
    const expected = `expected a socket that is open: -chardev socket,id=${id},fd=<fd>`;
    throw new OptionError(`character device ${id}`, `in a jail there is no ${transport.path}; ${expected}`);
  }
  const sandbox = config.sandbox || !tokens.some(({ name }) => name === "sandbox");
  return { words: tokens.filter(({ name }) => !TAKEN_OVER.has(name)).flatMap(wordsOf), config, sandbox };
}

function wordsOf({ name, text }: Token): string[] {
  return text === undefined ? [`-${name}`] : [`-${name}`, text];
}

/**
 * The command line that makes a jailed process what `splitvm jail` was asked for.
 *
 * @param ready The descriptor on which it says that it has all open.
 */
export function deviceWords({ words, sandbox, config }: JailCommand, given: JailedArguments, ready: number): string[] {
  const life = `exit-with-parent=on,ready-fd=${ready},start-error=${config.startError}`;
  return [
    ...words,
    ...["-sandbox", sandbox ? "on" : "off", "-run-with", life],
    ...fileArguments(given),
  ];
}
