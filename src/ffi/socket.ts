/**
 * UNIX stream sockets that carry bytes and descriptors (unix(7), SCM_RIGHTS).
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { syscalls } from "./syscall.ts";
import { addressOf, lastingAddress } from "./memory.ts";
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
/** asm-generic/ioctls.h; of a UNIX stream socket, all that waits to be read (unix(7), SIOCINQ). */
export const FIONREAD = 0x541b;

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

/** How many bytes could be read at once, in all messages together. */
export function unreadBytes(fd: number): number {
  const count = new Int32Array(1);
  checked(`ioctl(${fd}, FIONREAD)`, syscalls().ioctl_buffer(fd, FIONREAD, count));
  return count[0];
}

/** Ends both directions: whoever waits at either end is woken. */
export function shutdownSocket(fd: number): void {
  syscalls().shutdown(fd, SHUT_RDWR);
}

/** A struct msghdr with one vector, and a control buffer beside it. */
class MessageHeader {
  /** What comes or goes beside the bytes: struct cmsghdr, and descriptors. */
  readonly control = new DataView(new ArrayBuffer(CMSG_HEADER + 4 * SCM_MAX_FD + 4));
  // struct msghdr (64-bit): name @0, namelen @8, iov @16, iovlen @24, control @32, controllen @40, flags @48
  readonly structure = new DataView(new ArrayBuffer(56));
  readonly #vector = new DataView(new ArrayBuffer(16)); // struct iovec: base @0, len @8
  readonly #controlAddress = Number(addressOf(this.control));
  #bytes: Uint8Array | undefined;
  #address = 0;

  constructor() {
    setAddress(this.structure, 16, Number(addressOf(this.#vector)));
    this.structure.setUint32(24, 1, true);
  }

  /** Makes a part of `bytes` what is sent, or where to receive. */
  point(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > bytes.length) {
      throw new RangeError(`Range ${offset}+${length} lies outside a buffer of ${bytes.length} bytes`);
    }
    if (this.#bytes !== bytes) {
      this.#bytes = bytes;
      this.#address = lastingAddress(bytes);
    }
    setAddress(this.#vector, 0, this.#address + offset);
    this.#vector.setUint32(8, length, true);
  }

  /** Says how much of {@linkcode control} is used. */
  set controlLength(length: number) {
    setAddress(this.structure, 32, length === 0 ? 0 : this.#controlAddress);
    this.structure.setUint32(40, length, true);
  }

  get controlLength(): number {
    return this.structure.getUint32(40, true);
  }

  get flags(): number {
    return this.structure.getInt32(48, true);
  }
}

/**
 * Sends and receives over one socket without allocating: what the kernel is told for each way is made once, with the addresses in place. Does
 * not own the descriptor.
 */
export class MessageSocket {
  /** Received descriptors, valid after {@linkcode receive} until the next call. Whoever takes them closes them. */
  readonly descriptors: number[] = [];
  /** Whether descriptors were lost because the control buffer was too small. */
  truncated = false;

  readonly #incoming = new MessageHeader();
  readonly #outgoing = new MessageHeader();

  /** @param fd A UNIX stream socket. */
  constructor(readonly fd: number) {}

  /**
   * Receives up to `length` bytes into `into` at `offset`, and descriptors into {@linkcode descriptors}.
   *
   * @param wait Whether to wait for the first byte (on a blocking socket).
   * @returns bytes received, 0 at the end of the stream, {@linkcode WOULD_BLOCK} when there is nothing yet (or a signal came).
   */
  receive(into: Uint8Array<ArrayBuffer>, offset: number, length: number, wait: boolean): number {
    const header = this.#incoming;
    if (this.descriptors.length > 0) this.descriptors.length = 0; // to set it is not for free
    header.point(into, offset, length);
    header.controlLength = header.control.byteLength;
    const flags = MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT);
    const received = syscalls().recvmsg(this.fd, header.structure, flags);
    if (received < 0) return this.#notReady("recvmsg", received);
    // Set also when not one descriptor could be installed, and the control message is empty therefore.
    this.truncated = (header.flags & MSG_CTRUNC) !== 0;
    if (header.controlLength !== 0) this.#collectDescriptors();
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
    const header = this.#outgoing;
    header.point(from, offset, length);
    this.#placeDescriptors(descriptors);
    const sent = syscalls().sendmsg(this.fd, header.structure, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    return sent < 0 ? this.#notReady("sendmsg", sent) : sent;
  }

  #placeDescriptors(descriptors: readonly number[]): void {
    if (descriptors.length > SCM_MAX_FD) throw new RangeError(`${descriptors.length} descriptors in one message`);
    const header = this.#outgoing;
    const { control } = header;
    const length = descriptors.length === 0 ? 0 : CMSG_HEADER + 4 * descriptors.length;
    header.controlLength = Math.ceil(length / 8) * 8;
    if (length === 0) return;
    control.setUint32(0, length, true);
    control.setUint32(4, 0, true);
    control.setInt32(8, SOL_SOCKET, true);
    control.setInt32(12, SCM_RIGHTS, true);
    descriptors.forEach((fd, i) => control.setInt32(CMSG_HEADER + 4 * i, fd, true));
  }

  #collectDescriptors(): void {
    const { control, controlLength } = this.#incoming;
    for (let at = 0; at + CMSG_HEADER <= controlLength;) {
      const length = control.getUint32(at, true);
      if (length < CMSG_HEADER) break;
      if (control.getInt32(at + 8, true) === SOL_SOCKET && control.getInt32(at + 12, true) === SCM_RIGHTS) {
        for (let fd = at + CMSG_HEADER; fd + 4 <= Math.min(at + length, controlLength); fd += 4) {
          this.descriptors.push(control.getInt32(fd, true));
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
