/**
 * JSON over a {@linkcode ByteStream}, in both directions, from a loop that watches descriptors. Both ends of QMP use it.
 *
 * @module
 */
import type { Watch } from "../watches.ts";
import { errorChain } from "../error_chain.ts";
import { Errno, SyscallError } from "../ffi/errno.ts";
import { Ready } from "../ffi/event.ts";
import type { ByteStream } from "./byte_stream.ts";
import { type JsonItem, type JsonLimits, JsonReader } from "./json_reader.ts";

/** What watches descriptors: the loop of a device process, or the control thread of a VMM. */
export interface Watcher {
  watch(fd: number, events: number, ready: (events: number) => void): Watch;
}

/** What a {@linkcode Connection} is made of. */
export interface ConnectionOptions {
  readonly stream: ByteStream;
  readonly watcher: Watcher;
  /** Bounds of a message of the peer's. */
  readonly limits: JsonLimits;
  /** Takes a message, or what is wrong with the bytes in its place. */
  readonly onItem: (item: JsonItem) => void;
  /** The connection has ended and is closed; `why` where that was not the peer's orderly end. Called once. */
  readonly onEnd: (why: string | undefined) => void;
}

/** Bytes that are read at once; so many are kept while messages are not wanted. */
const PIECE = 4096;

/** Where output that the peer does not read ends the connection, in bytes. */
const OUTPUT_LIMIT = 2 ** 20;

/**
 * A connection. Input is not read while {@linkcode hold} says so, nor while output waits for the peer: whoever asks without reading the
 * answers is not asked again.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #reader: JsonReader;
  readonly #piece = new Uint8Array(PIECE);
  readonly #output: Uint8Array<ArrayBuffer>[] = [];
  #outputSize = 0;
  #reading: Watch | undefined;
  #writing: Watch | undefined;
  #held = false;
  #delivering = false;
  #inputEnded = false;
  #ended = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#reader = new JsonReader(options.limits);
    this.#update();
  }

  /** Whether it has ended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Sends a message, now or as soon as the peer reads. Never waits. */
  send(message: Uint8Array<ArrayBuffer>): void {
    if (this.#ended) return;
    this.#output.push(message);
    this.#outputSize += message.length;
    this.#flush();
    // One message may be larger than the limit; what counts is what piles up behind it.
    if (this.#outputSize > OUTPUT_LIMIT && this.#output.length > 1) {
      return this.#end("it does not read what is sent to it");
    }
    this.#update();
  }

  /** No further message is taken until {@linkcode release}. */
  hold(): void {
    this.#held = true;
    this.#update();
  }

  /** Messages are taken again. */
  release(): void {
    this.#held = false;
    this.#deliver();
  }

  /** Ends it from this side, with a reason for the log or without. Output that has not gone is dropped. */
  close(why?: string): void {
    this.#end(why);
  }

  #ready(events: number): void {
    if (this.#ended) return;
    try {
      if ((events & ~Ready.IN) !== 0) this.#flush();
      if (this.#wantsInput) this.#receive();
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#end(reasonOf(error));
    }
    this.#deliver();
  }

  get #wantsInput(): boolean {
    return !this.#ended && !this.#held && !this.#inputEnded && this.#outputSize === 0;
  }

  #receive(): void {
    const length = this.#options.stream.receive(this.#piece);
    if (length === 0) this.#inputEnded = true;
    else if (length > 0) this.#reader.push(this.#piece.subarray(0, length));
  }

  /** Gives out the messages that are there, until one is to be waited for. An answer at once leads back here, but not deeper. */
  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      while (!this.#ended && !this.#held && this.#outputSize === 0) {
        const item = this.#reader.next();
        if (item === undefined) break;
        this.#options.onItem(item);
      }
    } finally {
      this.#delivering = false;
    }
    if (this.#inputEnded && !this.#held && this.#outputSize === 0) this.#end(undefined);
    this.#update();
  }

  #flush(): void {
    try {
      while (this.#output.length > 0) {
        const sent = this.#options.stream.send(this.#output[0]);
        if (sent < 0) return;
        this.#outputSize -= sent;
        if (sent === this.#output[0].length) this.#output.shift();
        else this.#output[0] = this.#output[0].subarray(sent);
      }
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#end(reasonOf(error));
    }
  }

  /** Watches for what is waited for, and for nothing else: a hang-up would otherwise be ready for ever. */
  #update(): void {
    const { stream, watcher } = this.#options;
    const wantsInput = this.#wantsInput;
    const wantsRoom = !this.#ended && this.#outputSize > 0;
    if (!wantsInput) this.#reading = void this.#reading?.cancel();
    if (!wantsRoom) this.#writing = void this.#writing?.cancel();
    const ready = (events: number) => this.#ready(events);
    if (wantsInput) this.#reading ??= this.#watch(() => watcher.watch(stream.input, Ready.IN, ready));
    if (wantsRoom) this.#writing ??= this.#watch(() => watcher.watch(stream.output, Ready.OUT, ready));
  }

  /** Regular files and /dev/null cannot be watched (EPERM): as input, they are at their end; as output, they never wait. */
  #watch(start: () => Watch): Watch | undefined {
    try {
      return start();
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== Errno.EPERM) throw error;
      return { modify() {}, cancel() {} };
    }
  }

  #end(why: string | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#output.length = this.#outputSize = 0;
    this.#update();
    this.#options.stream.close();
    this.#options.onEnd(why);
  }
}

/** A peer that goes away while something is on its way to it has gone away like any other. */
function reasonOf(error: SyscallError): string | undefined {
  return error.errno === Errno.EPIPE || error.errno === Errno.ECONNRESET ? undefined : errorChain(error);
}
