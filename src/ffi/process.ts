/**
 * Child processes that inherit exactly the descriptors they are given. (`Deno.Command` cannot hand over descriptors; a
 * fork through FFI crashes the child, because V8's heap is not copied.)
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { cString, retrying, syscalls } from "./syscall.ts";
import { addressOf } from "./memory.ts";
import { closeFd, duplicateFd, openFile, OpenFlags } from "./file.ts";

const LIBC_SPAWN = {
  // int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
  //                  const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
  posix_spawnp: { parameters: ["buffer", "buffer", "buffer", "buffer", "buffer", "buffer"], result: "i32" },
  // int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
  posix_spawn_file_actions_init: { parameters: ["buffer"], result: "i32" },
  // int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
  posix_spawn_file_actions_destroy: { parameters: ["buffer"], result: "i32" },
  // int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int newfd)
  posix_spawn_file_actions_adddup2: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  // int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from)
  posix_spawn_file_actions_addclosefrom_np: { parameters: ["buffer", "i32"], result: "i32" },
  // int posix_spawnattr_init(posix_spawnattr_t *attributes)
  posix_spawnattr_init: { parameters: ["buffer"], result: "i32" },
  // int posix_spawnattr_setflags(posix_spawnattr_t *attributes, short flags)
  posix_spawnattr_setflags: { parameters: ["buffer", "i16"], result: "i32" },
  // int posix_spawnattr_setsigmask(posix_spawnattr_t *attributes, const sigset_t *mask)
  posix_spawnattr_setsigmask: { parameters: ["buffer", "buffer"], result: "i32" },
  // int posix_spawnattr_destroy(posix_spawnattr_t *attributes)
  posix_spawnattr_destroy: { parameters: ["buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The signal mask of a fresh attributes object is empty: the child starts with no signal blocked. */
const POSIX_SPAWN_SETSIGMASK = 8;
/** The attributes' process group is 0: one of the child's own. */
const POSIX_SPAWN_SETPGROUP = 2;
/** Room for glibc's posix_spawn_file_actions_t (80 bytes) and posix_spawnattr_t (336 bytes). */
const OPAQUE_SIZE = 512;
/** A sigset_t with every signal. */
const ALL_SIGNALS = new Uint8Array(128).fill(0xff);

const P_PIDFD = 3;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x1000000;
const CLD_EXITED = 1;
const PR_SET_PDEATHSIG = 1;

/** Signal numbers (asm/signal.h). */
export const Signal = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  KILL: 9,
  USR1: 10,
  USR2: 12,
  PIPE: 13,
  TERM: 15,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
} as const;

/** How to start a program. */
export interface SpawnOptions {
  /** Program (looked up on PATH when it has no slash) and arguments. */
  readonly command: readonly string[];
  /** The program, where it is not to be known by its path. @default {the first of `command`} */
  readonly program?: string;
  /** The whole environment of the child. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * Number in the child → descriptor here. Everything else is closed in the child, but for 0, 1 and 2, which are inherited
   * when not named. `null` gives the child /dev/null.
   */
  readonly descriptors?: ReadonlyMap<number, number | null>;
  /** Whether it gets a process group of its own, so that signals from the terminal's keys pass it by. @default {false} */
  readonly ownGroup?: boolean;
  /** Whether it starts with every signal blocked, but for those that cannot be. @default {false} */
  readonly blockSignals?: boolean;
}

/** How a process ended: with an exit code, or by a signal. */
export type ExitStatus = { readonly code: number } | { readonly signal: number };

/** A child process. Whoever spawns it waits for it, so that no zombie stays. */
export interface ChildProcess {
  readonly pid: number;
  /** A pidfd: readable once the process has ended. Close-on-exec. */
  readonly pidfd: number;
  /** Sends a signal; a process that has ended is left alone. */
  kill(signal: number): void;
  /** Waits until it ends and reaps it. A second call returns the same. */
  wait(): ExitStatus;
  /** Reaps it when it has ended. @returns `undefined` while it runs. */
  poll(): ExitStatus | undefined;
  /** Closes the pidfd. The process is not touched. */
  close(): void;
}

/** NULL-terminated array of C strings; the strings must outlive its use. */
function stringArray(strings: readonly Uint8Array<ArrayBuffer>[]): BigUint64Array<ArrayBuffer> {
  return BigUint64Array.from([...strings.map((text) => addressOf(text)), 0n]);
}

/**
 * Starts a program.
 *
 * @throws {SyscallError} when it cannot be started (no such program, not executable, out of resources).
 */
export function spawn(options: SpawnOptions): ChildProcess {
  const program = options.program ?? options.command[0];
  const flags = POSIX_SPAWN_SETSIGMASK | (options.ownGroup ? POSIX_SPAWN_SETPGROUP : 0);
  const library = Deno.dlopen("libc.so.6", LIBC_SPAWN);
  const libc = library.symbols;
  const actions = new Uint8Array(OPAQUE_SIZE);
  const attributes = new Uint8Array(OPAQUE_SIZE);
  const spare: number[] = [];
  const must = (call: string, errno: number) => {
    if (errno !== 0) throw new SyscallError(call, errno);
  };
  must("posix_spawn_file_actions_init", libc.posix_spawn_file_actions_init(actions));
  must("posix_spawnattr_init", libc.posix_spawnattr_init(attributes));
  try {
    must("posix_spawnattr_setflags", libc.posix_spawnattr_setflags(attributes, flags));
    if (options.blockSignals) must("setsigmask", libc.posix_spawnattr_setsigmask(attributes, ALL_SIGNALS));
    const highest = Math.max(2, ...(options.descriptors?.keys() ?? []));
    for (const [number, fd] of options.descriptors ?? []) {
      // By way of a spare number, so that no dup2 overwrites the source of a later one.
      const source = fd ?? openFile("/dev/null", OpenFlags.O_RDWR);
      try {
        spare.push(duplicateFd(source, highest + 1));
      } finally {
        if (fd === null) closeFd(source);
      }
      must("adddup2", libc.posix_spawn_file_actions_adddup2(actions, spare.at(-1)!, number));
    }
    for (let number = 3; number < highest; number++) {
      if (!options.descriptors?.has(number)) {
        throw new RangeError(`A child's descriptors have no gaps: ${number} is missing`);
      }
    }
    must("addclosefrom", libc.posix_spawn_file_actions_addclosefrom_np(actions, highest + 1));

    const file = cString(program);
    const argv = options.command.map(cString);
    const envp = Object.entries(options.env).map(([name, value]) => cString(`${name}=${value}`));
    const pid = new Int32Array(1);
    const argvArray = stringArray(argv);
    const envpArray = stringArray(envp);
    must(
      `spawn(${program})`,
      libc.posix_spawnp(pid, file, actions, attributes, argvArray, envpArray),
    );
    // It has not been reaped, so its number still means it.
    return childProcess(pid[0], checked(`pidfd_open(${pid[0]})`, syscalls().pidfd_open(pid[0], 0)));
  } finally {
    spare.forEach(closeFd);
    libc.posix_spawn_file_actions_destroy(actions);
    libc.posix_spawnattr_destroy(attributes);
    library.close();
  }
}

/** A child of this process that nobody has reaped. @param pidfd Then belongs to the result. */
export function childProcess(pid: number, pidfd: number): ChildProcess {
  let status: ExitStatus | undefined;

  function reap(flags: number): ExitStatus | undefined {
    if (status !== undefined) return status;
    return status = waitForChild(pidfd, flags);
  }

  return {
    pid,
    pidfd,
    kill(signal) {
      if (status !== undefined) return;
      const result = syscalls().pidfd_send_signal(pidfd, signal, null, 0);
      if (result !== -Errno.ESRCH) checked(`pidfd_send_signal(${pid})`, result);
    },
    wait: () => reap(0)!,
    poll: () => reap(WNOHANG),
    close: () => closeFd(pidfd),
  };
}

/** This process's id, in its pid namespace. */
export function currentProcessId(): number {
  return syscalls().getpid();
}

/** @returns `undefined` for one that has not ended, where `flags` say not to wait. */
function waitForChild(pidfd: number, flags: number): ExitStatus | undefined {
  const info = new DataView(new ArrayBuffer(128)); // siginfo_t: si_code @8, si_pid @16, si_status @24
  retrying(`waitid(pidfd ${pidfd})`, () => syscalls().waitid(P_PIDFD, pidfd, info, WEXITED | flags, null));
  if (info.getInt32(16, true) === 0) return undefined;
  const value = info.getInt32(24, true);
  return info.getInt32(8, true) === CLD_EXITED ? { code: value } : { signal: value };
}

/**
 * How a child ended, on a thread that does not have its {@linkcode ChildProcess}. It is not reaped, so that whoever has that finds it.
 *
 * @returns `undefined` when it has not ended.
 */
export function endOfChild(pidfd: number): ExitStatus | undefined {
  return waitForChild(pidfd, WNOHANG | WNOWAIT);
}

/** Ends the process behind a pidfd at once, even while it is stopped. @returns false when that is impossible, as when it has ended. */
export function killBehind(pidfd: number): boolean {
  return syscalls().pidfd_send_signal(pidfd, Signal.KILL, null, 0) >= 0;
}

/** Stops this process until somebody continues it. */
export function stopSelf(): void {
  checked("kill(SIGSTOP)", syscalls().kill(currentProcessId(), Signal.STOP));
}

/**
 * Stops this process as the kernel does with one that reads its terminal in the background. One that nobody could continue, because the
 * shell of its job has gone, goes on (POSIX.1-2017, 2.4.3: orphaned process groups), and gets EIO for its input.
 */
export function stopInBackground(): void {
  checked("kill(SIGTTIN)", syscalls().kill(currentProcessId(), Signal.TTIN));
}

/**
 * Asks the kernel to end this process when the thread that spawned it ends, even while it is stopped or hangs. An orphan is not
 * ended: whoever was to end it has gone already.
 */
export function endWithParent(): void {
  checked("prctl(PR_SET_PDEATHSIG)", syscalls().prctl(PR_SET_PDEATHSIG, Signal.KILL, 0, 0, 0));
}
