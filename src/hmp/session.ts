/**
 * One person at the human monitor: a prompt, a line, its answer, the next prompt. Knows no descriptors and no processes; bytes come and text
 * goes by calls.
 *
 * @module
 */
import { describeError } from "../error_chain.ts";
import { printable } from "../printable.ts";
import { type Commands, runCommand } from "../qmp/commands.ts";
import { QmpError } from "../qmp/protocol.ts";
import { complete } from "./completion.ts";
import { History } from "./history.ts";
import { type Key, KeyReader } from "./keys.ts";
import { LineEditor } from "./line_editor.ts";
import { MonitorCommands, type Task } from "./monitor_commands.ts";

/** Before each line. */
export const PROMPT = "(splitvm) ";

/** Keys that are kept while a command is in progress; further ones are dropped. */
export const KEY_LIMIT = 4096;

/** What an {@linkcode HmpSession} is made of. */
export interface HmpSessionOptions {
  /** What the monitor can have done. HMP commands whose QMP command is not among them do not exist. */
  readonly commands: Commands;
  /**
   * Takes text for the terminal; lines end in CR LF. It is not to call the session, but for {@linkcode HmpSession.close}. A key can bring about a kilobyte: who cannot get rid of
   * it is to give the session no keys meanwhile.
   */
  readonly write: (text: string) => void;
  /** The program's version, for the banner and `info version`. */
  readonly version: string;
  /** The person typed Ctrl-D on an empty line, to go. @default {nothing happens then} */
  readonly onLeave?: () => void;
  /**
   * A command is in progress that is not answered at once, or no longer is: whoever can leave input where it is, such as in a socket, should
   * do so meanwhile, since only {@linkcode KEY_LIMIT} keys are kept.
   */
  readonly onBusy?: (busy: boolean) => void;
}

/** See the module. Nothing that is received makes it throw or grow without bounds. */
export class HmpSession {
  readonly #options: HmpSessionOptions;
  readonly #monitor: MonitorCommands;
  readonly #reader = new KeyReader();
  readonly #editor: LineEditor;
  /** Typed while a command was in progress. */
  readonly #waiting: Key[] = [];
  #busy = false;
  /** What {@linkcode HmpSessionOptions.onBusy} was told last. */
  #toldBusy = false;
  #draining = false;
  #closed = false;

  constructor(options: HmpSessionOptions) {
    this.#options = options;
    const history = new History();
    const monitor = new MonitorCommands(options.commands, { version: options.version, history });
    this.#monitor = monitor;
    this.#editor = new LineEditor({
      ...{ prompt: PROMPT, history },
      write: (text) => this.#write(text),
      complete: (before) => complete(before, (words) => monitor.namesAfter(words)),
    });
  }

  /** Greets, and asks for the first line. */
  open(): void {
    this.#write(`splitvm ${this.#options.version} monitor - type 'help' for more information\r\n`);
    this.#editor.show();
  }

  /** Shows the prompt and the line so far once more, at the beginning of a line: something else was on the terminal meanwhile. */
  refresh(): void {
    if (!this.#busy && !this.#closed) this.#editor.show();
  }

  /** Takes keys as a terminal without line editing of its own sends them, or lines that end in LF, CR or CR LF. */
  receive(bytes: Uint8Array): void {
    for (const key of this.#reader.read(bytes)) {
      if (!this.#busy) this.#type(key);
      else if (this.#waiting.length < KEY_LIMIT) this.#waiting.push(key);
    }
    this.#flush();
  }

  /** The client is gone: nothing is taken or written any more. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
  }

  #write(text: string): void {
    if (!this.#closed) this.#options.write(text);
  }

  #type(key: Key): void {
    if (this.#closed) return;
    if (key === "end-of-input") {
      if (this.#editor.line === "") this.#options.onLeave?.();
      return;
    }
    const line = this.#editor.type(key);
    if (line !== undefined) this.#execute(line);
  }

  /** Once all there is has been done: shows what came of it. */
  #flush(): void {
    if (this.#closed) return;
    if (!this.#busy) this.#editor.flush();
    if (this.#busy === this.#toldBusy) return;
    this.#toldBusy = this.#busy;
    this.#options.onBusy?.(this.#busy);
  }

  #execute(line: string): void {
    const task = this.#monitor.parse(line);
    if (!("qmp" in task)) return this.#print(task.lines);
    this.#busy = true;
    runCommand(this.#options.commands, task.qmp, {}, (result) => this.#finish(task, result));
  }

  #finish(task: Task, result: unknown): void {
    if (this.#closed) return;
    const failed = result instanceof QmpError;
    // The prompt would be left in front of the shell's.
    if (task.last && !failed) return this.close();
    this.#busy = false;
    this.#print(failed ? [`Error: ${result.message}`] : formatted(task, result));
    this.#drain();
  }

  /** Goes on with what was typed meanwhile, until a command is to be waited for. An answer at once leads back here, but not deeper. */
  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      while (!this.#busy && this.#waiting.length > 0) this.#type(this.#waiting.shift()!);
    } finally {
      this.#draining = false;
    }
    this.#flush();
  }

  /** Answers, and asks for the next line. */
  #print(lines: readonly string[]): void {
    if (lines.length > 0) this.#write(lines.map((line) => `${printable(line)}\r\n`).join(""));
    this.#editor.show();
  }
}

function formatted(task: Task, result: unknown): readonly string[] {
  try {
    return task.format(result);
  } catch (error) {
    return [`Error: ${describeError(error)}`];
  }
}
