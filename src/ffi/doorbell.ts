/**
 * A doorbell between two processes that do not trust each other: one rings, the other waits for it among other descriptors.
 *
 * The ringer has an eventfd of its own; the listener has an epoll instance in which that eventfd is, and nothing else. So the listener hears
 * every ring, and can do nothing to the eventfd: whoever shares an eventfd can fill it up and make it blocking, and so hold up the one who
 * rings. A pair of sockets would do as well, but a message on a socket tells the scheduler that its sender is about to sleep (a
 * "synchronous" wake-up), upon which it puts the listener on the ringer's processor, where it waits for the ringer, and the ringer for it.
 *
 * The eventfd is watched edge-triggered: each ring counts, and nobody needs to take the count back.
 *
 * @module
 */
import { checked, Errno } from "./errno.ts";
import { createEventFd, EDGE_TRIGGERED, Epoll, Ready, signalEventFd } from "./event.ts";
import { closeFd } from "./file.ts";
import { syscalls } from "./syscall.ts";

/** One event (struct epoll_event), which nobody reads. */
const event = new Uint8Array(12);

/** Makes a doorbell. @returns the end that rings and the end that listens; close-on-exec. */
export function createDoorbell(): [ringer: number, listener: number] {
  const ringer = createEventFd();
  let epoll: Epoll | undefined;
  try {
    epoll = new Epoll(1);
    epoll.add(ringer, Ready.IN | EDGE_TRIGGERED);
    return [ringer, epoll.fd];
  } catch (error) {
    closeFd(ringer);
    epoll?.close();
    throw error;
  }
}

/** Rings, without waiting. The listener's descriptor becomes readable. */
export function ringDoorbell(ringer: number): void {
  signalEventFd(ringer);
}

/**
 * Takes back what has been rung so far, without waiting; the descriptor is readable again from the next ring on.
 *
 * @throws {SyscallError} when the descriptor is not a doorbell's.
 */
export function answerDoorbell(listener: number): void {
  const result = syscalls().epoll_pwait(listener, event, 1, 0, null, 8);
  if (result === -Errno.EINTR) return; // it stays readable
  checked(`epoll_wait(doorbell ${listener})`, result);
}
