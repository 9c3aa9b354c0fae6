/**
 * The command line: from `Deno.args` to what is to be done.
 *
 * @module
 */
import type { RemoteConfig } from "../remote/config.ts";
import type { VmmConfig } from "../vmm/config.ts";
import { type HelpTopic, helpTopic, parseArguments, roleOf, type Token, tokenize } from "./arguments.ts";
import { remoteConfig } from "./remote_config.ts";
import { vmmConfig } from "./vmm_config.ts";

/** What a command line asks for. */
export type Command =
  | { readonly kind: "vmm"; readonly config: VmmConfig }
  | { readonly kind: "remote"; readonly config: RemoteConfig }
  /** Help on a topic, or on everything. */
  | { readonly kind: "help"; readonly topic: HelpTopic | undefined }
  | { readonly kind: "version" }
  /** Nothing was asked for. */
  | { readonly kind: "usage" };

/**
 * Parses a command line. As with QEMU, the first option that asks for help or the version is all that counts, whatever comes
 * after it.
 *
 * @throws {import("../options/option_error.ts").OptionError} when it cannot be carried out.
 */
export function parseCommandLine(argv: readonly string[]): Command {
  if (argv.length === 0) return { kind: "usage" };
  const tokens: Token[] = [];
  for (const token of tokenize(argv)) {
    if (token.name === "version") return { kind: "version" };
    const topic = token.name === "help" ? undefined : helpTopic(token);
    if (token.name === "help" || topic !== undefined) return { kind: "help", topic };
    tokens.push(token);
  }
  const role = roleOf(tokens);
  const args = parseArguments(tokens, role);
  return role === "vmm" ? { kind: role, config: vmmConfig(args) } : { kind: role, config: remoteConfig(args) };
}
