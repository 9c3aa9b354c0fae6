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
import type { JsonObject } from "../qmp/protocol.ts";
import { QmpServer } from "../qmp/server.ts";
import { PROGRAM } from "../version.ts";
import { describeDrives } from "./block_query.ts";
import { DeviceControl } from "./device_control.ts";
import { describeDeviceProcesses, describeFailure } from "./device_process_query.ts";
import type { RestartReport } from "./device_restart.ts";
import type { DeviceRestarts } from "./device_restarts.ts";
import type { Machine } from "./machine.ts";
import type { DeviceControlHandle, MachineHandle } from "./machine_handle.ts";
import { isGuestCause } from "./run_state.ts";

/** The UUID of a machine that was given none (RFC 9562, section 5.9). */
const NIL_UUID = "00000000-0000-0000-0000-000000000000";

/** What the control plane needs. */
export interface ControlPlaneOptions {
  readonly machine: Machine;
  readonly handle: MachineHandle;
  readonly watcher: Watcher;
  readonly restarts: DeviceRestarts;
  /** The character devices, for `query-chardev`. */
  readonly chardevs: () => JsonObject[];
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** A device process, and what it was started for. */
interface ControlledDevice {
  readonly handle: DeviceControlHandle;
  /** That of the process which is there now. */
  control: DeviceControl;
}

/** See the module. */
export class ControlPlane {
  readonly #machine: Machine;
  readonly #log: (line: string) => void;
  readonly #server: QmpServer;
  readonly #watcher: Watcher;
  readonly #devices: readonly ControlledDevice[];
  readonly #restarts: DeviceRestarts;
  /** Of how many failures of each device clients have been told. */
  readonly #failuresTold: number[];
  /** Whether the machine runs, as far as clients have been told. */
  #runs = true;
  /** Turns from running to standing still, or back, that clients are not told of: a machine that is started stopped has not been stopped. */
  #untold: number;
  /** How many clients have asked the machine to go on, and wait until it does. */
  #resuming = 0;
  /** What failed meanwhile. */
  readonly #failedAgain: BlockIoError[] = [];
  /** Called once the leading thread has done what was asked for. */
  readonly #settled: (() => void)[] = [];

  constructor({ machine, handle, watcher, restarts, chardevs, log }: ControlPlaneOptions) {
    this.#machine = machine;
    this.#log = log;
    this.#restarts = restarts;
    this.#failuresTold = machine.processes.map(() => 0);
    this.#untold = handle.config.startPaused ? 1 : 0;
    this.#server = new QmpServer({
      watcher,
      endpoints: handle.monitors,
      commands: this.#commands(handle),
      chardevs,
      program: PROGRAM,
      log,
    });
    this.#watcher = watcher;
    this.#devices = handle.deviceControls.map((handle) => ({ handle, control: this.#connect(handle, handle.fd) }));
    watcher.watch(handle.eventFd, Ready.IN, () => this.#look());
  }

  /** What can be asked of the machine, for monitors of another kind. */
  get commands(): Commands {
    return this.#server.commands;
  }

  /** A device, by number, has a new process in the place of one that was lost. */
  deviceRestarted(device: number, { restarts, downtime, control }: RestartReport): void {
    const controlled = this.#devices.find(({ handle }) => handle.device === device)!;
    controlled.control.close();
    controlled.control = this.#connect(controlled.handle, control);
    const { id } = controlled.handle;
    this.#log(`device ${id} is back after ${Math.round(downtime)} ms`);
    this.#server.emit("DEVICE_PROCESS_RESTARTED", { device: id, restarts, downtime: Math.round(downtime) });
  }

  /** A device, by number, was to have a new process, and will not have one. */
  deviceGivenUp(device: number, why: string): void {
    const failure = describeFailure(this.#machine.proxies[device].id, this.#machine.processes[device], false);
    this.#server.emit("DEVICE_PROCESS_FAILED", { ...failure, detail: `it is not started again: ${why}` });
  }

  #connect({ id, disks }: DeviceControlHandle, fd: number): DeviceControl {
    const drives = disks.map(({ drive }) => drive.id);
    return new DeviceControl({
      id,
      fd,
      drives,
      watcher: this.#watcher,
      log: this.#log,
      onBlockError: (error) => this.#blockError(error),
    });
  }

  #commands(handle: MachineHandle): Commands {
    const { config, vcpuFds } = handle;
    const { control } = this.#machine;
    const threads = () => control.threadIds();
    return {
      "query-name": query(() => config.name === undefined ? {} : { name: config.name }),
      "query-uuid": query(() => ({ UUID: config.uuid ?? NIL_UUID })),
      "query-kvm": query(() => ({ enabled: true, present: true })),
      // MemoryInfo of qapi/machine.json; plugged memory is left out, as by every machine that can have none.
      "query-memory-size-summary": query(() => ({ "base-memory": config.memory.size })),
      "query-status": query(() => {
        const status = control.state;
        return { running: status === "running", singlestep: false, status };
      }),
      "query-cpus-fast": query(() => vcpuFds.map((_, index) => describeCpu(index, threads()[index]))),
      "query-block": this.#queryBlock(),
      "query-device-processes": query(() => describeDeviceProcesses(this.#machine, handle, this.#restarts)),
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

  /**
   * Device processes go on before the vCPUs, so that nobody sees what was held before it has been tried again. What fails again stops the
   * machine once it runs, and clients have been told so: they count on a STOP.
   */
  #resume(done: () => void): void {
    this.#resuming++;
    this.#askAll(
      ({ control }, _i, next) => control.resume(() => next(undefined)),
      () => {
        this.#machine.control.requestRun();
        this.#whenSettled(() => {
          this.#resuming--;
          done();
          if (this.#resuming === 0) { for (const error of this.#failedAgain.splice(0)) this.#blockError(error); }
        });
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
    if (this.#resuming > 0) return void this.#failedAgain.push(error);
    this.#look();
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
    events.listen();
    // Before the news are taken, so that they tell of the state that this is about.
    const { settled } = control;
    const { guestResets, hostResets, turns, end } = events.take();
    this.#tellFailures();
    for (let i = 0; i < guestResets; i++) this.#server.emit("RESET", { guest: true, reason: "guest-reset" });
    for (let i = 0; i < hostResets; i++) this.#server.emit("RESET", { guest: false, reason: "host-qmp-system-reset" });
    for (let i = 0; i < turns; i++) this.#turn();
    if (settled) { for (const done of this.#settled.splice(0)) done(); }
    if (end === undefined) return;
    this.#server.emit("SHUTDOWN", { guest: isGuestCause(end), reason: end });
    events.sayFarewell();
  }

  #tellFailures(): void {
    for (const [i, process] of this.#machine.processes.entries()) {
      if (this.#failuresTold[i] === process.failures) continue;
      this.#failuresTold[i] = process.failures;
      const isRestarted = this.#restarts.get(i)?.lost() ?? false;
      this.#server.emit("DEVICE_PROCESS_FAILED", describeFailure(this.#machine.proxies[i].id, process, isRestarted));
    }
  }

  /** The machine runs that stood still, or stands still that ran. */
  #turn(): void {
    this.#runs = !this.#runs;
    if (this.#untold === 0) this.#server.emit(this.#runs ? "RESUME" : "STOP");
    else this.#untold--;
  }
}

/** An entry of `query-cpus-fast` (CpuInfoFast, qapi/machine.json); each vCPU is a core of one socket. */
function describeCpu(index: number, threadId: number) {
  return {
    "cpu-index": index,
    "qom-path": `/machine/cpu[${index}]`,
    "thread-id": threadId,
    props: { "socket-id": 0, "core-id": index, "thread-id": 0 },
    target: "x86_64",
  };
}
