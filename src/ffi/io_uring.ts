/**
 * io_uring: requests to the kernel through a ring of memory, and their results through another (io_uring(7)).
 *
 * The rings are shared with the kernel, which may run on another processor: the end that a side moves is stored after what it announces, and
 * loaded before it (io_uring(7), "The submission queue" and its memory barriers). `Atomics` on the mapped memory gives that order.
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { closeFd } from "./file.ts";
import { mapFile, type Mapping } from "./memory.ts";
import { syscalls } from "./syscall.ts";

/** Operations (linux/io_uring.h, IORING_OP_*). */
export const RingOperation = { NOP: 0, FSYNC: 3, FALLOCATE: 17, READ: 22, WRITE: 23, FTRUNCATE: 55 } as const;

/** Flags of io_uring_setup(2). */
const Setup = {
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  R_DISABLED: 1 << 6,
  SUBMIT_ALL: 1 << 7,
  COOP_TASKRUN: 1 << 8,
  TASKRUN_FLAG: 1 << 9,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
} as const;

const BASE = Setup.CQSIZE | Setup.CLAMP;

/** As the kernel has them since Linux 5.10: rings that can be restricted before they are used. */
const RESTRICTED = BASE | Setup.R_DISABLED;

/**
 * What is asked for, the best first; a kernel answers EINVAL to flags that it does not know. Without COOP_TASKRUN (Linux 5.19) each
 * completion interrupts the thread wherever it is; with DEFER_TASKRUN (Linux 6.1) completions wait until the thread asks for them.
 */
const SETUPS: readonly number[] = [
  RESTRICTED | Setup.SUBMIT_ALL | Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN | Setup.TASKRUN_FLAG,
  RESTRICTED | Setup.SUBMIT_ALL | Setup.COOP_TASKRUN | Setup.TASKRUN_FLAG,
  RESTRICTED,
  BASE,
];

/** Features that the rings here are built on (IORING_FEAT_*): one mapping for both (Linux 5.4), no lost completions (5.5). */
const FEATURES = 1 << 0 | 1 << 1;

const OFFSET_SQES = 0x10000000;
const ENTER_GETEVENTS = 1;
const CQ_EVENTFD_DISABLED = 1;
const REGISTER_EVENTFD = 4;
const REGISTER_PROBE = 8;
const REGISTER_RESTRICTIONS = 11;
const REGISTER_ENABLE_RINGS = 12;
const RESTRICTION_REGISTER_OP = 0;
const RESTRICTION_SQE_OP = 1;
/** struct io_uring_restriction: u16 opcode @0, u8 of what is allowed @2; 16 bytes. */
const RESTRICTION_SIZE = 16;
const OPERATION_SUPPORTED = 1;
const FSYNC_DATASYNC = 1;

/** Bits of the submission ring's flags: the kernel holds completions back until it is entered. */
const SQ_CQ_OVERFLOW = 1 << 1;
const SQ_TASKRUN = 1 << 2;

const SQE_WORDS = 16;
const CQE_WORDS = 4;
const HIGH = 2 ** 32;

/** Sizes of the rings and the places of their parts: struct io_uring_params, 120 bytes. */
class RingParameters {
  readonly #view = new DataView(new ArrayBuffer(120));

  constructor(completions: number, flags: number) {
    this.#view.setUint32(4, completions, true);
    this.#view.setUint32(8, flags, true);
  }

  get bytes(): DataView<ArrayBuffer> {
    return this.#view;
  }

  /** One of the fields of 32 bits: 0 sq_entries, 1 cq_entries, 2 flags, 5 features; the offsets of the rings' parts follow. */
  word(index: number): number {
    return this.#view.getUint32(4 * index, true);
  }

  /** struct io_sqring_offsets @40: head, tail, ring_mask, ring_entries, flags, dropped, array. */
  submission(index: number): number {
    return this.word(10 + index);
  }

  /** struct io_cqring_offsets @80: head, tail, ring_mask, ring_entries, overflow, cqes, flags. */
  completion(index: number): number {
    return this.word(20 + index);
  }
}

/** Whether the kernel has taken everything that was prepared, or lacks memory for now or wants its completions taken first. */
export type Submission = "done" | "later";

/**
 * A pair of rings, for one thread. Every request ends with one completion, which carries the tag of the request and what the system call of
 * the same name would return (`-errno` on failure).
 *
 * Memory that requests name must stay where it is until they complete, also after {@linkcode IoUring.close}: so there should be none then.
 */
export class IoUring {
  /** How many requests can be in flight without completions being held back in the kernel. */
  readonly capacity: number;
  readonly #fd: number;
  readonly #rings: Mapping;
  readonly #entries: Mapping;
  readonly #words: Uint32Array;
  readonly #results: Int32Array;
  readonly #sqes: Uint32Array;
  readonly #sqHead: number;
  readonly #sqTail: number;
  readonly #sqFlags: number;
  readonly #sqSize: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #cqFlags: number;
  /** Whether completions come only when the thread asks for them. */
  readonly #deferred: boolean;
  readonly #cqes: number;
  readonly #supported: ReadonlySet<number>;
  /** Where the next request goes, and how many before it the kernel has not been told of. */
  #tail = 0;
  #pending = 0;
  #closed = false;

  private constructor(fd: number, parameters: RingParameters, supported: ReadonlySet<number>) {
    this.#fd = fd;
    this.#supported = supported;
    const [submissions, completions] = [parameters.word(0), parameters.word(1)];
    const size = Math.max(
      parameters.submission(6) + 4 * submissions,
      parameters.completion(5) + 4 * CQE_WORDS * completions,
    );
    this.#rings = mapFile(fd, 0, size);
    try {
      this.#entries = mapFile(fd, OFFSET_SQES, 4 * SQE_WORDS * submissions);
    } catch (error) {
      this.#rings.unmap();
      throw error;
    }
    const { buffer } = this.#rings.bytes;
    this.#words = new Uint32Array(buffer, 0, size >> 2);
    this.#results = new Int32Array(buffer, 0, size >> 2);
    this.#sqes = new Uint32Array(this.#entries.bytes.buffer);
    this.#sqHead = parameters.submission(0) >> 2;
    this.#sqTail = parameters.submission(1) >> 2;
    this.#sqFlags = parameters.submission(4) >> 2;
    this.#sqSize = submissions;
    this.#cqHead = parameters.completion(0) >> 2;
    this.#cqTail = parameters.completion(1) >> 2;
    this.#cqMask = completions - 1;
    this.#cqes = parameters.completion(5) >> 2;
    this.#cqFlags = parameters.completion(6) >> 2;
    this.#deferred = (parameters.word(2) & Setup.DEFER_TASKRUN) !== 0;
    this.capacity = completions;
    // The ring proper holds indices of entries; each place keeps its own.
    for (let i = 0; i < submissions; i++) this.#words[(parameters.submission(6) >> 2) + i] = i;
  }

  /**
   * Sets up a pair of rings.
   *
   * @param submissions How many requests fit between two {@linkcode submit}; the kernel rounds up to a power of two.
   * @param completions How many completions can wait to be taken.
   * @throws {SyscallError} ENOSYS where the kernel has no io_uring or lacks an operation that is needed, EPERM where it may not be used
   * (the sysctl kernel.io_uring_disabled, or a system-call filter).
   */
  static open(submissions: number, completions: number): IoUring {
    const { fd, parameters } = setUp(submissions, completions);
    try {
      if ((parameters.word(5) & FEATURES) !== FEATURES) throw new SyscallError("io_uring_setup", Errno.ENOSYS);
      const supported = probe(fd);
      const { READ, WRITE, FSYNC, FALLOCATE } = RingOperation;
      if (![READ, WRITE, FSYNC, FALLOCATE].every((operation) => supported.has(operation))) {
        throw new SyscallError("io_uring_register(IORING_REGISTER_PROBE)", Errno.ENOSYS);
      }
      if ((parameters.word(2) & Setup.R_DISABLED) !== 0) restrict(fd, supported);
      return new IoUring(fd, parameters, supported);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /**
   * Has the kernel add to an eventfd when there is something to reap that comes while nobody submits or reaps. (The ring's own descriptor can be
   * polled, but does not wake anybody for completions that are deferred.)
   */
  signal(eventFd: number): void {
    const descriptors = Int32Array.of(eventFd);
    const result = syscalls().io_uring_register(this.#fd, REGISTER_EVENTFD, descriptors, 1);
    checked("io_uring_register(IORING_REGISTER_EVENTFD)", result);
  }

  /** Whether the kernel has a {@linkcode RingOperation}. */
  supports(operation: number): boolean {
    return this.#supported.has(operation);
  }

  /** How many requests are prepared and not yet the kernel's. */
  get pending(): number {
    return this.#pending;
  }

  /** Prepares pread(2) of `length` bytes to an address. @returns false when the ring is full: submit first. As for all below. */
  read(tag: number, fd: number, offset: number, address: number, length: number): boolean {
    return this.#prepare(RingOperation.READ, tag, fd, offset, address, length, 0);
  }

  /** Prepares pwrite(2). */
  write(tag: number, fd: number, offset: number, address: number, length: number): boolean {
    return this.#prepare(RingOperation.WRITE, tag, fd, offset, address, length, 0);
  }

  /** Prepares fdatasync(2). It does not wait for requests that are in flight. */
  syncData(tag: number, fd: number): boolean {
    return this.#prepare(RingOperation.FSYNC, tag, fd, 0, 0, 0, FSYNC_DATASYNC);
  }

  /** Prepares fallocate(2). */
  allocate(tag: number, fd: number, mode: number, offset: number, length: number): boolean {
    return this.#prepare(RingOperation.FALLOCATE, tag, fd, offset, length, mode, 0); // the length is where others have the address
  }

  /** Prepares ftruncate(2), where the kernel {@linkcode supports} it (Linux 6.9). */
  truncate(tag: number, fd: number, size: number): boolean {
    return this.#prepare(RingOperation.FTRUNCATE, tag, fd, size, 0, 0, 0);
  }

  /** Prepares nothing, which completes at once. */
  nothing(tag: number): boolean {
    return this.#prepare(RingOperation.NOP, tag, -1, 0, 0, 0, 0);
  }

  /**
   * Gives the kernel what was prepared, in one system call; what needs no waiting (cached data) may complete within it. To be followed by
   * {@linkcode reap}, before anybody waits.
   *
   * @throws {SyscallError} when the kernel does not take requests at all.
   */
  submit(): Submission {
    while (this.#pending > 0) {
      Atomics.store(this.#words, this.#sqTail, this.#tail);
      const taken = this.#enter(this.#pending, true);
      if (taken === -Errno.EINTR) continue;
      if (taken === -Errno.EAGAIN || taken === -Errno.EBUSY) return "later";
      this.#pending -= checked("io_uring_enter", taken);
      // A request that the kernel finds invalid ends a batch early where SUBMIT_ALL is not known; nothing taken is for want of memory.
      if (taken === 0) return "later";
    }
    return "done";
  }

  /**
   * Takes the completions that are there, and calls `completed` for each. It may prepare and submit further requests, and close the
   * rings; not reap. When this returns, no completion is left that has made no signal.
   *
   * @returns how many there were.
   */
  reap(completed: (tag: number, result: number) => void): number {
    let count = this.#takeFromRing(completed);
    let quietly = true;
    while (this.#holdsBack() && this.#fetchHeldBack(quietly)) {
      const fetched = this.#takeFromRing(completed);
      count += fetched;
      if (fetched > 0) continue;
      // The flags may speak of what was fetched just before they were set: then nobody knows when they change. So that nothing which comes after
      // this is missed, it signals.
      if (!quietly) break;
      quietly = false;
    }
    return count;
  }

  #takeFromRing(completed: (tag: number, result: number) => void): number {
    let count = 0;
    for (; !this.#closed; count++) {
      const head = this.#words[this.#cqHead];
      if (head === Atomics.load(this.#words, this.#cqTail)) break;
      const at = this.#cqes + (head & this.#cqMask) * CQE_WORDS;
      const tag = this.#words[at]; // struct io_uring_cqe: u64 user_data, s32 res, u32 flags
      const result = this.#results[at + 2];
      Atomics.store(this.#words, this.#cqHead, head + 1);
      completed(tag, result);
    }
    return count;
  }

  /** Closes the rings. Calling it again does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#entries.unmap();
    this.#rings.unmap();
    closeFd(this.#fd);
  }

  /** Whether the kernel says that it holds completions back. */
  #holdsBack(): boolean {
    return !this.#closed && (Atomics.load(this.#words, this.#sqFlags) & (SQ_CQ_OVERFLOW | SQ_TASKRUN)) !== 0;
  }

  /** Has the kernel put into the ring what it holds back. @returns whether it could. */
  #fetchHeldBack(quietly: boolean): boolean {
    const result = this.#enter(0, quietly);
    if (result === -Errno.EAGAIN || result === -Errno.EBUSY) return false;
    if (result !== -Errno.EINTR) checked("io_uring_enter", result);
    return true;
  }

  /**
   * GETEVENTS, also where none are waited for, so that completions which were deferred come along.
   *
   * @param quietly Whether completions that come meanwhile need make no signal, since the caller looks for them next. Where others than this
   * thread bring them, they do all the same.
   */
  #enter(toSubmit: number, quietly: boolean): number {
    const silence = quietly && this.#deferred;
    if (silence) Atomics.store(this.#words, this.#cqFlags, CQ_EVENTFD_DISABLED);
    const result = syscalls().io_uring_enter(this.#fd, toSubmit, 0, ENTER_GETEVENTS, null, 0);
    if (silence) Atomics.store(this.#words, this.#cqFlags, 0);
    return result;
  }

  /** struct io_uring_sqe: u8 opcode, u8 flags, u16 ioprio, s32 fd, u64 off, u64 addr, u32 len, u32 flags of the operation, u64 user_data. */
  #prepare(
    operation: number,
    tag: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
  ): boolean {
    const tail = this.#tail;
    if (((tail - Atomics.load(this.#words, this.#sqHead)) >>> 0) >= this.#sqSize) return false;
    const sqes = this.#sqes;
    const at = (tail & (this.#sqSize - 1)) * SQE_WORDS;
    sqes[at] = operation;
    sqes[at + 1] = fd;
    sqes[at + 2] = offset; // modulo 2 ** 32, as typed arrays store
    sqes[at + 3] = offset / HIGH;
    sqes[at + 4] = address;
    sqes[at + 5] = address / HIGH;
    sqes[at + 6] = length;
    sqes[at + 7] = flags;
    sqes[at + 8] = tag;
    sqes.fill(0, at + 9, at + SQE_WORDS);
    this.#tail = (tail + 1) >>> 0;
    this.#pending++;
    return true;
  }
}

function setUp(submissions: number, completions: number): { fd: number; parameters: RingParameters } {
  for (const flags of SETUPS) {
    const parameters = new RingParameters(completions, flags);
    const fd = syscalls().io_uring_setup(submissions, parameters.bytes);
    if (fd === -Errno.EINVAL && flags !== BASE) continue;
    return { fd: checked("io_uring_setup", fd), parameters };
  }
  throw new SyscallError("io_uring_setup", Errno.EINVAL);
}

/** The operations that the kernel has: struct io_uring_probe, 16 bytes, then 8 for each of 256 operations. */
function probe(fd: number): ReadonlySet<number> {
  const answer = new Uint8Array(16 + 8 * 256);
  checked("io_uring_register(IORING_REGISTER_PROBE)", syscalls().io_uring_register(fd, REGISTER_PROBE, answer, 256));
  const supported = new Set<number>();
  for (let i = 0; i < answer[1]; i++) {
    const at = 16 + 8 * i;
    if ((answer[at + 2] & OPERATION_SUPPORTED) !== 0) supported.add(answer[at]);
  }
  return supported;
}

/**
 * Leaves a ring the operations that are used here, and enables it. What a filter forbids a process to do by system calls, others could do
 * for it: open files, connect sockets.
 */
function restrict(fd: number, supported: ReadonlySet<number>): void {
  const operations = Object.values(RingOperation).filter((operation) => supported.has(operation));
  const allowed = [[RESTRICTION_REGISTER_OP, REGISTER_EVENTFD], ...operations.map((one) => [RESTRICTION_SQE_OP, one])];
  const restrictions = new DataView(new ArrayBuffer(RESTRICTION_SIZE * allowed.length));
  allowed.forEach(([kind, value], i) => {
    restrictions.setUint16(RESTRICTION_SIZE * i, kind, true);
    restrictions.setUint8(RESTRICTION_SIZE * i + 2, value);
  });
  const restricted = syscalls().io_uring_register(fd, REGISTER_RESTRICTIONS, restrictions, allowed.length);
  checked("io_uring_register(IORING_REGISTER_RESTRICTIONS)", restricted);
  const enabled = syscalls().io_uring_register(fd, REGISTER_ENABLE_RINGS, new Uint8Array(0), 0);
  checked("io_uring_register(IORING_REGISTER_ENABLE_RINGS)", enabled);
}
