/**
 * The heartbeat of a device process: PROXY_PING goes out now and then, and PROXY_PONG has to come back.
 *
 * One ping is on its way at a time. Answers come in the order of the requests, so a thread that calls while one is on its way gets the
 * answer to the ping before its own; whichever thread it is, it is noted in memory that all of them share.
 *
 * @module
 */
import { defineState } from "../device/state.ts";
import { monotonicNow } from "../ffi/clock.ts";
import { isReady, Ready } from "../ffi/event.ts";
import { unreadBytes } from "../ffi/socket.ts";
import type { Channel } from "../link/channel.ts";
import { LinkError } from "../link/link_error.ts";
import { Command, type Message } from "../link/message.ts";

/** What all threads share; times are nanoseconds. */
const HeartbeatState = defineState("pci-proxy-heartbeat", 1, {
  /** Whether a ping is on its way, its number, and when it was sent. */
  outstanding: "bool",
  number: "u32",
  sentAt: "f64",
  sent: "f64",
  answered: "f64",
  /** From a ping to the moment in which somebody took its answer. */
  last: "f64",
  longest: "f64",
  total: "f64",
});

/** Bytes of shared memory for a {@linkcode Heartbeat}. */
export const HEARTBEAT_SIZE: number = HeartbeatState.size;

/** What is known of the answers so far; times are nanoseconds, `undefined` before the first answer. */
export interface HeartbeatFigures {
  readonly sent: number;
  readonly answered: number;
  readonly last: number | undefined;
  readonly mean: number | undefined;
  readonly longest: number | undefined;
}

/** The heartbeat of one link, as one thread sees it. Every method but {@linkcode figures} is called with the link's lock held. */
export class Heartbeat {
  readonly #state: ReturnType<typeof HeartbeatState.attach>;

  /** @param memory {@linkcode HEARTBEAT_SIZE} bytes, zero at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#state = HeartbeatState.attach(memory);
  }

  /** How many pings have been answered. */
  get answered(): number {
    return this.#state.answered;
  }

  /** Whether a ping is on its way. */
  get outstanding(): boolean {
    return this.#state.outstanding;
  }

  /**
   * Sends a ping, unless one is on its way, or the peer has left so much unread that sending would have to wait.
   *
   * @throws {LinkError} when something lies there to be read, since nothing was asked for; and when the link is down.
   */
  send(channel: Channel): void {
    const state = this.#state;
    if (state.outstanding) return;
    const stray = unreadBytes(channel.fd);
    if (stray > 0) throw new LinkError(`it sent ${stray} bytes that nobody asked for`);
    if (!isReady(channel.fd, Ready.OUT)) return;
    channel.outgoing.setPing(state.number);
    channel.send(channel.outgoing, undefined, 0);
    state.outstanding = true;
    state.sentAt = monotonicNow();
    state.sent++;
  }

  /** Takes the answer off the link, if all of it is there. Never waits. @throws {LinkError} when it is not the answer. */
  collect(channel: Channel): void {
    if (!this.#state.outstanding || !channel.takeReply() || this.take(channel.incoming)) return;
    throw new LinkError("it answered a ping by something else");
  }

  /** Notes the answer to a ping. @returns whether the message is that. */
  take({ command, pingNumber }: Message): boolean {
    const state = this.#state;
    if (command !== Command.PROXY_PONG || !state.outstanding || pingNumber !== state.number) return false;
    const took = monotonicNow() - state.sentAt;
    state.outstanding = false;
    state.number++;
    state.answered++;
    state.last = took;
    state.total += took;
    state.longest = Math.max(state.longest, took);
    return true;
  }

  /** The link is another one from now on: nothing is on its way there. The figures stay. */
  restart(): void {
    this.#state.outstanding = false;
  }

  /** What is known so far. */
  figures(): HeartbeatFigures {
    const { sent, answered, last, longest, total } = this.#state;
    if (answered === 0) return { sent, answered, last: undefined, mean: undefined, longest: undefined };
    return { sent, answered, last, mean: total / answered, longest };
  }
}
