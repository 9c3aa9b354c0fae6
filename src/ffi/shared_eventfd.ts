/**
 * Signalling an eventfd that an untrusted peer has, too.
 *
 * @module
 */
import { checked } from "./errno.ts";
import { createEventFd, Ready, signalEventFd } from "./event.ts";
import { closeFd } from "./file.ts";
import { addressOf } from "./memory.ts";
import { syscalls } from "./syscall.ts";

// linux/aio_abi.h
const IOCB_CMD_POLL = 5;
const IOCB_FLAG_RESFD = 1;

/** Asynchronous operations of a thread, one at a time. */
interface Operations {
  /** It lives as long as the process: to give it back takes the kernel 30 ms. */
  readonly context: bigint;
  /** struct iocb. The kernel follows addresses, which keep nothing from the garbage collector: so it is made once, and stays. */
  readonly request: DataView<ArrayBuffer>;
  /** struct iocb *[1] */
  readonly requests: BigUint64Array<ArrayBuffer>;
}

/** This thread's. */
let operations: Operations | undefined;

function openOperations(): Operations {
  const opened = new BigUint64Array(1);
  checked("io_setup", syscalls().io_setup(1, opened));
  const request = new DataView(new ArrayBuffer(64));
  return { context: opened[0], request, requests: BigUint64Array.of(addressOf(request)) };
}

const event = new Uint8Array(32); // struct io_event
const noTime = new Uint8Array(16); // struct timespec

/** Makes what {@linkcode signalSharedEventFd} needs on this thread, for one that may lose the right to. */
export function prepareSharedEventFds(): void {
  operations ??= openOperations();
}

/**
 * Adds one to an eventfd without ever waiting. A count that is full stays as it is.
 *
 * A write may wait: whether it does, and how full the count is, is up to everyone who has the eventfd. The kernel's own signals do not wait.
 * So this has the kernel signal the end of an asynchronous operation that is over at once: a look at an eventfd that is ready.
 */
export function signalSharedEventFd(fd: number): void {
  const { context, request, requests } = operations ??= openOperations();
  const ready = createEventFd();
  try {
    signalEventFd(ready);
    preparePoll(request, ready, fd);
    checked(`io_submit(eventfd ${fd})`, syscalls().io_submit(context, 1n, requests));
    // Makes room for the next one.
    checked("io_getevents", syscalls().io_getevents(context, 0n, 1n, event, noTime));
  } finally {
    closeFd(ready);
  }
}

/** struct iocb: opcode @16, fildes @20, buf (for a poll, the events) @24, flags @56, resfd @60. */
function preparePoll(request: DataView, ready: number, resultFd: number): void {
  request.setUint16(16, IOCB_CMD_POLL, true);
  request.setInt32(20, ready, true);
  request.setUint32(24, Ready.IN, true);
  request.setUint32(56, IOCB_FLAG_RESFD, true);
  request.setInt32(60, resultFd, true);
}
