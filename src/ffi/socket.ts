/**
 * UNIX stream sockets that carry bytes and descriptors (unix(7), SCM_RIGHTS).
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";
import { addressOf } from "./memory.ts";
import { closeFd } from "./file.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_DOMAIN = 39;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SHUT_RDWR = 2;

/** The kernel's own limit on descriptors in a message (net/scm.h, SCM_MAX_FD). */
const SCM_MAX_FD = 253;
const CMSG_HEADER = 16; // struct cmsghdr: size_t cmsg_len @0, int cmsg_level @8, int cmsg_type @12

/** What {@linkcode MessageSocket.receive} and {@linkcode MessageSocket.send} return when the call would have to wait. */
export const WOULD_BLOCK = -1;

/** Makes a connected pair of stream sockets, close-on-exec. */
export function createSocketPair(): [number, number] {
  const pair = new Int32Array(2);
  checked("socketpair", syscalls().socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  return [pair[0], pair[1]];
}

/** Whether `fd` is a UNIX stream socket. Not a socket, or not open: no. */
export function isUnixStreamSocket(fd: number): boolean {
  return socketOption(fd, SO_DOMAIN) === AF_UNIX && socketOption(fd, SO_TYPE) === SOCK_STREAM;
}

function socketOption(fd: number, option: number): number | undefined {
  const value = new Int32Array(1);
  const length = Uint32Array.of(4);
  return syscalls().getsockopt(fd, SOL_SOCKET, option, value, length) < 0 ? undefined : value[0];
}

/** Ends both directions: whoever waits at either end is woken. */
export function shutdownSocket(fd: number): void {
  syscalls().shutdown(fd, SHUT_RDWR);
}

/**
 * Sends and receives over one socket without allocating: the message header, its vector and the control buffer are made once,
 * with their addresses in place. Does not own the descriptor.
 */
export class MessageSocket {
  /** Received descriptors, valid after {@linkcode receive} until the next call. Whoever takes them closes them. */
  readonly descriptors: number[] = [];
  /** Whether descriptors were lost because the control buffer was too small. */
  truncated = false;

  // struct msghdr (64-bit): name @0, namelen @8, iov @16, iovlen @24, control @32, controllen @40, flags @48
  readonly #header = new DataView(new ArrayBuffer(56));
  readonly #vector = new DataView(new ArrayBuffer(16)); // struct iovec: base @0, len @8
  readonly #control = new DataView(new ArrayBuffer(CMSG_HEADER + 4 * SCM_MAX_FD + 4));
  readonly #controlAddress: number;
  #buffer: ArrayBufferLike | undefined;
  #bufferAddress = 0;

  /** @param fd A UNIX stream socket. */
  constructor(readonly fd: number) {
    this.#controlAddress = Number(addressOf(this.#control));
    setAddress(this.#header, 16, Number(addressOf(this.#vector)));
    this.#header.setUint32(24, 1, true);
  }

  /**
   * Receives up to `length` bytes into `into` at `offset`, and descriptors into {@linkcode descriptors}.
   *
   * @param wait Whether to wait for the first byte (on a blocking socket).
   * @returns bytes received, 0 at the end of the stream, {@linkcode WOULD_BLOCK} when there is nothing yet (or a signal came).
   */
  receive(into: Uint8Array<ArrayBuffer>, offset: number, length: number, wait: boolean): number {
    this.descriptors.length = 0;
    this.#point(into, offset, length);
    setAddress(this.#header, 32, this.#controlAddress);
    this.#header.setUint32(40, this.#control.byteLength, true);
    const flags = MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT);
    const received = syscalls().recvmsg(this.fd, this.#header, flags);
    if (received < 0) return this.#notReady("recvmsg", received);
    // Set also when not one descriptor could be installed, and the control message is empty therefore.
    this.truncated = (this.#header.getInt32(48, true) & MSG_CTRUNC) !== 0;
    if (this.#header.getUint32(40, true) !== 0) this.#collectDescriptors();
    return received;
  }

  /**
   * Sends up to `length` bytes of `from` at `offset`, with descriptors beside the first of them.
   *
   * @param wait Whether to wait for room (on a blocking socket).
   * @returns bytes sent (the descriptors went with them), or {@linkcode WOULD_BLOCK}.
   */
  send(
    from: Uint8Array<ArrayBuffer>,
    offset: number,
    length: number,
    descriptors: readonly number[],
    wait: boolean,
  ): number {
    this.#point(from, offset, length);
    this.#placeDescriptors(descriptors);
    const sent = syscalls().sendmsg(this.fd, this.#header, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    return sent < 0 ? this.#notReady("sendmsg", sent) : sent;
  }

  #point(buffer: Uint8Array<ArrayBuffer>, offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > buffer.length) {
      throw new RangeError(`Range ${offset}+${length} lies outside a buffer of ${buffer.length} bytes`);
    }
    if (this.#buffer !== buffer.buffer) {
      this.#buffer = buffer.buffer;
      this.#bufferAddress = Number(addressOf(buffer)) - buffer.byteOffset;
    }
    setAddress(this.#vector, 0, this.#bufferAddress + buffer.byteOffset + offset);
    this.#vector.setUint32(8, length, true);
  }

  #placeDescriptors(descriptors: readonly number[]): void {
    if (descriptors.length > SCM_MAX_FD) throw new RangeError(`${descriptors.length} descriptors in one message`);
    const length = descriptors.length === 0 ? 0 : CMSG_HEADER + 4 * descriptors.length;
    setAddress(this.#header, 32, length === 0 ? 0 : this.#controlAddress);
    this.#header.setUint32(40, Math.ceil(length / 8) * 8, true);
    if (length === 0) return;
    this.#control.setUint32(0, length, true);
    this.#control.setUint32(4, 0, true);
    this.#control.setInt32(8, SOL_SOCKET, true);
    this.#control.setInt32(12, SCM_RIGHTS, true);
    descriptors.forEach((fd, i) => this.#control.setInt32(CMSG_HEADER + 4 * i, fd, true));
  }

  #collectDescriptors(): void {
    const end = this.#header.getUint32(40, true);
    for (let at = 0; at + CMSG_HEADER <= end;) {
      const length = this.#control.getUint32(at, true);
      if (length < CMSG_HEADER) break;
      if (this.#control.getInt32(at + 8, true) === SOL_SOCKET && this.#control.getInt32(at + 12, true) === SCM_RIGHTS) {
        for (let fd = at + CMSG_HEADER; fd + 4 <= Math.min(at + length, end); fd += 4) {
          this.descriptors.push(this.#control.getInt32(fd, true));
        }
      }
      at += Math.ceil(length / 8) * 8;
    }
  }

  #notReady(call: string, result: number): typeof WOULD_BLOCK {
    this.truncated = false;
    if (result === -Errno.EAGAIN || result === -Errno.EINTR) return WOULD_BLOCK;
    throw new SyscallError(`${call}(${this.fd})`, -result);
  }
}

/** Writes a pointer, which lies below 2^47, in halves: a BigInt would be garbage that each message leaves behind. */
function setAddress(structure: DataView, at: number, address: number): void {
  structure.setUint32(at, address, true);
  structure.setUint32(at + 4, address / 0x100000000, true);
}

/** Closes descriptors that were received and are not wanted. */
export function closeAll(descriptors: readonly number[]): void {
  for (const fd of descriptors) closeFd(fd);
}
