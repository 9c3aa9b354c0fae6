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

/** This thread's context for asynchronous operations. It lives as long as the process: to give it back takes the kernel 30 ms. */
let context: bigint | undefined;

function openContext(): bigint {
  const opened = new BigUint64Array(1);
  checked("io_setup", syscalls().io_setup(1, opened));
  return opened[0];
}

const event = new Uint8Array(32); // struct io_event
const noTime = new Uint8Array(16); // struct timespec

/** Makes what {@linkcode signalSharedEventFd} needs on this thread, for one that may lose the right to. */
export function prepareSharedEventFds(): void {
  context ??= openContext();
}

/**
 * Adds one to an eventfd without ever waiting. A count that is full stays as it is.
 *
 * A write may wait: whether it does, and how full the count is, is up to everyone who has the eventfd. The kernel's own signals do not wait.
 * So this has the kernel signal the end of an asynchronous operation that is over at once: a look at an eventfd that is ready.
 */
export function signalSharedEventFd(fd: number): void {
  prepareSharedEventFds();
  const ready = createEventFd();
  try {
    signalEventFd(ready);
    const iocb = pollRequest(ready, fd);
    checked(`io_submit(eventfd ${fd})`, syscalls().io_submit(context!, 1n, BigUint64Array.of(addressOf(iocb))));
    // Makes room for the next one.
    checked("io_getevents", syscalls().io_getevents(context!, 0n, 1n, event, noTime));
  } finally {
    closeFd(ready);
  }
}

/** struct iocb: opcode @16, fildes @20, buf (for a poll, the events) @24, flags @56, resfd @60. */
function pollRequest(ready: number, resultFd: number): DataView<ArrayBuffer> {
  const iocb = new DataView(new ArrayBuffer(64));
  iocb.setUint16(16, IOCB_CMD_POLL, true);
  iocb.setInt32(20, ready, true);
  iocb.setUint32(24, Ready.IN, true);
  iocb.setUint32(56, IOCB_FLAG_RESFD, true);
  iocb.setInt32(60, resultFd, true);
  return iocb;
}
