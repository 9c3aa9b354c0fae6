/**
 * Waiting: eventfd, timerfd, epoll, poll.
 *
 * @module
 */
import { monotonicNow } from "./clock.ts";
import { checked, Errno, SyscallError } from "./errno.ts";
import { retrying, syscalls } from "./syscall.ts";

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const TFD_NONBLOCK = 0o4000;
const TFD_CLOEXEC = 0o2000000;
const TFD_TIMER_ABSTIME = 1;
const EPOLL_CLOEXEC = 0o2000000;
const CLOCK_MONOTONIC = 1;

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** Readiness bits, the same for epoll and poll (linux/eventpoll.h, asm-generic/poll.h). */
export const Ready = { IN: 0x001, OUT: 0x004, ERR: 0x008, HUP: 0x010, RDHUP: 0x2000 } as const;

/**
 * With other bits, for epoll: reports each event once, not for as long as it is there (EPOLLET). An eventfd watched so is never read: every
 * signal is an event of its own.
 */
export const EDGE_TRIGGERED = 0x80000000;

const one = new Uint8Array(BigUint64Array.of(1n).buffer);
const counter = new Uint8Array(8);
const pollfd = new DataView(new ArrayBuffer(8)); // struct pollfd: int fd @0, short events @4, short revents @6

function setPollFd(fd: number, events: number): void {
  pollfd.setInt32(0, fd, true);
  pollfd.setInt16(4, events, true);
}

/** Makes an eventfd, non-blocking and close-on-exec, its count zero. */
export function createEventFd(): number {
  return checked("eventfd", syscalls().eventfd2(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

/** Adds one to an eventfd. @returns false where the count is full, which a reader sees as ready in any case. */
export function signalEventFd(fd: number): boolean {
  const result = syscalls().write(fd, one, 8);
  if (result >= 0) return true;
  if (result === -Errno.EAGAIN) return false;
  throw new SyscallError(`write(eventfd ${fd})`, -result);
}

/**
 * Whether a descriptor is ready now. For descriptors that another process can make blocking at any time: a read or write right after this
 * does not wait, unless somebody else is faster.
 */
export function isReady(fd: number, events: number): boolean {
  setPollFd(fd, events);
  const count = syscalls().poll(pollfd, 1, 0);
  // One of many turns of a loop may ask, so nothing is made that is not needed.
  if (count === -Errno.EINTR) return isReady(fd, events);
  if (count < 0) throw new SyscallError(`poll(${fd})`, -count);
  return count > 0 && (pollfd.getUint16(6, true) & events) !== 0;
}

/** Takes the count of an eventfd or the expirations of a timerfd back to zero. @returns whether it was above zero. */
export function drainEventFd(fd: number): boolean {
  const result = syscalls().read(fd, counter, 8);
  if (result >= 0) return true;
  if (result === -Errno.EAGAIN || result === -Errno.EINTR) return false;
  throw new SyscallError(`read(eventfd ${fd})`, -result);
}

/** Makes a timer on CLOCK_MONOTONIC that becomes readable when it fires; disarmed. */
export function createTimerFd(): number {
  return checked("timerfd_create", syscalls().timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

const timerSpec = new DataView(new ArrayBuffer(32)); // struct itimerspec: interval {s, ns} @0, value {s, ns} @16

/**
 * Sets when a timerfd fires.
 *
 * @param deadline Nanoseconds on CLOCK_MONOTONIC (see `monotonicNow`); `undefined` disarms. A moment in the past fires at
 * once.
 */
export function armTimerFd(fd: number, deadline: number | undefined): void {
  // A value of zero would disarm, so a deadline at the clock's origin becomes one nanosecond.
  const at = deadline === undefined ? 0 : Math.max(1, Math.ceil(deadline));
  timerSpec.setUint32(16, Math.min(Math.floor(at / 1e9), 0xffffffff), true); // a century after the host's start at most
  timerSpec.setUint32(24, at % 1e9, true);
  const result = syscalls().timerfd_settime(fd, TFD_TIMER_ABSTIME, timerSpec, null);
  if (result < 0) throw new SyscallError(`timerfd_settime(${fd})`, -result);
}

/** A set of descriptors to wait on (epoll(7), level-triggered). */
export class Epoll {
  readonly #fd: number;
  readonly #capacity: number;
  readonly #events: DataView<ArrayBuffer>;
  readonly #change = new DataView(new ArrayBuffer(12));

  /** @param capacity How many descriptors one {@linkcode wait} can report. @default {32} */
  constructor(capacity = 32) {
    this.#capacity = capacity;
    this.#events = new DataView(new ArrayBuffer(12 * capacity)); // struct epoll_event is packed on x86-64: 12 bytes
    this.#fd = checked("epoll_create1", syscalls().epoll_create1(EPOLL_CLOEXEC));
  }

  /** The descriptor, which is readable when one of those that are watched is ready. */
  get fd(): number {
    return this.#fd;
  }

  /** Watches `fd` for {@linkcode Ready} bits; ERR and HUP are always watched. */
  add(fd: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
  }

  /** Changes what `fd` is watched for. */
  modify(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /** Stops watching `fd`. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /**
   * Waits, and calls `ready` for each descriptor that is.
   *
   * @param timeout Milliseconds; -1 waits without limit, 0 only looks.
   * @returns how many descriptors were ready; 0 also when a signal ended the wait.
   */
  wait(timeout: number, ready: (fd: number, events: number) => void): number {
    return this.#report(syscalls().epoll_pwait(this.#fd, this.#events, this.#capacity, timeout, null, 8), ready);
  }

  /**
   * The same for a thread with an event loop, which goes on meanwhile: the wait is another thread's. It lasts until something is ready;
   * descriptors can be added, modified and removed during it. One wait at a time.
   */
  async waitElsewhere(ready: (fd: number, events: number) => void): Promise<number> {
    const count = await syscalls().epoll_pwait_elsewhere(this.#fd, this.#events, this.#capacity, -1, null, 8);
    return this.#report(count, ready);
  }

  /** Closes the epoll descriptor; what it watched stays open. */
  close(): void {
    syscalls().close(this.#fd);
  }

  #report(count: number, ready: (fd: number, events: number) => void): number {
    if (count === -Errno.EINTR) return 0;
    checked("epoll_wait", count);
    // The kernel lists first what was ready last time as well. The others, which are rarer, go before it.
    for (let i = count - 1; i >= 0; i--) {
      ready(this.#events.getInt32(12 * i + 4, true), this.#events.getUint32(12 * i, true));
    }
    return count;
  }

  #control(operation: number, fd: number, events: number): void {
    this.#change.setUint32(0, events, true);
    this.#change.setInt32(4, fd, true);
    checked(`epoll_ctl(${fd})`, syscalls().epoll_ctl(this.#fd, operation, fd, this.#change));
  }
}

/**
 * Waits for one descriptor.
 *
 * @param events {@linkcode Ready} bits.
 * @param timeout Milliseconds; -1 waits without limit.
 * @returns the bits that are ready, 0 after the timeout. A signal does not end the wait.
 */
export function pollFd(fd: number, events: number, timeout: number): number {
  setPollFd(fd, events);
  const deadline = timeout < 0 ? Infinity : monotonicNow() + timeout * 1e6;
  retrying(`poll(${fd})`, () => {
    const left = deadline === Infinity ? -1 : Math.max(0, Math.ceil((deadline - monotonicNow()) / 1e6));
    return syscalls().poll(pollfd, 1, left);
  });
  return pollfd.getUint16(6, true);
}
