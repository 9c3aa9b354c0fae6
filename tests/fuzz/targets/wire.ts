/**
 * What the two targets of the link have in common: messages as an input describes them, and the end of a socket that
 * sends them.
 *
 * @module
 */
import { closeFd } from "../../../src/ffi/file.ts";
import { closeAll, MessageSocket } from "../../../src/ffi/socket.ts";
import { Command, HEADER_SIZE, Message } from "../../../src/link/message.ts";
import type { ByteReader } from "../engine/byte_reader.ts";
import { u16 } from "../engine/byte_writer.ts";
import type { HostileDescriptors } from "./hostile_descriptors.ts";

/** How a piece of the stream is described. */
export const Form = {
  /** Command, descriptors, payload of the command's size; the header fits. */
  MESSAGE: 0,
  /** The same with a size of the input's choice in the header, and as many bytes behind it. */
  WRONG_SIZE: 1,
  /** The same, cut off somewhere. */
  CUT: 2,
  /** Bytes and descriptors. */
  BYTES: 3,
  COUNT: 4,
} as const;

const PAYLOAD_SIZES: Readonly<Record<number, number>> = {
  [Command.SYNC_SYSMEM]: 192,
  [Command.RET]: 8,
  [Command.PCI_CFGWRITE]: 12,
  [Command.PCI_CFGREAD]: 12,
  [Command.BAR_WRITE]: 24,
  [Command.BAR_READ]: 24,
  [Command.RING_SETUP]: 8,
  [Command.RING_READY]: 504,
  [Command.PROXY_PING]: 8,
  [Command.PROXY_PONG]: 8,
};

/** Some bytes of a stream, and what travels with the first of them. */
export interface StreamPiece {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly descriptors: readonly number[];
}

/** Reads a piece. */
export function readPiece(input: ByteReader, hostile: HostileDescriptors): StreamPiece {
  const form = input.u8() % Form.COUNT;
  if (form === Form.BYTES) {
    const descriptors = hostile.take(input);
    return { descriptors, bytes: input.bytes(input.u8()).slice() };
  }
  const command = input.u8();
  const descriptors = hostile.take(input);
  const size = form === Form.WRONG_SIZE ? input.u16() : PAYLOAD_SIZES[command] ?? 0;
  const bytes = new Uint8Array(HEADER_SIZE + size);
  const header = new DataView(bytes.buffer);
  header.setInt32(0, command, true);
  header.setUint32(8, size, true);
  if (form === Form.CUT) return { descriptors, bytes: bytes.subarray(0, input.u16() % bytes.length) };
  bytes.set(input.bytes(size), HEADER_SIZE);
  return { descriptors, bytes };
}

/** A message as {@linkcode readPiece} reads it, for seeds. */
export function messagePiece(make: (message: Message) => void, ...kinds: readonly number[]): number[] {
  const message = new Message();
  make(message);
  const payload = message.bytes.subarray(HEADER_SIZE, message.length);
  const expected = PAYLOAD_SIZES[message.command] ?? 0;
  if (payload.length === expected) return [Form.MESSAGE, message.command, kinds.length, ...kinds, ...payload];
  return [Form.WRONG_SIZE, message.command, kinds.length, ...kinds, ...u16(payload.length), ...payload];
}

/** Raw bytes as {@linkcode readPiece} reads them, for seeds. */
export function bytesPiece(bytes: readonly number[], ...kinds: readonly number[]): number[] {
  return [Form.BYTES, kinds.length, ...kinds, bytes.length, ...bytes];
}

/** The hostile end of a link. */
export class HostileEnd {
  readonly #socket: MessageSocket;
  readonly #incoming = new Uint8Array(0x10000);
  /** What has come, and does not make a whole message yet. */
  #part = new Uint8Array(0);

  constructor(readonly fd: number) {
    this.#socket = new MessageSocket(fd);
  }

  /** Sends what the socket takes. @returns false when the peer is gone. */
  send({ bytes, descriptors }: StreamPiece): boolean {
    if (bytes.length === 0) return true; // descriptors cannot travel alone
    try {
      this.#socket.send(bytes, 0, bytes.length, descriptors, false);
      return true;
    } catch {
      return false;
    }
  }

  /** Takes all whole messages that have come; their descriptors are closed. */
  *take(): Generator<{ readonly command: number; readonly payload: DataView }> {
    for (let length = this.#receive(); length > 0; length = this.#receive()) {
      const joined = new Uint8Array(this.#part.length + length);
      joined.set(this.#part);
      joined.set(this.#incoming.subarray(0, length), this.#part.length);
      this.#part = joined;
    }
    while (this.#part.length >= HEADER_SIZE) {
      const view = new DataView(this.#part.buffer, this.#part.byteOffset);
      const end = HEADER_SIZE + view.getUint32(8, true);
      if (this.#part.length < end) return;
      const payload = this.#part.slice(HEADER_SIZE, end);
      this.#part = this.#part.subarray(end);
      yield { command: view.getInt32(0, true), payload: new DataView(payload.buffer) };
    }
  }

  /** Bytes that have come behind the last whole message. */
  get partial(): number {
    return this.#part.length;
  }

  close(): void {
    closeFd(this.fd);
  }

  #receive(): number {
    try {
      return this.#socket.receive(this.#incoming, 0, this.#incoming.length, false);
    } catch {
      return 0; // ECONNRESET: closed with bytes of ours unread
    } finally {
      closeAll(this.#socket.descriptors.splice(0));
    }
  }
}
