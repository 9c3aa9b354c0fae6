/**
 * The control thread: console input, device timers, signals, and the control plane. It is the only thread of the VMM that runs an event
 * loop, because those of the vCPUs are inside the guest.
 *
 * @module
 */
import { describeError } from "../error_chain.ts";
import { stopSelf } from "../ffi/process.ts";
import { log } from "../log.ts";
import type { Watcher } from "../qmp/connection.ts";
import { markPhase, printPhases } from "../startup_trace.ts";
import { Consoles } from "./console/consoles.ts";
import type { ConsoleTerminal } from "./console/terminal.ts";
import { ControlPlane } from "./control_plane.ts";
import { DescriptorWatcher } from "./descriptor_watcher.ts";
import { makeRestarts } from "./device_restarts.ts";
import type { Machine } from "./machine.ts";
import type { MachineHandle } from "./machine_handle.ts";
import { ProxyWatch } from "./proxy_watch.ts";

/** Signals by which somebody outside ends the machine. */
const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/**
 * Never resolves while the machine lives.
 *
 * @param started Called when nothing more has to be opened.
 */
export async function runControlThread(machine: Machine, handle: MachineHandle, started: () => void): Promise<void> {
  failUncaught(machine);
  for (const signal of ENDING_SIGNALS) {
    Deno.addSignalListener(signal, () => machine.control.requestExit(0, "host-signal"));
  }
  if (machine.terminal !== undefined) suspendWithJob(machine.terminal);
  const watcher = new DescriptorWatcher();
  machine.deadlines.watch(watcher);
  machine.inputDrained.watch(watcher);
  const watch = (device: number) => watchProxy(machine, handle, watcher, device);
  const restarts = makeRestarts(machine, handle, watcher, {
    onRestarted: (device, report) => {
      plane.deviceRestarted(device, report);
      watch(device);
    },
    onGivenUp: (device, why) => plane.deviceGivenUp(device, why),
  });
  const chardevs = () => consoles.describe();
  const plane: ControlPlane = new ControlPlane({ machine, handle, watcher, restarts, log, chardevs });
  for (const device of machine.proxies.keys()) watch(device);
  machine.terminal?.begin();
  const consoles = new Consoles({ machine, handles: handle.characters, watcher, log, commands: plane.commands });
  markPhase("consoles and monitors");
  printPhases("control thread", log);
  started();
  await Promise.all([watcher.run(), runTimers(machine), consoles.serve()]);
}

/** Watches the link that a device has. */
function watchProxy(machine: Machine, { proxies }: MachineHandle, watcher: Watcher, device: number): void {
  const { lock, control, config: { devices } } = machine;
  new ProxyWatch({
    proxy: machine.proxies[device],
    handle: proxies[device].handle,
    interval: devices[device].heartbeat,
    hasEnded: () => control.state === "shutdown",
    ...{ lock, watcher },
  }).begin();
}

/** What a signal's or a timer's callback throws ends the machine, too. Otherwise it would end this thread alone. */
function failUncaught({ control }: Machine): void {
  const fail = (event: Event, error: unknown) => {
    event.preventDefault();
    control.fail(describeError(error));
  };
  globalThis.addEventListener("error", (event) => fail(event, event.error ?? event.message));
  globalThis.addEventListener("unhandledrejection", (event) => fail(event, event.reason));
}

/** A shell's job control: the shell finds the terminal as it was, and the machine as it needs it when it goes on. */
function suspendWithJob(terminal: ConsoleTerminal): void {
  Deno.addSignalListener("SIGTSTP", () => {
    terminal.suspend();
    stopSelf();
  });
  Deno.addSignalListener("SIGCONT", () => terminal.open());
}

/** Calls timed devices when their deadlines come. */
async function runTimers(machine: Machine): Promise<never> {
  for (;;) {
    const seen = machine.deadlines.count;
    const wait = machine.lock.with(() => machine.expireDeadlines());
    const waited = await machine.deadlines.changed(seen, wait === undefined ? undefined : Math.ceil(wait / 1e6));
    // A guest that sets deadlines all the time must not keep signals and input out by that.
    if (!waited) await nextTurn();
  }
}

/** Lets the event loop look at everything else that it waits for. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
