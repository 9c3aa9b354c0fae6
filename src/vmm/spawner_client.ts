/**
 * The VMM's end of the spawner: see `spawner.ts`.
 *
 * @module
 */
import { Errno, SyscallError } from "../ffi/errno.ts";
import { Ready } from "../ffi/event.ts";
import { closeFd } from "../ffi/file.ts";
import { type ChildProcess, childProcess, Signal, spawn } from "../ffi/process.ts";
import { closeAll, createSocketPair, MessageSocket, shutdownSocket, WOULD_BLOCK } from "../ffi/socket.ts";
import { reapLeftChild, type SelfCommand } from "../proxy/device_process.ts";
import type { Watcher } from "../qmp/connection.ts";
import { SPAWNER } from "../start.ts";
import type { DeviceCustody } from "./device_custody.ts";
import { type KnownImage, writeKnownImages } from "./known_images.ts";
import {
  ANSWER_SIZE,
  decodeAnswer,
  encodeRequest,
  KNOWN_IMAGES_FD,
  LockedImageError,
  PROCESS_FDS,
  SPAWNER_FD,
  SpawnerAction,
  type SpawnerAnswer,
} from "./spawner_protocol.ts";

/** Why nothing is started any more. */
export const GONE = "what starts device processes has ended";

/** A spawner, as the thread that started it knows it. */
export interface SpawnerProcess {
  readonly fd: number;
  readonly process: ChildProcess;
}

/** The same, as it is posted to other threads. The descriptors stay open until no thread runs any more. */
export interface SpawnerHandle {
  readonly fd: number;
  readonly pid: number;
  readonly pidfd: number;
}

/** A device process that was started in the place of another. All descriptors are its taker's. */
export interface NewProcess {
  readonly pid: number;
  readonly link: number;
  readonly control: number;
  readonly pidfd: number;
}

/**
 * Starts a spawner.
 *
 * @param argv The VMM's own command line.
 * @param images The images that each device was started with.
 */
export function startSpawner(
  self: SelfCommand,
  argv: readonly string[],
  images: readonly (readonly KnownImage[])[],
): SpawnerProcess {
  const known = writeKnownImages(images);
  const [fd, theirs] = createSocketPair();
  try {
    const process = spawn({
      command: [...self.command, SPAWNER, ...argv],
      env: self.env,
      ownGroup: true,
      descriptors: new Map([[0, null], [1, null], [SPAWNER_FD, theirs], [KNOWN_IMAGES_FD, known]]),
    });
    return { fd, process };
  } catch (cause) {
    closeFd(fd);
    throw new Error("Cannot start what starts device processes again (restart=off does without)", { cause });
  } finally {
    closeAll([theirs, known]);
  }
}

/**
 * How long a spawner may take to end, in milliseconds: as long as one start of a process. It has nothing that could be lost, so one that
 * hangs is not to hold up the end of a machine.
 */
const GRACE = 1_000;

/** Ends a spawner, whatever has become of it, and every process that it has started and nobody has taken. */
export function endSpawner({ fd, process }: SpawnerProcess): void {
  // What it is about to hand over it ends itself then.
  shutdownSocket(fd);
  reapLeftChild(process, GRACE);
  const answers = new AnswerReader(fd);
  for (let answer = answers.next(); typeof answer === "object"; answer = answers.next()) {
    if (answer.process !== undefined) discard(answer.process);
  }
  closeFd(fd);
}

/** Ends a process that nobody wants. */
function discard({ pid, link, control, pidfd }: NewProcess): void {
  closeAll([link, control]);
  const child = childProcess(pid, pidfd);
  child.kill(Signal.KILL);
  child.wait();
  child.close();
}

/** An answer with what came beside it. */
interface Answer extends SpawnerAnswer {
  readonly process: NewProcess | undefined;
}

/** Takes answers off the socket, and waits for processes that have ended before their program began. */
class AnswerReader {
  readonly #socket: MessageSocket;
  readonly #bytes = new Uint8Array(ANSWER_SIZE);
  #received = 0;
  #descriptors: number[] = [];

  constructor(fd: number) {
    this.#socket = new MessageSocket(fd);
  }

  /** Does not wait. */
  next(): Answer | "pending" | "end" {
    while (this.#received < ANSWER_SIZE) {
      const step = this.#receive();
      this.#descriptors.push(...this.#socket.descriptors);
      if (step === WOULD_BLOCK) return "pending";
      if (step === 0) return "end";
      this.#received += step;
    }
    this.#received = 0;
    return this.#answer(decodeAnswer(this.#bytes), this.#descriptors.splice(0));
  }

  /** A spawner that has gone away with a request unread resets the connection, once all answers have been read: an end like any other. */
  #receive(): number {
    try {
      return this.#socket.receive(this.#bytes, this.#received, ANSWER_SIZE - this.#received, false);
    } catch (error) {
      if (error instanceof SyscallError && error.errno === Errno.ECONNRESET) return 0;
      throw error;
    }
  }

  #answer(answer: SpawnerAnswer, descriptors: number[]): Answer {
    const own = answer.pid === 0 ? [] : descriptors.splice(0, PROCESS_FDS);
    for (const pidfd of descriptors) {
      const corpse = childProcess(0, pidfd);
      corpse.wait();
      corpse.close();
    }
    const [link, control, pidfd] = own;
    return { ...answer, process: own.length < PROCESS_FDS ? undefined : { pid: answer.pid, link, control, pidfd } };
  }
}

interface Waiting {
  readonly patience: number;
  readonly adopt: (process: NewProcess) => void;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What a {@linkcode SpawnerClient} is made of. */
export interface SpawnerClientOptions {
  readonly spawner: SpawnerHandle;
  readonly watcher: Watcher;
  readonly custody: DeviceCustody;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** For the thread with the event loop. */
export class SpawnerClient {
  readonly #socket: MessageSocket;
  readonly #answers: AnswerReader;
  readonly #process: ChildProcess;
  readonly #custody: DeviceCustody;
  readonly #log: SpawnerClientOptions["log"];
  readonly #waiting: Waiting[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hasGone = false;
  /** Whether nothing more can be read. */
  #hasClosed = false;

  constructor({ spawner: { fd, pid, pidfd }, watcher, custody, log }: SpawnerClientOptions) {
    this.#socket = new MessageSocket(fd);
    this.#answers = new AnswerReader(fd);
    this.#process = childProcess(pid, pidfd);
    this.#custody = custody;
    this.#log = log;
    const watch = watcher.watch(fd, Ready.IN, () => {
      this.#look();
      if (this.#hasClosed || custody.hasEnded) watch.cancel();
    });
    custody.reapAtItsEnd(this.#process, watcher);
  }

  /** Whether it has gone away, and starts nothing any more. */
  get hasGone(): boolean {
    return this.#hasGone;
  }

  /**
   * Has a new process started for a device.
   *
   * @param patience How long that may take once all that was asked for before is done, in milliseconds. A spawner that takes longer hangs, and
   * is ended.
   * @param adopt Takes it at once, under the custody of this thread. It is not called any more when that has ended.
   * @throws {LockedImageError} when something still has one of its images locked.
   * @throws {Error} saying why else there is none.
   */
  start(device: number, patience: number, adopt: (process: NewProcess) => void): Promise<void> {
    return this.#ask(SpawnerAction.START, device, patience, adopt);
  }

  /** Has the root of a device's new process emptied. @param patience As for a start. */
  emptyRoot(device: number, patience: number): Promise<void> {
    return this.#ask(SpawnerAction.EMPTY_ROOT, device, patience, () => {});
  }

  #ask(action: number, device: number, patience: number, adopt: Waiting["adopt"]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#hasGone) return reject(new Error(GONE));
      this.#waiting.push({ patience, adopt, resolve, reject });
      if (this.#waiting.length === 1) this.#awaitAnswer();
      // One that the first thread ends is as good as gone; its descriptor may be closed by then.
      let sent = false;
      try {
        this.#custody.change(() => {
          this.#socket.send(encodeRequest(action, device), 0, 2, [], false);
          sent = true;
        });
      } catch {
        // EPIPE
      }
      if (!sent) this.#end(GONE);
    });
  }

  /** The first in the row has its whole time from now on. */
  #awaitAnswer(): void {
    clearTimeout(this.#timer);
    const [first] = this.#waiting;
    if (first !== undefined) this.#timer = setTimeout(() => this.#expire(first), first.patience);
  }

  /** What it has started all the same is ended as soon as it is read. */
  #expire(late: Waiting): void {
    this.#look();
    if (this.#waiting[0] !== late || this.#custody.hasEnded) return;
    this.#custody.change(() => this.#process.kill(Signal.KILL));
    this.#end("what starts device processes does not answer, and was ended");
  }

  #look(): void {
    const settled: (() => void)[] = [];
    this.#custody.change(() => {
      try {
        for (let answer = this.#answers.next(); answer !== "pending"; answer = this.#answers.next()) {
          if (answer === "end") return this.#close();
          settled.push(this.#settle(answer));
        }
      } catch {
        this.#close();
      }
    });
    for (const settle of settled) settle();
  }

  #settle({ process, problem, isLocked }: Answer): () => void {
    const waiting = this.#waiting.shift();
    this.#awaitAnswer();
    if (process !== undefined) (waiting?.adopt ?? discard)(process);
    return () =>
      problem === "" ? waiting?.resolve() : waiting?.reject(new (isLocked ? LockedImageError : Error)(problem));
  }

  #close(): void {
    this.#hasClosed = true;
    this.#end(GONE);
  }

  /** Tells once, also when nobody waits: whoever relies on restarts has to know. The end that the machine's brings along is no news. */
  #end(why: string): void {
    if (this.#hasGone) return;
    this.#hasGone = true;
    clearTimeout(this.#timer);
    if (!this.#custody.hasEnded) this.#log(`${why}: device processes that are lost are not started again from now on`);
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(GONE));
  }
}
