/**
 * The control thread: console input, device timers, signals, and the control plane. It is the only thread of the VMM that runs an event loop, because those of
 * the vCPUs are inside the guest.
 *
 * @module
 */
import { errorChain } from "../error_chain.ts";
import { ControlPlane } from "./control_plane.ts";
import { DescriptorWatcher } from "./descriptor_watcher.ts";
import type { Machine } from "./machine.ts";
import type { MachineHandle } from "./machine_handle.ts";
import type { SerialPort } from "./platform/serial.ts";

/** Signals by which somebody outside ends the machine. */
const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/** Never resolves while the machine lives. */
export async function runControlThread(machine: Machine, handle: MachineHandle): Promise<void> {
  for (const signal of ENDING_SIGNALS) {
    Deno.addSignalListener(signal, () => machine.control.requestExit(0, "host-signal"));
  }
  const watcher = new DescriptorWatcher();
  machine.deadlines.watch(watcher);
  machine.inputDrained.watch(watcher);
  new ControlPlane({ machine, handle, watcher, log: (line) => console.error(`splitvm: ${line}`) });
  machine.terminal?.open();
  const port = consolePort(machine);
  await Promise.all([
    watcher.run(),
    runTimers(machine),
    port === undefined ? undefined : feedInput(machine, port),
  ]);
}

/** The serial port whose backend is this process's standard input. */
function consolePort(machine: Machine): SerialPort | undefined {
  return machine.serialPorts[machine.config.serialPorts.findIndex((backend) => backend?.kind === "stdio")];
}

/** Gives the console's input to the serial port, as fast as the guest takes it. Its end, good or bad, is not the machine's. */
async function feedInput(machine: Machine, port: SerialPort): Promise<void> {
  const chunks = Deno.stdin.readable[Symbol.asyncIterator]();
  for (let chunk = await nextInput(chunks); chunk !== undefined; chunk = await nextInput(chunks)) {
    for (let rest = chunk; rest.length > 0;) {
      const seen = machine.inputDrained.count;
      const taken = machine.lock.with(() => port.receive(rest));
      rest = rest.subarray(taken);
      if (rest.length > 0) await machine.inputDrained.changed(seen);
    }
  }
}

/** The next piece of input, `undefined` when there will be none. */
async function nextInput(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  try {
    const { done, value } = await chunks.next();
    return done ? undefined : value;
  } catch (error) {
    console.error(`splitvm: the console has no input any more: ${errorChain(error)}`);
    return undefined;
  }
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
