/**
 * SCSI messages as a target sees and sends them (SCSI-2, X3.131-1994, section 6.6; SPI-3, section 16).
 *
 * @module
 */
import { TaskAttribute, type TaskAttributeCode } from "../scsi/scsi.ts";

/** Message codes. */
export const Message = {
  COMMAND_COMPLETE: 0x00,
  EXTENDED: 0x01,
  SAVE_DATA_POINTER: 0x02,
  DISCONNECT: 0x04,
  ABORT: 0x06,
  MESSAGE_REJECT: 0x07,
  NO_OPERATION: 0x08,
  MESSAGE_PARITY_ERROR: 0x09,
  BUS_DEVICE_RESET: 0x0c,
  ABORT_TAG: 0x0d,
  CLEAR_QUEUE: 0x0e,
  INITIATOR_DETECTED_ERROR: 0x05,
  SIMPLE_QUEUE_TAG: 0x20,
  HEAD_OF_QUEUE_TAG: 0x21,
  ORDERED_QUEUE_TAG: 0x22,
  IDENTIFY: 0x80,
} as const;

/** IDENTIFY: the initiator lets the target disconnect. */
export const IDENTIFY_DISCONNECT = 0x40;
/** IDENTIFY: the logical unit (SPI-3, section 16.3.6). */
export const IDENTIFY_LUN = 0x3f;

/** Codes of extended messages. */
const Extended = { SDTR: 0x01, WDTR: 0x03, PPR: 0x04 } as const;

/** The longest message: EXTENDED, a length byte that stands for 256, and as many bytes. */
export const MAX_MESSAGE = 258;

/** The REQ/ACK offset that the chip can do (manual, SXFER register), so that a target agrees to no more. */
const MAX_OFFSET = 31;

/** The fastest period factor without double-transition clocking: 25 ns (SPI-3, section 16.3.10). */
const MIN_SINGLE_TRANSITION_PERIOD = 0x0a;

/** Whether a message carries a queue tag in its second byte. */
export function isQueueTag(code: number): boolean {
  return code >= Message.SIMPLE_QUEUE_TAG && code <= Message.ORDERED_QUEUE_TAG;
}

/** The task attribute that a queue tag message gives to a command. */
export function queueAttribute(code: number): TaskAttributeCode {
  if (code === Message.HEAD_OF_QUEUE_TAG) return TaskAttribute.HEAD_OF_QUEUE;
  return code === Message.ORDERED_QUEUE_TAG ? TaskAttribute.ORDERED : TaskAttribute.SIMPLE;
}

/** Puts messages together from the bytes of MESSAGE OUT phases, which may cut them anywhere. */
export class MessageAssembler {
  /** The bytes of the message so far; a whole message after {@linkcode add} has returned true. */
  readonly bytes = new Uint8Array(MAX_MESSAGE);
  /** How many of them there are. */
  count = 0;
  #whole = false;

  /** Whether a message has begun and not ended. */
  get partial(): boolean {
    return this.count > 0 && !this.#whole;
  }

  /** Takes the next byte. @returns Whether it completes a message. */
  add(byte: number): boolean {
    if (this.#whole) this.clear();
    this.bytes[this.count++] = byte;
    this.#whole = this.count >= this.#expected();
    return this.#whole;
  }

  clear(): void {
    this.count = 0;
    this.#whole = false;
  }

  /** Length of the message by its first bytes (SCSI-2, section 6.5). */
  #expected(): number {
    const code = this.bytes[0];
    if (code === Message.EXTENDED) return this.count < 2 ? 2 : 2 + (this.bytes[1] || 256);
    return code >= 0x20 && code <= 0x2f ? 2 : 1;
  }
}

/**
 * A target's answer to an extended message: it agrees to any width and to any transfer that the chip can do, since
 * nothing here depends on either. Double-transition transfers and what builds on them it declines.
 *
 * @param message The whole message.
 * @returns The answer, or `undefined` for a message that a target has to reject.
 */
export function negotiate(message: Uint8Array): Uint8Array | undefined {
  const [, length, code, ...fields] = message;
  if (code === Extended.SDTR && length === 3) {
    const [period, offset] = fields;
    return Uint8Array.of(Message.EXTENDED, 3, Extended.SDTR, period, Math.min(offset, MAX_OFFSET));
  }
  if (code === Extended.WDTR && length === 2) {
    return Uint8Array.of(Message.EXTENDED, 2, Extended.WDTR, Math.min(fields[0], 1));
  }
  if (code === Extended.PPR && length === 6) {
    const [period, , offset, width] = fields;
    const agreed = Math.max(period, MIN_SINGLE_TRANSITION_PERIOD);
    return Uint8Array.of(
      Message.EXTENDED,
      6,
      Extended.PPR,
      agreed,
      0,
      Math.min(offset, MAX_OFFSET),
      Math.min(width, 1),
      0,
    );
  }
  return undefined;
}
