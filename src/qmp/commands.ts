/**
 * The commands of a QMP server: what arguments they take, and how they are carried out.
 *
 * @module
 */
import { describeError } from "../error_chain.ts";
import { type JsonObject, printable, QmpError } from "./protocol.ts";

/** Types that an argument can have, in the words of error messages. */
export type ArgumentType = "string" | "boolean" | "integer" | "array";

/** An argument of a command. */
export interface ArgumentSpec {
  readonly type: ArgumentType;
  readonly optional?: boolean;
}

/** Takes a command's result, or why there is none; to be called once, at once or later. */
export type Reply = (result: unknown) => void;

/** A command. */
export interface Command {
  /** By name. @default {none} */
  readonly arguments?: Readonly<Record<string, ArgumentSpec>>;
  /**
   * Carries it out.
   *
   * @param args Checked against {@linkcode Command.arguments}.
   * @param reply Gets the result, a JSON value, or a {@linkcode QmpError}.
   * @throws {QmpError} in place of an answer.
   */
  run(args: JsonObject, reply: Reply): void;
}

/** Commands by name. */
export type Commands = Readonly<Record<string, Command>>;

/** A command without arguments that is answered at once. */
export function query(answer: () => unknown): Command {
  return { run: (_args, reply) => reply(answer()) };
}

/** A command without arguments that is done at once, and has no result. */
export function action(act: () => void): Command {
  return query(() => {
    act();
    return {};
  });
}

/**
 * Carries out a command on behalf of a client.
 *
 * @param reply Gets the result, or a {@linkcode QmpError} whatever goes wrong; called once at most.
 */
export function runCommand(commands: Commands, name: string, args: JsonObject, reply: Reply): void {
  let answered = false;
  const once = (result: unknown) => {
    if (answered) return;
    answered = true;
    reply(result);
  };
  try {
    if (!Object.hasOwn(commands, name)) {
      throw new QmpError(`The command ${printable(name)} has not been found`, "CommandNotFound");
    }
    checkArguments(commands[name].arguments ?? {}, args);
    commands[name].run(args, once);
  } catch (error) {
    once(asQmpError(error));
  }
}

/** What a client is told of an error. */
export function asQmpError(error: unknown): QmpError {
  return error instanceof QmpError ? error : new QmpError(describeError(error));
}

const IS_OF_TYPE: Readonly<Record<ArgumentType, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  integer: Number.isSafeInteger,
  array: Array.isArray,
};

/** Checks a command's arguments. @throws {QmpError} naming the one that is wrong. */
export function checkArguments(specs: Readonly<Record<string, ArgumentSpec>>, args: JsonObject): void {
  for (const name of Object.keys(args)) {
    if (!Object.hasOwn(specs, name)) throw new QmpError(`Parameter '${printable(name)}' is unexpected`);
  }
  for (const [name, { type, optional = false }] of Object.entries(specs)) {
    if (!Object.hasOwn(args, name)) {
      if (optional) continue;
      throw new QmpError(`Parameter '${name}' is missing`);
    }
    if (!IS_OF_TYPE[type](args[name])) {
      throw new QmpError(`Invalid parameter type for '${name}', expected: ${type}`);
    }
  }
}
