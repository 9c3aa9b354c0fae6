/**
 * The commands of the human monitor: which there are, what they take, and which QMP command carries them out.
 *
 * @module
 */
import { nearest, quote } from "../options/option_error.ts";
import type { Commands } from "../qmp/commands.ts";
import {
  blockLines,
  chardevLines,
  cpuLines,
  deviceProcessLines,
  kvmLines,
  memorySizeLines,
  nameLines,
  statusLines,
  uuidLines,
} from "./answers.ts";
import type { History } from "./history.ts";

/** What a line asks for: a QMP command without arguments, and how its result reads. */
export interface Task {
  readonly qmp: string;
  readonly format: (result: unknown) => readonly string[];
  /** The process ends upon it. */
  readonly last: boolean;
}

/** What a line is answered with at once. */
export interface Answer {
  readonly lines: readonly string[];
}

/** What the monitor itself can tell. */
export interface MonitorFacts {
  readonly version: string;
  readonly history: History;
}

/** What follows a command's name. */
interface Words {
  /** Letters of options: `v` for `-v`. */
  readonly options: ReadonlySet<string>;
  readonly values: readonly string[];
}

/** A command, or a topic of `info`. */
interface Entry {
  readonly name: string;
  /** Other names. @default {none} */
  readonly aliases?: readonly string[];
  /** What it takes, for people. @default {nothing} */
  readonly syntax?: string;
  readonly help: string;
  /** Letters that are options. @default {none} */
  readonly options?: string;
  /** Most words that it takes besides options. @default 0 */
  readonly values?: number;
  readonly action: QmpAction | OwnAction;
}

interface QmpAction {
  readonly qmp: string;
  readonly format?: (result: unknown, words: Words) => readonly string[];
  readonly last?: boolean;
}

interface OwnAction {
  readonly answer: (monitor: MonitorCommands, words: Words) => readonly string[];
}

const COMMANDS: readonly Entry[] = [
  { name: "cont", aliases: ["c"], help: "lets the machine go on", action: { qmp: "cont" } },
  {
    name: "help",
    aliases: ["?"],
    syntax: "[command]",
    help: "tells what commands there are, or what one does",
    values: 2,
    action: { answer: (monitor, { values }) => monitor.help(values) },
  },
  {
    name: "info",
    syntax: "[topic]",
    help: "tells about the machine, or what topics there are",
    action: { answer: (monitor) => monitor.help(["info"]) },
  },
  {
    name: "quit",
    aliases: ["q"],
    help: "ends the process",
    action: { qmp: "quit", last: true },
  },
  { name: "stop", aliases: ["s"], help: "has the machine stand still", action: { qmp: "stop" } },
  { name: "system_powerdown", help: "presses the power button", action: { qmp: "system_powerdown" } },
  { name: "system_reset", help: "resets the machine", action: { qmp: "system_reset" } },
];

const TOPICS: readonly Entry[] = [
  {
    name: "block",
    syntax: "[-v] [drive]",
    help: "the drives, or one of them (-v: with their images)",
    options: "v",
    values: 1,
    action: {
      qmp: "query-block",
      format: (result, { options, values: [drive] }) => blockLines(result, drive, options.has("v")),
    },
  },
  { name: "chardev", help: "the character devices", action: { qmp: "query-chardev", format: chardevLines } },
  { name: "cpus", help: "the vCPUs and their threads", action: { qmp: "query-cpus-fast", format: cpuLines } },
  {
    name: "device-processes",
    help: "the processes of the devices, and whether they answer",
    action: { qmp: "query-device-processes", format: deviceProcessLines },
  },
  {
    name: "history",
    help: "the lines entered here",
    action: { answer: (monitor) => monitor.history.map((line, i) => `${i}: '${line}'`) },
  },
  { name: "kvm", help: "whether KVM is used", action: { qmp: "query-kvm", format: kvmLines } },
  {
    name: "memory_size_summary",
    help: "the size of the guest's memory, in bytes",
    action: { qmp: "query-memory-size-summary", format: memorySizeLines },
  },
  { name: "name", help: "the machine's name", action: { qmp: "query-name", format: nameLines } },
  {
    name: "status",
    help: "whether the machine runs, and else why not",
    action: { qmp: "query-status", format: statusLines },
  },
  { name: "uuid", help: "the machine's UUID", action: { qmp: "query-uuid", format: uuidLines } },
  { name: "version", help: "the version of splitvm", action: { answer: (monitor) => [monitor.version] } },
];

/** A line that cannot be carried out. The message is one line. */
class LineError extends Error {
  override readonly name = "LineError";
}

/** A set of entries, and what comes before their names on a line. */
interface Table {
  readonly entries: readonly Entry[];
  readonly prefix: "" | "info ";
}

/** The commands of one monitor: those whose QMP command it has. */
export class MonitorCommands {
  readonly version: string;
  readonly #history: History;
  readonly #commands: Table;
  readonly #topics: Table;

  constructor(commands: Commands, { version, history }: MonitorFacts) {
    const exists = ({ action }: Entry) => "answer" in action || Object.hasOwn(commands, action.qmp);
    this.version = version;
    this.#history = history;
    this.#commands = { entries: COMMANDS.filter(exists), prefix: "" };
    this.#topics = { entries: TOPICS.filter(exists), prefix: "info " };
  }

  /** The lines entered so far. */
  get history(): readonly string[] {
    return this.#history.lines;
  }

  /** What a line asks for. Never throws: what is wrong with it is an answer. */
  parse(line: string): Task | Answer {
    const words = line.split(" ").filter((word) => word !== "");
    try {
      return words.length === 0 ? { lines: [] } : this.#parse(words);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      return { lines: [error.message] };
    }
  }

  /** Names that can follow words: those of commands, or of topics. */
  namesAfter(words: readonly string[]): readonly string[] {
    const first = words.length === 0 ? undefined : findEntry(this.#commands, words[0])?.name;
    if (words.length === 0) return names(this.#commands);
    if (first === "help") return words.length === 1 ? names(this.#commands) : this.#topicsAfter(words.slice(1));
    return this.#topicsAfter(words);
  }

  /** Lines of help: for all commands, for all topics, or for one of either. @throws {LineError} where there is none such. */
  help(words: readonly string[]): string[] {
    const [first, second] = words;
    if (first === undefined) return describe(this.#commands);
    if (first !== "info") return [description(this.#commands, find(this.#commands, words.join(" ")))];
    return second === undefined ? describe(this.#topics) : [description(this.#topics, find(this.#topics, second))];
  }

  #topicsAfter(words: readonly string[]): readonly string[] {
    return words.length === 1 && words[0] === "info" ? names(this.#topics) : [];
  }

  #parse(words: readonly string[]): Task | Answer {
    const isTopic = words[0] === "info" && words.length > 1;
    const table = isTopic ? this.#topics : this.#commands;
    const [name, ...rest] = isTopic ? words.slice(1) : words;
    const entry = find(table, name);
    const given = split(table, entry, rest);
    const { action } = entry;
    if ("answer" in action) return { lines: action.answer(this, given) };
    const { qmp, format = () => [], last = false } = action;
    return { qmp, format: (result) => format(result, given), last };
  }
}

function findEntry({ entries }: Table, name: string): Entry | undefined {
  return entries.find((entry) => entry.name === name || entry.aliases?.includes(name));
}

function find(table: Table, name: string): Entry {
  const entry = findEntry(table, name);
  if (entry !== undefined) return entry;
  const near = nearest(name, names(table));
  const hint = near === undefined ? "" : `; did you mean '${table.prefix}${near}'?`;
  throw new LineError(`unknown command: ${quote(table.prefix + name)}${hint}`);
}

/** Sorts out options and values. @throws {LineError} where there are others than the entry takes. */
function split(table: Table, entry: Entry, words: readonly string[]): Words {
  const { name, options = "", values: most = 0 } = entry;
  const isOption = (word: string) => options !== "" && word.length > 1 && word.startsWith("-");
  const letters = words.filter(isOption).flatMap((word) => [...word.slice(1)]);
  const values = words.filter((word) => !isOption(word));
  const stranger = letters.find((letter) => !options.includes(letter));
  const unexpected = stranger === undefined ? values[most] : `-${stranger}`;
  if (unexpected === undefined) return { options: new Set(letters), values };
  throw new LineError(`${name}: unexpected ${quote(unexpected)}; try 'help ${table.prefix}${name}'`);
}

function names({ entries }: Table): string[] {
  return entries.map(({ name }) => name);
}

function describe(table: Table): string[] {
  return table.entries.map((entry) => description(table, entry));
}

/** Such as `stop|s -- has the machine stand still`. */
function description({ prefix }: Table, { name, aliases = [], syntax, help }: Entry): string {
  return `${prefix}${[name, ...aliases].join("|")}${syntax === undefined ? "" : ` ${syntax}`} -- ${help}`;
}
