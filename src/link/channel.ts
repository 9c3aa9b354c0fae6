/**
 * A link: messages and descriptors over a UNIX stream socket.
 *
 * The two ends use it differently. A VMM's vCPU thread {@linkcode Channel.call | calls} and waits, with a deadline
 * where the peer is not trusted to answer. A device process {@linkcode Channel.poll | polls} from its loop, so that a
 * peer that sends a byte a minute, or never reads its replies, holds up nobody else.
 *
 * Received descriptors belong to the channel until they are {@linkcode Channel.takeDescriptors | taken}: those of a
 * message that is refused, or that nobody took, are closed.
 *
 * @module
 */
import { SyscallError } from "../ffi/errno.ts";
import { pollFd, Ready } from "../ffi/event.ts";
import { closeFd } from "../ffi/file.ts";
import { closeAll, MessageSocket, unreadBytes, WOULD_BLOCK } from "../ffi/socket.ts";
import { LinkError } from "./link_error.ts";
import {
  checkHeader,
  checkPayload,
  Command,
  commandName,
  HEADER_SIZE,
  MAX_PAYLOAD,
  MAX_REGIONS,
  Message,
} from "./message.ts";

/**
 * How a look at the link ended: a whole message is there, it is not yet, or the peer has closed between two messages.
 */
export type Arrival = "message" | "pending" | "end";

const NONE: readonly number[] = [];

/**
 * How many bytes are asked for before it is known how long a message is. A device process asks for as many as most requests have, a caller for
 * those of a RET: one system call is enough then.
 */
const REQUEST_SIZE = HEADER_SIZE + 24;
const REPLY_SIZE = HEADER_SIZE + 8;

/**
 * Takes a message that comes before the reply that is waited for.
 *
 * @returns whether it was to be expected; the link ends otherwise.
 */
export type Interlude = (message: Message) => boolean;

/** A moment on `performance.now()`, from a timeout in milliseconds. */
function deadlineAfter(timeout: number | undefined): number {
  return timeout === undefined ? Infinity : performance.now() + timeout;
}

/**
 * One end of a link.
 *
 * Every method that moves bytes throws a {@linkcode LinkError} when the link can no longer be used, and from then on
 * throws it again; {@linkcode close} is what remains to be done.
 *
 * Several threads may each have a channel over the same descriptor, provided that a lock is held from the start of a
 * {@linkcode call} to its end, and that one thread alone closes.
 */
export class Channel {
  /** The message that was received last. */
  readonly incoming: Message = new Message();
  /** A message to encode what is to be sent next. */
  readonly outgoing: Message = new Message();

  readonly #socket: MessageSocket;
  readonly #interlude: Interlude | undefined;
  /** How many bytes of `incoming` were received. Those beyond the message belong to the next one. */
  #received = 0;
  /** How many make up the header, or, when that is known, the message. */
  #expected = HEADER_SIZE;
  #headerKnown = false;
  /** Those of the message, or, where it is followed by bytes of the next one, of that one: the kernel ends a reading behind them. */
  #descriptors: number[] = [];
  /** What {@linkcode post} could not send: bytes of `#unsent` from `#unsentFrom` to `#unsentEnd`. */
  readonly #unsent = new Uint8Array(HEADER_SIZE + MAX_PAYLOAD);
  #unsentFrom = 0;
  #unsentEnd = 0;
  /** Those that go with the first byte of them. */
  #unsentDescriptors = NONE;
  #failure: LinkError | undefined;
  #closed = false;

  /**
   * @param fd A UNIX stream socket, blocking or not; the channel owns it.
   * @param interlude What is done with other messages that a {@linkcode call} meets. @default {they end the link}
   */
  constructor(readonly fd: number, interlude?: Interlude) {
    this.#socket = new MessageSocket(fd);
    this.#interlude = interlude;
  }

  /** Whether {@linkcode post} left bytes behind, which {@linkcode flush} sends on. */
  get unsent(): boolean {
    return this.#unsentFrom < this.#unsentEnd;
  }

  /**
   * Sends a message, waiting until the socket has taken all of it.
   *
   * @param descriptors Go with the header; they stay open here.
   * @param timeout Milliseconds. @default {undefined} which waits without limit
   * @throws {TypeError} when that number of descriptors does not go with the message; nothing is sent then.
   */
  send(message: Message, descriptors: readonly number[] = NONE, timeout?: number): void {
    checkOutgoing(message, descriptors.length);
    const deadline = deadlineAfter(timeout);
    const length = message.length;
    let sent = 0;
    while (sent < length) {
      // Descriptors travel with the first bytes; given again, the kernel would send them again.
      const fds = sent === 0 ? descriptors : NONE;
      const step = this.#send(message.bytes, sent, length, fds, deadline === Infinity);
      if (step === WOULD_BLOCK) this.#await(Ready.OUT, deadline, message);
      else sent += step;
    }
  }

  /**
   * Waits for a message and leaves it in {@linkcode incoming}.
   *
   * @param timeout Milliseconds until all of it must be there. @default {undefined} which waits without limit
   * @returns false when the peer has closed the link between two messages.
   */
  receive(timeout?: number): boolean {
    return this.#receive(deadlineAfter(timeout));
  }

  /**
   * Sends a request and waits for its reply, which is then {@linkcode incoming}.
   *
   * @param timeout Milliseconds for both. @default {undefined} which waits without limit
   * @param descriptors Go with the request.
   * @param reply The command that answers it. @default {Command.RET}
   */
  call(request: Message, timeout?: number, descriptors: readonly number[] = NONE, reply: number = Command.RET): void {
    const deadline = deadlineAfter(timeout);
    this.send(request, descriptors, timeout);
    for (;;) {
      if (!this.#receive(deadline, request)) {
        throw this.#fail(new LinkError("the peer closed the link", "closed"));
      }
      if (this.incoming.command === reply) return;
      if (this.#interlude?.(this.incoming)) continue;
      const got = commandName(this.incoming.command);
      throw this.#fail(new LinkError(`${got} came as the reply to ${commandName(request.command)}`));
    }
  }

  /**
   * Takes a message that has exactly as many bytes as a RET with a value, once they are there, and no byte of what follows, which may be
   * for another thread's channel. Does not wait.
   *
   * @returns whether it was there; it is {@linkcode incoming} then. A message of another length ends the link.
   */
  takeReply(): boolean {
    if (unreadBytes(this.fd) < REPLY_SIZE) return false;
    if (this.#advance(REPLY_SIZE, true, false) === "message" && this.incoming.length === REPLY_SIZE) return true;
    throw this.#fail(new LinkError(`${commandName(this.incoming.command)}: nobody asked for it`));
  }

  /**
   * Takes what has arrived, without waiting; call it again when the socket is readable, or, since several messages may be read at once,
   * after each message with `look` false.
   *
   * @param look Whether to look at the socket. Otherwise only what was read before is taken. @default {true}
   */
  poll(look = true): Arrival {
    return this.#advance(REQUEST_SIZE, look, false);
  }

  /**
   * Sends a message without waiting. What the socket does not take is kept, and goes out by {@linkcode flush}.
   *
   * @param descriptors Go with the header; they stay the caller's, open until all of the message is sent.
   * @returns whether all of it is sent.
   * @throws {TypeError} when bytes of an earlier message are still unsent.
   */
  post(message: Message, descriptors: readonly number[] = NONE): boolean {
    if (this.unsent) throw new TypeError("A message was posted before the one before it was sent");
    checkOutgoing(message, descriptors.length);
    const length = message.length;
    const step = this.#send(message.bytes, 0, length, descriptors, false);
    const sent = step === WOULD_BLOCK ? 0 : step;
    if (sent === length) return true;
    this.#unsent.set(message.bytes);
    this.#unsentFrom = sent;
    this.#unsentEnd = length;
    this.#unsentDescriptors = sent === 0 ? descriptors : NONE;
    return false;
  }

  /** Sends on what {@linkcode post} left, without waiting. @returns whether all of it is sent. */
  flush(): boolean {
    while (this.unsent) {
      const step = this.#send(this.#unsent, this.#unsentFrom, this.#unsentEnd, this.#unsentDescriptors, false);
      if (step === WOULD_BLOCK) return false;
      this.#unsentDescriptors = NONE;
      this.#unsentFrom += step;
    }
    return true;
  }

  /** Hands over the descriptors of the last message; the caller closes them. */
  takeDescriptors(): number[] {
    if (this.#descriptorCount === 0) return [];
    const taken = this.#descriptors;
    this.#descriptors = [];
    return taken;
  }

  /** Closes the socket, and descriptors that nobody took. Calling it again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failure ??= new LinkError("the link is closed", "closed");
    this.#dropDescriptors();
    closeFd(this.fd);
  }

  #receive(deadline: number, request?: Message): boolean {
    const ahead = request === undefined ? REQUEST_SIZE : REPLY_SIZE;
    // A blocking read has no deadline: where there is one, only what was read before is taken without a look at the socket.
    const wait = deadline === Infinity;
    let arrival = this.#advance(ahead, wait, wait);
    while (arrival === "pending") {
      this.#await(Ready.IN, deadline, request);
      arrival = this.#advance(ahead, true, false);
    }
    return arrival === "message";
  }

  #advance(ahead: number, look: boolean, wait: boolean): Arrival {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#headerKnown && this.#received >= this.#expected) this.#begin();
    try {
      return this.#readMessage(ahead, look, wait);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  #begin(): void {
    if (this.#descriptorCount > 0) this.#dropDescriptors();
    const surplus = this.#received - this.#expected;
    if (surplus > 0) this.incoming.bytes.copyWithin(0, this.#expected, this.#received);
    this.#received = surplus;
    this.#expected = HEADER_SIZE;
    this.#headerKnown = false;
  }

  /** Reads until the message is whole; from its header on exactly what that announces. */
  #readMessage(ahead: number, look: boolean, wait: boolean): Arrival {
    while (!this.#isWhole()) {
      const step = look ? this.#read(this.#wanted(ahead) - this.#received, wait) : WOULD_BLOCK;
      if (step === WOULD_BLOCK) return "pending";
      if (this.#socket.descriptors.length > 0 || this.#socket.truncated) this.#adoptDescriptors();
      if (step === 0) return this.#end();
      this.#received += step;
    }
    checkPayload(this.incoming, this.#descriptorCount);
    return "message";
  }

  /**
   * Up to where to read. Not past a header whose descriptors are here already, since its first bytes came with the message before: the
   * kernel would go on into the next message, and bring that one's descriptors too.
   */
  #wanted(ahead: number): number {
    if (this.#headerKnown) return this.#expected;
    return this.#descriptors.length > 0 ? HEADER_SIZE : ahead;
  }

  /** Whether the message is there. Its header is checked as soon as that is. */
  #isWhole(): boolean {
    if (!this.#headerKnown && this.#received >= HEADER_SIZE) {
      this.#expected = this.incoming.length;
      checkHeader(this.incoming, this.#descriptorCount);
      this.#headerKnown = true;
    }
    return this.#headerKnown && this.#received >= this.#expected;
  }

  /** How many of the descriptors that came are the message's. */
  get #descriptorCount(): number {
    return this.#received > this.#expected ? 0 : this.#descriptors.length;
  }

  #read(most: number, wait: boolean): number {
    try {
      return this.#socket.receive(this.incoming.bytes, this.#received, most, wait);
    } catch (error) {
      if (isPeerGone(error)) return 0;
      throw error;
    }
  }

  #adoptDescriptors(): void {
    const { descriptors, truncated } = this.#socket;
    for (const fd of descriptors) this.#descriptors.push(fd);
    descriptors.length = 0;
    if (truncated) throw new LinkError("descriptors were lost on the way: too many are open here");
    // Checked here too, since a header that comes byte by byte could bring 253 descriptors with each.
    if (this.#descriptors.length > MAX_REGIONS) {
      throw new LinkError(`${this.#descriptors.length} descriptors came with a message; ${MAX_REGIONS} are the most`);
    }
    if (this.#received >= HEADER_SIZE) {
      throw new LinkError(`${commandName(this.incoming.command)}: descriptors came with the payload, not the header`);
    }
  }

  #end(): Arrival {
    if (this.#received === 0) return "end";
    const part = this.#received < HEADER_SIZE ? "a header" : commandName(this.incoming.command);
    throw new LinkError(
      `the peer closed the link after ${this.#received} of the ${this.#expected} bytes of ${part}`,
      "truncated",
    );
  }

  #send(bytes: Uint8Array<ArrayBuffer>, from: number, end: number, fds: readonly number[], wait: boolean): number {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return this.#socket.send(bytes, from, end - from, fds, wait);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  #await(events: number, deadline: number, request?: Message): void {
    if (this.#failure !== undefined) throw this.#failure;
    const left = deadline - performance.now();
    const timeout = left === Infinity ? -1 : Math.min(Math.ceil(left), 0x7fffffff);
    if (left > 0 && pollFd(this.fd, events, timeout) !== 0) return;
    const what = request === undefined ? "a message" : commandName(request.command);
    const doing = events === Ready.OUT ? `${what} to be sent` : request ? `the reply to ${what}` : what;
    throw this.#fail(new LinkError(`timed out waiting for ${doing}`, "timeout"));
  }

  #fail(error: unknown): LinkError {
    this.#dropDescriptors();
    return this.#failure = asLinkError(error);
  }

  #dropDescriptors(): void {
    if (this.#descriptors.length === 0) return;
    closeAll(this.#descriptors);
    this.#descriptors = [];
  }
}

/** A defect of the sender is no fault of the link. */
function checkOutgoing(message: Message, descriptors: number): void {
  try {
    checkHeader(message, descriptors);
  } catch (error) {
    throw new TypeError("A message that the peer would refuse was to be sent", { cause: error });
  }
}

/** How a peer's death with bytes of ours still unread shows up: its end, not a fault of the socket. */
function isPeerGone(error: unknown): boolean {
  return error instanceof SyscallError && (error.code === "ECONNRESET" || error.code === "EPIPE");
}

function asLinkError(error: unknown): LinkError {
  if (error instanceof LinkError) return error;
  if (isPeerGone(error)) return new LinkError("the peer closed the link", "closed", { cause: error });
  return new LinkError("the link's socket failed", "system", { cause: error });
}
