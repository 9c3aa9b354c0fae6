/**
 * The control thread: console input, device timers, and signals. It is the only thread of the VMM that runs an event loop, because those of
 * the vCPUs are inside the guest.
 *
 * @module
 */
import type { Machine } from "./machine.ts";
import type { SerialPort } from "./platform/serial.ts";

/** Signals by which somebody outside ends the machine. */
const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Never resolves while the machine lives. */
export async function runControlThread(machine: Machine): Promise<void> {
  for (const signal of ENDING_SIGNALS) {
    Deno.addSignalListener(signal, () => machine.control.requestExit(0));
  }
  const console = consolePort(machine);
  await Promise.all([runTimers(machine), console === undefined ? undefined : feedInput(machine, console)]);
}

/** The serial port whose backend is this process's standard input. */
function consolePort(machine: Machine): SerialPort | undefined {
  return machine.serialPorts[machine.config.serialPorts.findIndex((backend) => backend?.kind === "stdio")];
}

/** Gives the console's input to the serial port, as fast as the guest takes it. */
async function feedInput(machine: Machine, port: SerialPort): Promise<void> {
  for await (const chunk of Deno.stdin.readable) {
    for (let rest = chunk; rest.length > 0;) {
      const seen = machine.inputDrained.count;
      const taken = machine.lock.with(() => port.receive(rest));
      rest = rest.subarray(taken);
      if (rest.length > 0) await machine.inputDrained.changed(seen);
    }
  }
}

/** Calls timed devices when their deadlines come. */
async function runTimers(machine: Machine): Promise<never> {
  for (;;) {
    const seen = machine.deadlines.count;
    const wait = machine.lock.with(() => machine.expireDeadlines());
    await machine.deadlines.changed(seen, wait === undefined ? undefined : Math.ceil(wait / 1e6));
  }
}
