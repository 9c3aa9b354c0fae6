/**
 * What has become of a device process: why its device was given up, for the log and for those who watch the machine.
 *
 * Any thread may be the one that finds it gone. What that finds out is left in memory that the control thread reads, since that alone speaks to
 * clients.
 *
 * @module
 */
import { bytes, defineState } from "../device/state.ts";
import { pollFd, Ready } from "../ffi/event.ts";
import { endOfChild, type ExitStatus, killBehind } from "../ffi/process.ts";
import type { LinkError, LinkFailure } from "../link/link_error.ts";
import { printable } from "../printable.ts";
import type { DeviceProcessHandle } from "./machine_handle.ts";

/**
 * Why a device was given up. By number in shared memory.
 *
 * - `died`: its process has ended;
 * - `closed`: its process has closed the link, and lives, or nobody here can know;
 * - `hung`: it did not answer within its deadline;
 * - `protocol`: what it sent was not what it should be.
 */
export const FAILURE_REASONS = ["died", "closed", "hung", "protocol"] as const;

/** See {@linkcode FAILURE_REASONS}. */
export type FailureReason = typeof FAILURE_REASONS[number];

/** A device that was given up. */
export interface DeviceFailure {
  readonly reason: FailureReason;
  /** What happened: part of a line, for people. */
  readonly detail: string;
  /** How the process ended, where that is the reason. */
  readonly status: ExitStatus | undefined;
}

/** Bytes that are kept of a detail. */
const DETAIL_SIZE = 256;

const buffer = new Uint8Array(DETAIL_SIZE);

/** Ways to end, by number in shared memory. */
const Ending = { NONE: 0, CODE: 1, SIGNAL: 2 } as const;

/** What all threads share about a device process. */
export const DeviceProcessState = defineState("device-process", 1, {
  /** How often the device was given up; what follows is about the last time. */
  failures: "u32",
  reason: "u8",
  ending: "u8",
  status: "i32",
  detailLength: "u16",
  detail: bytes(DETAIL_SIZE),
});

/**
 * How long to wait for the end of a process that has closed its link, in milliseconds. One that dies closes its descriptors first; freeing its
 * memory takes longer.
 */
export const END_PATIENCE = 250;

/** A device process, as one thread sees it. */
export class DeviceProcessStatus {
  readonly #state: ReturnType<typeof DeviceProcessState.attach>;
  readonly #process: DeviceProcessHandle | undefined;

  /** @param process Where it is this process's child. */
  constructor(state: ReturnType<typeof DeviceProcessState.attach>, process: DeviceProcessHandle | undefined) {
    this.#state = state;
    this.#process = process;
  }

  /** How often its device was given up. */
  get failures(): number {
    return this.#state.failures;
  }

  /** Why it was, the last time. */
  get failure(): DeviceFailure | undefined {
    const { failures, reason, ending, status, detail, detailLength } = this.#state;
    if (failures === 0) return undefined;
    return {
      reason: FAILURE_REASONS[reason],
      // A copy: TextDecoder takes no shared memory.
      detail: new TextDecoder().decode(detail.slice(0, detailLength)),
      status: ending === Ending.NONE ? undefined : ending === Ending.CODE ? { code: status } : { signal: status },
    };
  }

  /**
   * Notes that the device was given up. A process of this one's that may live on is killed: a guest that was told that its device is gone uses
   * the memory again that the device has been told to write to.
   */
  fail(error: LinkError): DeviceFailure {
    const failure = this.#explain(error);
    const state = this.#state;
    const { written } = new TextEncoder().encodeInto(failure.detail, buffer);
    state.detail.set(buffer);
    state.detailLength = written;
    state.reason = FAILURE_REASONS.indexOf(failure.reason);
    const { status } = failure;
    state.ending = status === undefined ? Ending.NONE : "code" in status ? Ending.CODE : Ending.SIGNAL;
    state.status = status === undefined ? 0 : "code" in status ? status.code : status.signal;
    state.failures++;
    return failure;
  }

  #explain({ failure, message }: LinkError): DeviceFailure {
    const reason = REASONS[failure];
    const status = reason === "closed" ? this.#awaitEnd() : undefined;
    if (status !== undefined) return { reason: "died", detail: describeEnd(status), status };
    if (this.#process !== undefined) killBehind(this.#process.pidfd);
    const detail = reason === "hung" ? `its process hangs: ${message}` : message;
    return { reason, detail: printable(detail), status: undefined };
  }

  #awaitEnd(): ExitStatus | undefined {
    if (this.#process === undefined) return undefined;
    const { pidfd } = this.#process;
    return pollFd(pidfd, Ready.IN, END_PATIENCE) === 0 ? undefined : endOfChild(pidfd);
  }
}

const REASONS: Readonly<Record<LinkFailure, FailureReason>> = {
  closed: "closed",
  truncated: "closed",
  system: "closed",
  timeout: "hung",
  protocol: "protocol",
};

/** How a process ended, in words. */
export function describeEnd(status: ExitStatus): string {
  return "code" in status
    ? `its process exited with status ${status.code}`
    : `its process was killed by signal ${status.signal}`;
}
