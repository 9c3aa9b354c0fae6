/**
 * Children that make a list of system calls before they execute a program, or instead of it: how a process is put into a jail before
 * it runs.
 *
 * What jails a process (namespaces, ids, capabilities, Landlock, seccomp) has to happen between its birth and its program. fork(2)
 * through FFI crashes the child (V8's heap is not copied), posix_spawn(3) has no room for such calls, and a thread of this process that
 * took the restrictions on first could not have a user namespace (unshare(2), CLONE_NEWUSER: not in a process with threads), and would
 * be the parent whose death ends the child (prctl(2), PR_SET_PDEATHSIG). So a child is made that shares this process's memory, as
 * posix_spawn does it, and works off a list by a few lines of machine code.
 *
 * @module
 */
import { checked, SyscallError } from "../errno.ts";
import { addressOf } from "../memory.ts";
import { type ChildProcess, childProcess } from "../process.ts";
import { syscalls } from "../syscall.ts";
import { CallNumber } from "./call_numbers.ts";
import { COPY, ScriptEntry } from "./child_script_code.ts";

/** Flags of clone(2) (linux/sched.h). */
const CLONE_VM = 0x100;
const CLONE_PIDFD = 0x1000;
const CLONE_VFORK = 0x4000;
const CLONE_PARENT = 0x8000;
const SIGCHLD = 17;

/** Signal numbers go from 1 to this. */
const SIGNALS = 64;
/** struct kernel_sigaction: all zeroes are SIG_DFL, no flags, no mask. */
const DEFAULT_ACTION = new Uint8Array(32);

const SIG_SETMASK = 2;
/** Bytes of the kernel's sigset_t. */
const SIGSET_SIZE = 8;

/** The result of a call that was not made. The kernel returns no such value. */
const NOT_MADE = -(2n ** 63n);

/** The result of an earlier call of the script. */
export interface ResultOf {
  readonly resultOf: ScriptCall;
}

/** An argument: a word, the address of a buffer, that of an array of C strings with a null pointer at its end, or what another call returned. */
export type ScriptArgument = number | bigint | Uint8Array<ArrayBuffer> | readonly Uint8Array<ArrayBuffer>[] | ResultOf;

/** One system call. */
export interface ScriptCall {
  /** What is tried, for messages: `mount(/proc)`. */
  readonly name: string;
  readonly number: number;
  readonly arguments: readonly ScriptArgument[];
  /** Whether the script goes on if it fails. @default {false} */
  readonly mayFail?: boolean;
}

/** Puts the result of a call, a word of 8 bytes, into a structure that a later call is given. */
export interface ScriptCopy {
  readonly resultOf: ScriptCall;
  readonly into: Uint8Array<ArrayBuffer>;
  readonly offset: number;
}

/** A step of a script. */
export type ScriptStep = ScriptCall | ScriptCopy;

/** A system call for a script. */
export function call(
  number: keyof typeof CallNumber,
  args: readonly ScriptArgument[],
  options: { readonly of?: string; readonly mayFail?: boolean } = {},
): ScriptCall {
  const name = options.of === undefined ? number : `${number}(${options.of})`;
  return { name, number: CallNumber[number], arguments: args, mayFail: options.mayFail };
}

/** How a script's child is made. */
export interface ScriptOptions {
  /** {@linkcode Namespace} bits: those that the child gets of its own. @default {0} */
  readonly namespaces?: number;
  /**
   * Whether it is this process's sibling, a child of whoever started this process: that one waits for it, and is the parent whose death ends
   * it. (clone(2) names CLONE_NEWPID and CLONE_NEWUSER as excluding CLONE_PARENT; since Linux 3.13 they do not, commit 1f7f4dde5c94.)
   * @default {false}
   */
  readonly sibling?: boolean;
}

/** A child that has begun its script. */
export interface ScriptedChild {
  readonly process: ChildProcess;
  /** What a call returned; `undefined` if it was not made, or has not returned because it executed a program. */
  resultOf(call: ScriptCall): bigint | undefined;
  /** The first call that failed and was not allowed to. */
  readonly failed: SyscallError | undefined;
}

/** The script as the machine code wants it, and where each call's entry is. */
class CompiledScript {
  readonly view: DataView<ArrayBuffer>;
  /** Keeps what the entries point to from the garbage collector. */
  readonly #kept: Uint8Array<ArrayBuffer>[] = [];
  readonly #places = new Map<ScriptCall, number>();
  readonly #base: bigint;

  constructor(steps: readonly ScriptStep[]) {
    const size = steps.reduce((sum, step) => sum + 1 + countResults(step), 0);
    const bytes = new Uint8Array(size * ScriptEntry.SIZE);
    this.view = new DataView(bytes.buffer);
    this.#base = addressOf(bytes);
    let at = 0;
    for (const step of steps) at = "into" in step ? this.#copy(at, step) : this.#call(at, step);
  }

  resultOf(call: ScriptCall): bigint | undefined {
    const result = this.view.getBigInt64(this.#place(call) + ScriptEntry.RESULT, true);
    return result === NOT_MADE ? undefined : result;
  }

  /** The first call that failed and was not allowed to. */
  failure(): SyscallError | undefined {
    for (const call of this.#places.keys()) {
      const result = this.resultOf(call);
      if (result !== undefined && result < 0n && result >= -4095n && !call.mayFail) {
        return new SyscallError(call.name, Number(-result));
      }
    }
    return undefined;
  }

  #place(call: ScriptCall): number {
    const place = this.#places.get(call);
    if (place === undefined) throw new TypeError(`${call.name} is not in the script, or not yet`);
    return place;
  }

  #addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
    this.#kept.push(bytes);
    return bytes.length === 0 ? 0n : addressOf(bytes);
  }

  #word(argument: Exclude<ScriptArgument, ResultOf>): bigint {
    if (argument instanceof Uint8Array) return this.#addressOf(argument);
    if (typeof argument !== "object") return BigInt.asUintN(64, BigInt(argument));
    const addresses = BigUint64Array.from([...argument.map((text) => this.#addressOf(text)), 0n]);
    return this.#addressOf(new Uint8Array(addresses.buffer));
  }

  #copy(at: number, { resultOf, into, offset }: ScriptCopy): number {
    if (offset + 8 > into.length) throw new RangeError(`The result of ${resultOf.name} does not fit`);
    return this.#move(at, resultOf, this.#addressOf(into) + BigInt(offset));
  }

  /** @returns where the next entry goes. */
  #move(at: number, from: ScriptCall, to: bigint): number {
    this.view.setBigInt64(at + ScriptEntry.NUMBER, COPY, true);
    const source = this.#base + BigInt(this.#place(from) + ScriptEntry.RESULT);
    this.view.setBigUint64(at + ScriptEntry.ARGUMENTS, source, true);
    this.view.setBigUint64(at + ScriptEntry.ARGUMENTS + 8, to, true);
    return at + ScriptEntry.SIZE;
  }

  #call(at: number, call: ScriptCall): number {
    const place = at + countResults(call) * ScriptEntry.SIZE;
    let move = at;
    call.arguments.forEach((argument, i) => {
      const slot = place + ScriptEntry.ARGUMENTS + 8 * i;
      if (typeof argument === "object" && "resultOf" in argument) {
        move = this.#move(move, argument.resultOf, this.#base + BigInt(slot));
      } else {
        this.view.setBigUint64(slot, this.#word(argument), true);
      }
    });
    this.view.setBigUint64(place + ScriptEntry.NUMBER, BigInt(call.number), true);
    this.view.setBigInt64(place + ScriptEntry.RESULT, NOT_MADE, true);
    this.view.setBigUint64(place + ScriptEntry.MAY_FAIL, call.mayFail ? 1n : 0n, true);
    this.#places.set(call, place);
    return place + ScriptEntry.SIZE;
  }
}

/** How many of a call's arguments are results, each of which takes an entry that copies it. */
function countResults(step: ScriptStep): number {
  if ("into" in step) return 0;
  return step.arguments.filter((argument) => typeof argument === "object" && "resultOf" in argument).length;
}

/**
 * Starts a child that makes the calls of `steps`, one after the other, and ends with status 127 at the first that fails and may not.
 * One that gets to the end of the list ends with status 0; the list of one that is to go on ends with execve(2). This thread waits
 * until either.
 *
 * The child begins with every signal blocked and none handled, and with a copy of this process's descriptors. It shares this process's
 * memory: what buffers its calls write to can be read here.
 *
 * @throws {SyscallError} when the child cannot be made: EPERM where a namespace is not allowed.
 */
export function startScript(steps: readonly ScriptStep[], options: ScriptOptions = {}): ScriptedChild {
  const end = call("exit_group", [0]);
  const script = new CompiledScript([...forgetHandlers(), ...steps, end]);
  const pidfd = new Int32Array(1);
  const parent = options.sibling ? CLONE_PARENT : 0;
  const flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | parent | SIGCHLD | (options.namespaces ?? 0);
  const pid = withSignalsBlocked(() => syscalls().run_child_script(flags, pidfd, script.view));
  checked("clone", pid);
  return {
    process: childProcess(pid, pidfd[0]),
    resultOf: (call) => script.resultOf(call),
    failed: script.failure(),
  };
}

/** Runs a script that executes no program. @throws {SyscallError} naming the call that failed, or clone. */
export function runScript(steps: readonly ScriptStep[], options: ScriptOptions = {}): void {
  const { process, failed } = startScript(steps, options);
  const status = process.wait();
  process.close();
  if (failed !== undefined) throw failed;
  if (!("code" in status) || status.code !== 0) {
    throw new Error(`A script ended ${"code" in status ? `with status ${status.code}` : `by signal ${status.signal}`}`);
  }
}

/** Handlers of this process would run in the child, on this thread's stack. Those of two signals cannot be changed. */
function forgetHandlers(): ScriptCall[] {
  return Array.from(
    { length: SIGNALS },
    (_, i) => call("rt_sigaction", [i + 1, DEFAULT_ACTION, 0, SIGSET_SIZE], { mayFail: true }),
  );
}

function withSignalsBlocked<T>(action: () => T): T {
  const all = new Uint8Array(SIGSET_SIZE).fill(0xff);
  const before = new Uint8Array(SIGSET_SIZE);
  checked("rt_sigprocmask", syscalls().rt_sigprocmask(SIG_SETMASK, all, before, SIGSET_SIZE));
  try {
    return action();
  } finally {
    syscalls().rt_sigprocmask(SIG_SETMASK, before, new Uint8Array(SIGSET_SIZE), SIGSET_SIZE);
  }
}

/** Lets signals through again: the last step before execve(2). */
export function unblockSignals(): ScriptCall {
  return call("rt_sigprocmask", [SIG_SETMASK, new Uint8Array(SIGSET_SIZE), 0, SIGSET_SIZE]);
}
