/**
 * From a descriptor to who takes its input, as fast as that goes.
 *
 * @module
 */
import { errorChain } from "../../error_chain.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { EDGE_TRIGGERED, isReady, Ready } from "../../ffi/event.ts";
import { readFd } from "../../ffi/file.ts";
import type { Watcher } from "../../qmp/connection.ts";
import type { Watch } from "../../watches.ts";
import type { InputReceiver } from "./input.ts";

/** Bytes that are read at once. */
const PIECE = 4096;

const BROKEN = Ready.HUP | Ready.ERR;

/** What an {@linkcode InputPump} is made of. */
export interface InputPumpOptions {
  readonly fd: number;
  readonly watcher: Watcher;
  readonly receiver: InputReceiver;
  /**
   * What a hang-up means. A `stream` has its end then, after what it still holds. A `socket` is given up at once when nobody takes what it
   * holds, so that the next client need not wait for that. A `pty` goes on when it is opened again.
   */
  readonly kind: "stream" | "socket" | "pty";
  /** A `pty` that nobody had open has input again; called before that is handed on. */
  readonly onReturn?: () => void;
  /** There will be no more input; `why` where that is not its orderly end. Called once. */
  readonly onEnd: (why: string | undefined) => void;
}

/** Reads while the receiver has room. */
export class InputPump {
  readonly #options: InputPumpOptions;
  readonly #piece = new Uint8Array(PIECE);
  #watch: Watch | undefined;
  /** There may be input of which epoll does not tell (again): a pseudo-terminal's, which tells of changes only, or a regular file's. */
  #unread = false;
  /** Nobody has been seen to have the `pty` open. */
  #away = true;
  /** Of a regular file, epoll never tells. */
  #untold = false;
  #turn: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  constructor(options: InputPumpOptions) {
    this.#options = options;
    this.update();
  }

  /** The receiver may have room again, or none. */
  update(): void {
    if (this.#ended) return;
    const { kind, receiver } = this.#options;
    const wanted = receiver.room > 0;
    if (this.#unread && wanted) this.#turn ??= setTimeout(() => this.#takeTurn(), 0);
    if (this.#untold) return;
    if (kind === "pty") {
      // Hung up it would be ready for ever, and who opens it again does not make a difference before the first key.
      this.#watch ??= this.#start(Ready.IN | EDGE_TRIGGERED);
    } else if (kind === "socket") {
      if (this.#watch === undefined) this.#watch = this.#start(wanted ? Ready.IN : 0);
      else this.#watch.modify(wanted ? Ready.IN : 0);
    } else if (wanted) {
      this.#watch ??= this.#start(Ready.IN);
    } else {
      this.#watch = void this.#watch?.cancel();
    }
  }

  /** Reads no more. The descriptor stays open. */
  close(): void {
    this.#ended = true;
    clearTimeout(this.#turn);
    this.#watch = void this.#watch?.cancel();
  }

  /** Regular files and /dev/null cannot be watched (EPERM); there is always something to read, be it the end. */
  #start(events: number): Watch | undefined {
    const { watcher, fd } = this.#options;
    try {
      return watcher.watch(fd, events, (ready) => this.#ready(ready));
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== Errno.EPERM) throw error;
      this.#untold = this.#unread = true;
      this.#turn ??= setTimeout(() => this.#takeTurn(), 0);
      return undefined;
    }
  }

  #ready(events: number): void {
    if (this.#ended) return;
    const { kind, receiver } = this.#options;
    if (kind === "socket" && receiver.room === 0 && (events & BROKEN) !== 0) return this.#end(undefined);
    if (kind === "pty") this.#unread = true;
    this.#read();
  }

  #takeTurn(): void {
    this.#turn = undefined;
    this.#read();
  }

  #read(): void {
    const { fd, receiver, kind } = this.#options;
    const room = Math.min(receiver.room, PIECE);
    if (this.#ended) return;
    if (room === 0) return this.update();
    try {
      // A look first, because the descriptor may be a blocking one that others share, and stays as they want it.
      const length = isReady(fd, Ready.IN | BROKEN) ? readFd(fd, this.#piece.subarray(0, room)) : -1;
      if (length === 0) return this.#end(undefined);
      if (length > 0) this.#handOn(this.#piece.slice(0, length));
      else this.#unread = this.#untold;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (kind === "pty" && error.errno === Errno.EIO) this.#leave();
      else return this.#end(error.errno === Errno.ECONNRESET ? undefined : errorChain(error));
    }
    this.update();
  }

  #handOn(bytes: Uint8Array): void {
    if (this.#away && this.#options.kind === "pty") this.#options.onReturn?.();
    this.#away = false;
    this.#options.receiver.receive(bytes);
  }

  #leave(): void {
    this.#away = true;
    this.#unread = false;
  }

  #end(why: string | undefined): void {
    if (this.#ended) return;
    this.close();
    this.#options.onEnd(why);
  }
}
