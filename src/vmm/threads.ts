/**
 * The machine's threads other than the leading one, and their start.
 *
 * A worker that cannot load its program, for want of descriptors or because the files have changed, says so only to the event loop of the
 * thread that made it, and that thread is inside the guest. So it comes out again and again until all threads do their work;
 * from then on each of them ends the machine by itself when it cannot go on (`RunControl.fail`).
 *
 * @module
 */
import { describeError } from "../error_chain.ts";
import { requireDescriptors } from "../ffi/file.ts";
import { acceptKicks, kickRegularly } from "../ffi/thread.ts";
import { WORKER_DESCRIPTORS } from "../main_module.ts";
import { markPhase } from "../startup_trace.ts";
import type { Lockdown } from "./lockdown.ts";
import type { MachineHandle } from "./machine_handle.ts";
import type { RunControl } from "./run_control.ts";
import { selfModule } from "./self_command.ts";
import type { WorkerMessage } from "./worker.ts";

/** How often the leader looks after threads that start, in milliseconds: the first time when all usually have. */
export const START_PERIOD = 250;

/** Descriptors that Deno takes to listen to signals; again, it does not survive without. */
const SIGNAL_DESCRIPTORS = 2;

/** See the module. */
export class Threads {
  readonly #workers: [role: WorkerMessage["role"], worker: Worker][] = [];
  #control: RunControl | undefined;
  #endKicks: (() => void) | undefined;

  /**
   * Starts them, unless they are. They wait for the machine. Deno makes an isolate while the caller waits, so the best time is while there is
   * something else to wait for.
   *
   * @throws {Error} when this process may not open the descriptors for them.
   */
  start(cpus: number): void {
    if (this.#workers.length > 0) return;
    try {
      requireDescriptors(cpus * WORKER_DESCRIPTORS + SIGNAL_DESCRIPTORS);
    } catch (cause) {
      throw new Error("This process may open too few files (ulimit -n) for its threads", { cause });
    }
    for (let index = 0; index < cpus; index++) {
      const role = index === 0 ? "control" : "vcpu";
      const worker = new Worker(selfModule(), { type: "module", name: role });
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        this.#fail(index, event.error ?? event.message);
      });
      worker.addEventListener("message", ({ data }) => this.#fail(index, data));
      this.#workers.push([role, worker]);
    }
    markPhase("threads");
  }

  /**
   * Has them begin. The calling thread is the leader, and looks after them while they {@linkcode areStarting}.
   *
   * @param lockdown Whether the last one to start locks down this process, in which the first step to that has been taken.
   */
  begin(handle: MachineHandle, control: RunControl, lockdown: Lockdown | undefined): void {
    this.start(handle.vcpuFds.length);
    acceptKicks();
    this.#control = control;
    for (const [index, [role, worker]] of this.#workers.entries()) {
      worker.postMessage({ role, handle, index, lockdown } satisfies WorkerMessage);
    }
    this.#endKicks = kickRegularly(START_PERIOD);
  }

  /** Whether some may not do their work yet: the leader is kicked, and {@linkcode hear}s. */
  get areStarting(): boolean {
    return this.#endKicks !== undefined;
  }

  /** Lets the event loop turn, in which those that have ended say so. */
  async hear(): Promise<void> {
    if (!this.areStarting) return;
    if (this.#control!.allStarted) this.#endKicks = void this.#endKicks!();
    else await new Promise((resolve) => setTimeout(resolve, 0));
  }

  #fail(index: number, reason: unknown): void {
    const name = index === 0 ? "the control thread" : `the thread of vCPU ${index}`;
    this.#control!.fail(describeError(new Error(`Cannot run ${name}`, { cause: reason })));
    if (index !== 0) this.#control!.buryFollower();
  }
}
