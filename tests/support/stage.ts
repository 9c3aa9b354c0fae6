/**
 * A stage for tests with real processes: programs, the sockets between them, and files; all of them gone afterwards.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Epoll, Ready } from "../../src/ffi/event.ts";
import { closeFd, readFd, writeFd } from "../../src/ffi/file.ts";
import { type ChildProcess, type ExitStatus, Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { childEnvironment } from "./child.ts";
import { leakingNothing } from "./leaks.ts";
import { adoptOrphans, childrenOf, commandLineOf, reapOrphan, threadsOf } from "./process_tree.ts";

/** After this long without what a test waits for, something hangs; no test that passes waits for it. In milliseconds. */
const PATIENCE = 180_000;

/** How long to wait for output before looking again at what is waited for, in milliseconds: it may be something else, such as a file. */
const LONGEST_WAIT = 100;

/** The number that a descriptor given to a program has there. */
export const GIVEN_FD = 3;

/** How to start a program on a stage. */
export interface ProgramOptions {
  /** Its name in reports. */
  readonly name: string;
  readonly command: readonly string[];
  /** A descriptor for it, which it has as {@linkcode GIVEN_FD}. It stays open here. */
  readonly given?: number;
}

/** What a program has written to one of its outputs. */
class Output {
  text = "";
  open = true;
  readonly #decoder = new TextDecoder();

  constructor(readonly fd: number) {}

  /**
   * Takes what is there. A reset connection (input that the program never read) is an end like any other.
   *
   * @returns whether there can be more.
   */
  read(piece: Uint8Array<ArrayBuffer>): boolean {
    let length = 0;
    try {
      length = readFd(this.fd, piece);
    } catch {
      // ECONNRESET
    }
    this.text += this.#decoder.decode(piece.subarray(0, length), { stream: true });
    return this.open = length > 0;
  }
}

/** A running program, with its console on a socket. */
export class Program {
  readonly name: string;
  readonly #stage: Stage;
  readonly #process: ChildProcess;
  readonly #console: Output;
  readonly #errors: Output;
  #cursor = 0;
  #status: ExitStatus | undefined;

  constructor(stage: Stage, process: ChildProcess, name: string, console: Output, errors: Output) {
    this.#stage = stage;
    this.#process = process;
    this.name = name;
    this.#console = console;
    this.#errors = errors;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** All that it has written to standard output so far. */
  get console(): string {
    return this.#console.text;
  }

  /** All that it has written to standard error so far. */
  get errors(): string {
    return this.#errors.text;
  }

  /**
   * Waits until standard output has `text`, behind all that was waited for before.
   *
   * @returns what stands before it, back to the end of what was waited for before.
   */
  waitFor(text: string): string {
    this.#stage.runUntil(() => this.#find(text) >= 0 || !this.#console.open, `${this.name} to print ${quote(text)}`);
    const at = this.#find(text);
    if (at < 0) throw new Error(`${this.name} ended without printing ${quote(text)}`);
    const before = this.#console.text.slice(this.#cursor, at);
    this.#cursor = at + text.length;
    return before;
  }

  /** Waits until standard error has a text. */
  waitForError(text: string | RegExp): void {
    const what = typeof text === "string" ? quote(text) : `${text}`;
    const there = () => this.#errors.text.search(typeof text === "string" ? RegExp.escape(text) : text) >= 0;
    this.#stage.runUntil(() => there() || !this.#errors.open, `${this.name} to report ${what}`);
    if (!there()) throw new Error(`${this.name} ended without reporting ${what}`);
  }

  /** Writes to its standard input. */
  send(text: string): void {
    for (let rest = new TextEncoder().encode(text); rest.length > 0;) {
      rest = rest.subarray(writeFd(this.#console.fd, rest));
    }
  }

  signal(signal: number): void {
    this.#process.kill(signal);
  }

  /** Waits for its end, and for all that it wrote. Output that others share ends when they do. */
  wait(): ExitStatus {
    this.#stage.runUntil(() => this.hasEnded, `${this.name} to end`);
    this.#stage.runUntil(() => !this.#console.open, `the end of what ${this.name} prints`);
    return this.#status!;
  }

  /** Whether it has ended; what it wrote may not all have been collected. */
  get hasEnded(): boolean {
    return (this.#status ??= this.#process.poll()) !== undefined;
  }

  /** What it has written, for reports. */
  report(): string {
    const sections = [["console", this.console], ["errors", this.errors]];
    const ending = this.#status === undefined ? "was still running" : `ended: ${JSON.stringify(this.#status)}`;
    return [`${this.name} ${ending}`, ...sections.map(([title, text]) => `--- ${this.name}: ${title} ---\n${text}`)]
      .join("\n");
  }

  /** Ends it by force, if it has not ended, and lets go of all that belongs to it. */
  dispose(): void {
    this.#process.kill(Signal.KILL);
    this.#process.wait();
    this.#process.close();
    [this.#console.fd, this.#errors.fd].forEach(closeFd);
  }

  #find(text: string): number {
    return this.#console.text.indexOf(text, this.#cursor);
  }
}

/** See the module. */
export class Stage {
  /** A directory for the test's files. */
  readonly directory = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
  readonly #epoll = new Epoll();
  /** Descriptors that are waited on, and what to do when one is ready: returns whether to go on waiting on it. */
  readonly #watched = new Map<number, () => boolean>();
  readonly #programs: Program[] = [];
  readonly #sockets: number[] = [];
  readonly #piece = new Uint8Array(65536);

  /** Starts a program. */
  start({ name, command, given }: ProgramOptions): Program {
    const [console, theirConsole] = createSocketPair();
    const [errors, theirErrors] = createSocketPair();
    try {
      const standard: [number, number][] = [[0, theirConsole], [1, theirConsole], [2, theirErrors]];
      const process = spawn({
        command,
        env: childEnvironment(),
        descriptors: new Map(given === undefined ? standard : [...standard, [GIVEN_FD, given]]),
      });
      this.#watch(process.pidfd, () => false);
      const program = new Program(this, process, name, this.#collect(console), this.#collect(errors));
      this.#programs.push(program);
      return program;
    } catch (error) {
      [console, errors].forEach(closeFd);
      throw error;
    } finally {
      [theirConsole, theirErrors].forEach(closeFd);
    }
  }

  /** Makes the two ends of a link. Programs that were given them are the only ones that have them after {@linkcode giveAway}. */
  link(): [number, number] {
    const pair = createSocketPair();
    this.#sockets.push(...pair);
    return pair;
  }

  /** Closes this process's ends of all links, so that programs see each other's end. */
  giveAway(): void {
    this.#sockets.splice(0).forEach(closeFd);
  }

  /** Collects what programs write until `done`. */
  runUntil(done: () => boolean, what: string): void {
    const deadline = performance.now() + PATIENCE;
    while (!done()) {
      const left = Math.ceil(deadline - performance.now());
      if (left <= 0) throw new Error(`Waited ${PATIENCE / 1000} s in vain for ${what}`);
      this.#epoll.wait(Math.min(left, LONGEST_WAIT), (fd) => {
        if (!this.#watched.get(fd)!()) this.#epoll.remove(fd);
      });
    }
  }

  report(): string {
    return this.#programs.map((program) => program.report()).join("\n");
  }

  dispose(): void {
    this.giveAway();
    for (const program of this.#programs) program.dispose();
    this.#epoll.close();
    Deno.removeSync(this.directory, { recursive: true });
  }

  #watch(fd: number, ready: () => boolean): void {
    this.#watched.set(fd, ready);
    this.#epoll.add(fd, Ready.IN);
  }

  #collect(fd: number): Output {
    const output = new Output(fd);
    this.#watch(fd, () => output.read(this.#piece));
    return output;
  }
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** Plays on a stage of its own. When that fails, what the programs wrote is shown. */
function play(body: (stage: Stage) => void): void {
  const stage = new Stage();
  try {
    body(stage);
  } catch (cause) {
    throw new Error(stage.report(), { cause });
  } finally {
    stage.dispose();
  }
}

/** Reaps processes that outlived the program that started them. @returns the command lines of those that were ended by force. */
function reapOrphans(known: readonly number[], patience?: number): string[] {
  return childrenOf("self").filter((pid) => !known.includes(pid)).flatMap((pid) => {
    const commandLine = commandLineOf(pid);
    return reapOrphan(pid, patience) ? [] : [commandLine];
  });
}

/**
 * A test body that plays on a stage. It fails when a descriptor, a thread or a process is left behind that was not there before; a
 * process that a program of the test started counts as one of the test's. When it fails, what the programs wrote is shown.
 *
 * @param patience How long such a process may outlive its program, in milliseconds.
 */
export function onStage(body: (stage: Stage) => void, patience?: number): () => void {
  return leakingNothing(() => {
    const [threads, children] = [threadsOf("self"), childrenOf("self")];
    const stayed: string[] = [];
    adoptOrphans(true);
    try {
      play(body);
    } finally {
      stayed.push(...reapOrphans(children, patience));
      adoptOrphans(false);
    }
    assertEquals(stayed, [], "processes did not end with the program that started them");
    assertEquals(threadsOf("self").filter((thread) => !threads.includes(thread)), [], "threads were left behind");
  });
}
