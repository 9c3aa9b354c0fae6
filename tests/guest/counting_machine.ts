/**
 * A machine whose guest counts on the debug console, and which is watched over QMP.
 *
 * @module
 */
import { pause, QmpClient } from "../support/qmp_client.ts";
import type { Program, Stage } from "../support/stage.ts";
import counter from "./asm/counter.asm" with { type: "text" };
import { type GuestOptions, startGuest, testOnKvm } from "./guests.ts";

/** Options of a machine, and a descriptor that it is given. */
export type MachineOptions = Pick<GuestOptions, "options" | "given">;

/** A machine whose guest counts, as a client of its sees it. */
export class CountingMachine {
  readonly vmm: Program;
  readonly qmp: QmpClient;
  readonly #output: string;

  constructor(stage: Stage, { options = [], given }: MachineOptions) {
    const path = `${stage.directory}/qmp.sock`;
    this.#output = `${stage.directory}/debug.txt`;
    const qmp = ["-qmp", `unix:${path},server=on,wait=off`];
    this.vmm = startGuest(stage, counter, { options: [...qmp, ...options], debugFile: this.#output, given });
    this.qmp = new QmpClient(path);
  }

  get count(): number {
    return Deno.statSync(this.#output).size;
  }

  /** Returns once the guest has counted on. */
  awaitCount(): void {
    for (const before = this.count; this.count === before;) pause(5);
  }

  /** Whether the guest does not count, for as long as one that runs would need for many steps. */
  standsStill(): boolean {
    const before = this.count;
    pause(100);
    return this.count === before;
  }
}

/** A test with a guest that counts. */
export function testCounting(
  name: string,
  body: (machine: CountingMachine, stage: Stage) => void,
  options: (stage: Stage) => MachineOptions = () => ({}),
): void {
  testOnKvm(name, (stage) => {
    const machine = new CountingMachine(stage, options(stage));
    try {
      body(machine, stage);
    } finally {
      machine.qmp.close();
    }
  });
}
