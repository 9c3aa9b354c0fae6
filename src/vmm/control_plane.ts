/**
 * The control plane of a machine: its QMP server, and the control links to its device processes.
 *
 * It lives on the control thread. What it wants of the vCPUs it asks for through the run control, and hears of through the machine's
 * events.
 *
 * @module
 */
import { Ready } from "../ffi/event.ts";
import type { BlockIoError } from "../qmp/block_info.ts";
import { action, type Command, type Commands, query } from "../qmp/commands.ts";
import type { Watcher } from "../qmp/connection.ts";
import { QmpServer } from "../qmp/server.ts";
import { PROGRAM } from "../version.ts";
import { describeDrives } from "./block_query.ts";
import { DeviceControl } from "./device_control.ts";
import type { Machine } from "./machine.ts";
import type { DeviceControlHandle, MachineHandle } from "./machine_handle.ts";
import { isGuestCause, type RunStateName } from "./run_state.ts";

/** What the control plane needs. */
export interface ControlPlaneOptions {
  readonly machine: Machine;
  readonly handle: MachineHandle;
  readonly watcher: Watcher;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** A device process, and what it was started for. */
interface ControlledDevice {
  readonly handle: DeviceControlHandle;
  readonly control: DeviceControl;
}

/** See the module. */
export class ControlPlane {
  readonly #machine: Machine;
  readonly #log: (line: string) => void;
  readonly #server: QmpServer;
  readonly #devices: readonly ControlledDevice[];
  /** The state that clients were told of last. */
  #told: RunStateName;
  /** Called once the leading thread has done what was asked for. */
  readonly #settled: (() => void)[] = [];

  constructor({ machine, handle, watcher, log }: ControlPlaneOptions) {
    this.#machine = machine;
    this.#log = log;
    // A machine that is started stopped has not been stopped.
    this.#told = handle.config.startPaused ? "prelaunch" : "running";
    this.#server = new QmpServer({
      watcher,
      endpoints: handle.monitors,
      commands: this.#commands(handle),
      program: PROGRAM,
      log,
    });
    this.#devices = handle.deviceControls.map((handle) => ({ handle, control: this.#connect(handle, watcher) }));
    watcher.watch(handle.eventFd, Ready.IN, () => this.#look());
  }

  #connect({ id, fd, disks }: DeviceControlHandle, watcher: Watcher): DeviceControl {
    const drives = disks.map(({ drive }) => drive.id);
    return new DeviceControl({
      id,
      fd,
      drives,
      watcher,
      log: this.#log,
      onBlockError: (error) => this.#blockError(error),
    });
  }

  #commands({ config, vcpuFds }: MachineHandle): Commands {
    const { control } = this.#machine;
    const threads = () => control.threadIds();
    return {
      "query-name": query(() => config.name === undefined ? {} : { name: config.name }),
      "query-kvm": query(() => ({ enabled: true, present: true })),
      "query-status": query(() => {
        const status = control.state;
        return { running: status === "running", singlestep: false, status };
      }),
      "query-cpus-fast": query(() => vcpuFds.map((_, index) => describeCpu(index, threads()[index]))),
      "query-block": this.#queryBlock(),
      "stop": {
        run: (_args, reply) => {
          control.requestStop("paused");
          this.#whenSettled(() => reply({}));
        },
      },
      "cont": { run: (_args, reply) => this.#resume(() => reply({})) },
      "system_reset": action(() => control.requestReset("host-qmp-system-reset")),
      "system_powerdown": action(() => {
        this.#machine.pressPowerButton();
        this.#server.emit("POWERDOWN");
      }),
      "quit": action(() => control.requestExit(0, "host-qmp-quit")),
    };
  }

  #queryBlock(): Command {
    return {
      run: (_args, reply) => {
        const answers: unknown[] = [];
        this.#askAll(
          ({ control }, i, done) => control.queryBlock((answer) => done(answers[i] = answer)),
          () => reply(this.#devices.flatMap(({ handle }, i) => describeDrives(handle.disks, answers[i]))),
        );
      },
    };
  }

  /** Device processes go on before the vCPUs, so that nobody sees what was held before it has been tried again. */
  #resume(done: () => void): void {
    this.#askAll(
      ({ control }, _i, next) => control.resume(() => next(undefined)),
      () => {
        // One may have failed again while others were still asked.
        if (!this.#devices.some(({ control }) => control.held)) this.#machine.control.requestRun();
        this.#whenSettled(done);
      },
    );
  }

  #askAll(
    ask: (device: ControlledDevice, index: number, done: (answer: unknown) => void) => void,
    done: () => void,
  ): void {
    let missing = this.#devices.length;
    if (missing === 0) return done();
    for (const [i, device] of this.#devices.entries()) {
      ask(device, i, () => {
        if (--missing === 0) done();
      });
    }
  }

  /** QEMU's order, too: first why, then that the machine stands still. */
  #blockError(error: BlockIoError): void {
    this.#server.emit("BLOCK_IO_ERROR", { ...error });
    if (error.action !== "stop") return;
    const { device, operation, reason } = error;
    if (this.#machine.control.state === "running") {
      this.#log(`drive ${device}: ${operation} failed: ${reason}; the VM stands still until QMP's cont`);
    }
    this.#machine.control.requestStop("io-error");
  }

  #whenSettled(done: () => void): void {
    this.#settled.push(done);
    this.#look();
  }

  /** Tells clients of what has happened, and those who wait that it has. */
  #look(): void {
    const { control, events } = this.#machine;
    const { guestResets, hostResets, end } = events.take();
    for (let i = 0; i < guestResets; i++) this.#server.emit("RESET", { guest: true, reason: "guest-reset" });
    for (let i = 0; i < hostResets; i++) this.#server.emit("RESET", { guest: false, reason: "host-qmp-system-reset" });
    const { state } = control;
    const [ran, runs] = [this.#told === "running", state === "running"];
    this.#told = state;
    if (ran !== runs && end === undefined) this.#server.emit(runs ? "RESUME" : "STOP");
    if (control.settled) { for (const done of this.#settled.splice(0)) done(); }
    if (end === undefined) return;
    this.#server.emit("SHUTDOWN", { guest: isGuestCause(end), reason: end });
    events.sayFarewell();
  }
}

/** An entry of `query-cpus-fast` (CpuInfoFast, qapi/machine.json); each vCPU is a socket of its own. */
function describeCpu(index: number, threadId: number) {
  return {
    "cpu-index": index,
    "qom-path": `/machine/cpu[${index}]`,
    "thread-id": threadId,
    props: { "socket-id": index, "core-id": 0, "thread-id": 0 },
    target: "x86_64",
  };
}
