/**
 * The threads of a machine other than the first: vCPUs from 1 up, and the control thread.
 *
 * @module
 */
import { describeError } from "../error_chain.ts";
import { currentThreadId } from "../ffi/thread.ts";
import { log } from "../log.ts";
import { markPhase, printPhases } from "../startup_trace.ts";
import { runControlThread } from "./control_thread.ts";
import { attachRunControl, Machine } from "./machine.ts";
import { type Lockdown, lockDown } from "./lockdown.ts";
import type { MachineHandle } from "./machine_handle.ts";
import type { RunControl } from "./run_control.ts";
import { Vcpu } from "./vcpu.ts";

/** What a new thread is told. */
export interface WorkerMessage {
  readonly role: "control" | "vcpu";
  readonly handle: MachineHandle;
  /** The vCPU's, from 1. */
  readonly index: number;
  /** For the last thread that starts. */
  readonly lockdown: Lockdown | undefined;
}

/** Carries out the thread's task until the process ends. */
export async function runWorker(task: WorkerMessage): Promise<void> {
  let control = withoutVcpus(task.handle);
  try {
    const machine = new Machine(task.handle, laneOf(task));
    markPhase("devices");
    control = machine.control;
    const started = () => reportStarted(control, task.lockdown);
    if (task.role === "control") await runControlThread(machine, task.handle, started);
    else runVcpu(machine, task.index, started);
  } catch (error) {
    control.fail(describeError(error));
    // The leader waits for every vCPU, also for one that failed.
    if (task.role === "vcpu") control.rest();
  }
}

/** Each vCPU has a lane to each device, and the control thread the one after them. */
function laneOf({ role, index, handle }: WorkerMessage): number {
  return role === "vcpu" ? index : handle.config.cpus;
}

/** Run control for as long as this thread has no vCPU mapped: attention and signals stop the others, `immediate_exit` does not. */
function withoutVcpus(handle: MachineHandle): RunControl {
  return attachRunControl(handle, handle.vcpuFds.map(() => ({ requestExit: () => {} })));
}

/** From now on this thread does nothing but its work, and no thread does anything else when it is the last one. */
function reportStarted(control: RunControl, lockdown: Lockdown | undefined): void {
  if (control.reportStarted() && lockdown !== undefined) lockDown(lockdown);
}

/** A vCPU other than the boot CPU; never returns. */
function runVcpu({ control, vcpus, ports, memory, lock }: Machine, index: number, started: () => void): never {
  const vcpu = new Vcpu({ kvm: vcpus[index], ports, memory, lock, attention: control.attention });
  control.register(index, currentThreadId());
  started();
  printPhases(`vCPU ${index}`, log);
  for (;;) {
    const stop = vcpu.run();
    if (stop === "reset") control.requestReset();
    else if (stop === "shutdown") control.requestExit(0);
    control.rest();
  }
}
