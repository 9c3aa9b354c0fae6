/**
 * A process with the threads of a virtual machine's, each of which makes the system calls that it is told to, and tells what came of them:
 * the first thread, a worker, and one of the pool that Deno keeps for calls that block. It takes the steps of a machine's lock-down that it is
 * told to before that.
 */
import { Errno } from "../../src/ffi/errno.ts";
import { listDirectory, openFile, OpenFlags, readFd } from "../../src/ffi/file.ts";
import type { CallName } from "../../src/ffi/jail/call_numbers.ts";
import { type FilterRule, filterThisProcess } from "../../src/ffi/jail/seccomp.ts";
import { cString } from "../../src/ffi/syscall.ts";
import { type Lockdown, lockDown, lockDownStart } from "../../src/vmm/lockdown.ts";
import { prepareRawSyscalls, rawSyscall, rawSyscallElsewhere } from "../support/raw_syscall.ts";

/** A system call: its name and arguments. Text and bytes stand for their address. */
export type RawCall = readonly [CallName, ...(number | string | readonly number[])[]];

/** What to do: which steps to take, and then which calls to make on which threads. */
export interface Task {
  readonly steps: 0 | 1 | 2;
  /** Whether the kernel says that it has no filters. @default {false} */
  readonly withoutFilters?: boolean;
  readonly threads: readonly ThreadName[];
  readonly calls: readonly RawCall[];
}

export type ThreadName = "main" | "worker" | "pool";

/** What came of a task. */
export interface Outcome {
  /** By thread, what each call returned. */
  readonly results: Readonly<Partial<Record<ThreadName, number[]>>>;
  /** Of each thread of the process, how many filters it has. */
  readonly filters: readonly number[];
  /** What was logged. */
  readonly said: readonly string[];
}

const NO_SECCOMP: FilterRule = { call: "seccomp", verdict: { errno: Errno.ENOSYS } };
function argumentsOf([, ...args]: RawCall) {
  return args.map((argument) => {
    if (typeof argument === "number") return argument;
    return typeof argument === "string" ? cString(argument) : Uint8Array.from(argument);
  });
}

async function runMain(task: Task): Promise<Outcome> {
  await rawSyscallElsewhere("getpid");
  if (task.withoutFilters) filterThisProcess({ rules: [NO_SECCOMP], otherwise: "allow" });
  const said: string[] = [];
  const lockdown = task.steps > 0 ? lockDownStart((line) => said.push(line)) : undefined;
  // As in a machine, workers start behind the first step, and one of them takes the second.
  const worker = new Worker(import.meta.url, { type: "module", name: "vcpu" });
  const ask = (message: unknown) =>
    new Promise<number[]>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = reject;
      worker.postMessage(message);
    });
  await ask({ calls: [] });
  const statuses = listDirectory("/proc/self/task").map((id) =>
    openFile(`/proc/self/task/${id}/status`, OpenFlags.O_RDONLY)
  );
  if (task.steps > 1) await ask({ calls: [], lockdown });
  const makers = {
    main: () => task.calls.map((call) => rawSyscall(call[0], ...argumentsOf(call))),
    worker: () => ask({ calls: task.calls }),
    pool: async () => {
      const results = [];
      for (const call of task.calls) results.push(await rawSyscallElsewhere(call[0], ...argumentsOf(call)));
      return results;
    },
  };
  const results: Partial<Record<ThreadName, number[]>> = {};
  for (const name of task.threads) results[name] = await makers[name]();
  return { results, filters: statuses.map(countFilters), said };
}

function countFilters(fd: number): number {
  const bytes = new Uint8Array(8192);
  const text = new TextDecoder().decode(bytes.slice(0, readFd(fd, bytes)));
  return Number(/^Seccomp_filters:\s*(\d+)/m.exec(text)?.[1]);
}

function runWorker({ calls, lockdown }: Pick<Task, "calls"> & { lockdown?: Lockdown }): number[] {
  prepareRawSyscalls();
  if (lockdown !== undefined) lockDown(lockdown);
  return calls.map((call) => rawSyscall(call[0], ...argumentsOf(call)));
}

if ("WorkerGlobalScope" in globalThis) {
  addEventListener("message", (event) => {
    (globalThis as unknown as Worker).postMessage(runWorker((event as MessageEvent).data));
  });
} else if (import.meta.main) {
  const outcome = await runMain(JSON.parse(Deno.args[0]));
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(outcome)}\n`));
  Deno.exit(0);
}
