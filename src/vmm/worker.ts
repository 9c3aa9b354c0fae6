/**
 * The threads of a machine other than the first: vCPUs from 1 up, and the control thread.
 *
 * @module
 */
import { currentThreadId } from "../ffi/thread.ts";
import { runControlThread } from "./control_thread.ts";
import { Machine } from "./machine.ts";
import type { MachineHandle } from "./machine_handle.ts";
import { Vcpu } from "./vcpu.ts";

/** What a new thread is told. */
export type WorkerMessage =
  | { readonly role: "control"; readonly handle: MachineHandle }
  | { readonly role: "vcpu"; readonly handle: MachineHandle; readonly index: number };

/** Waits for the thread's task, and carries it out until the process ends. */
export function runWorker(): void {
  addEventListener("message", (event) => void runTask((event as MessageEvent<WorkerMessage>).data), { once: true });
}

async function runTask(task: WorkerMessage): Promise<void> {
  const machine = new Machine(task.handle);
  try {
    if (task.role === "control") await runControlThread(machine);
    else runVcpu(machine, task.index);
  } catch (error) {
    machine.control.fail(error instanceof Error ? error.message : String(error));
  }
}

/** A vCPU other than the boot CPU; never returns. */
function runVcpu({ control, vcpus, ports, memory, lock }: Machine, index: number): never {
  const vcpu = new Vcpu({ kvm: vcpus[index], ports, memory, lock, attention: control.attention });
  control.register(index, currentThreadId());
  for (;;) {
    const stop = vcpu.run();
    if (stop === "reset") control.requestReset();
    else if (stop === "shutdown") control.requestExit(0);
    control.rest();
  }
}
