/**
 * `-machine q35`, from its configuration to its exit status.
 *
 * The calling thread becomes that of vCPU 0, because a thread that is started for it would begin later. It leads: the other vCPUs'
 * threads and the control thread are workers.
 *
 * @module
 */
import { currentThreadId } from "../ffi/thread.ts";
import type { BoundPath } from "../ffi/unix_socket.ts";
import { log } from "../log.ts";
import { openEndpoints } from "../qmp/endpoint.ts";
import { isTracing, markPhase, TRACE_ENVIRONMENT } from "../startup_trace.ts";
import { placeAcpi, type PlacedAcpi } from "./acpi/acpi.ts";
import { type KernelFiles, readKernelFiles } from "./boot/boot_files.ts";
import { loadKernel } from "./boot/boot_image.ts";
import { BootImageError } from "./boot/boot_request.ts";
import type { VmmConfig } from "./config.ts";
import { openCharacterDevices } from "./console/character_devices.ts";
import { kernelE820 } from "./e820.ts";
import { traceFirstExit } from "./first_exit.ts";
import { GuestTime } from "./guest_time.ts";
import { type DeviceStart, launch, type LaunchedMachine, type Outside } from "./launch.ts";
import { guardSockets, type Lockdown, lockDownStart } from "./lockdown.ts";
import { Machine } from "./machine.ts";
import { setFirmwareMtrrs } from "./mtrr.ts";
import { makeLevelTriggered, programChipset, routeInterrupts } from "./pci/chipset_setup.ts";
import { cmosContents } from "./platform/cmos_contents.ts";
import type { Verdict } from "./run_control.ts";
import type { Cause, StoppedState } from "./run_state.ts";
import { SELF_ENVIRONMENT, selfCommand, selfFiles } from "./self_command.ts";
import { placeSmbios } from "./smbios/smbios.ts";
import { START_PERIOD, Threads } from "./threads.ts";
import { PowerOnState, setInitialState } from "./vcpu_state.ts";
import { Vcpu, type VcpuStop } from "./vcpu.ts";

/** What a machine's own process brings along for its device processes. */
export type MachineStart = Pick<DeviceStart, "arguments" | "openFiles">;

/**
 * Runs a virtual machine to its end.
 *
 * @returns the exit status.
 * @throws {Error} when the machine cannot be made, or the host cannot go on with it.
 */
export async function runVmm(config: VmmConfig, start: MachineStart): Promise<number> {
  const kernel = config.kernel && readKernelFiles(config.kernel, config.memory.size);
  const characters = await openCharacterDevices(config.characterDevices, log);
  try {
    const monitors = await openEndpoints(config.monitors, log);
    try {
      const outside = { characters: characters.handles, monitors: monitors.endpoints };
      const paths = [...characters.paths, ...monitors.paths];
      return await runBetween(config, kernel, { ...outside, paths }, start);
    } finally {
      monitors.close();
    }
  } finally {
    characters.close();
  }
}

async function runBetween(
  config: VmmConfig,
  kernel: KernelFiles | undefined,
  outside: Outside & { readonly paths: readonly BoundPath[] },
  start: MachineStart,
): Promise<number> {
  const { readable, env } = selfFiles();
  const self = { command: selfCommand(), env: { ...SELF_ENVIRONMENT, ...env, ...TRACE_ENVIRONMENT } };
  const threads = new Threads();
  const launched = launch(config, { ...start, self, readable, log }, outside, () => threads.start(config.cpus));
  const guard = config.sandboxed ? guardSockets(outside.paths) : undefined;
  try {
    return await new Leader(launched, kernel, threads).run();
  } finally {
    launched.endDevices();
    guard?.dismiss();
  }
}

/** vCPU 0, and what it does for all of them. */
class Leader {
  readonly #launched: LaunchedMachine;
  readonly #machine: Machine;
  readonly #kernel: KernelFiles | undefined;
  readonly #acpi: PlacedAcpi;
  readonly #powerOn: PowerOnState;
  readonly #time: GuestTime;
  readonly #threads: Threads;

  constructor(launched: LaunchedMachine, kernel: KernelFiles | undefined, threads: Threads) {
    const { handle, acpi, msrs } = launched;
    this.#threads = threads;
    const machine = new Machine(handle, 0);
    markPhase("devices");
    this.#launched = launched;
    this.#machine = machine;
    this.#kernel = kernel;
    this.#acpi = placeAcpi(acpi);
    machine.memoryMap.install();
    machine.cmos.powerOn(this.#cmosContents(), clockOffset(handle.config));
    machine.resetDevices();
    machine.connect();
    markPhase("memory slots and wiring");
    this.#powerOn = new PowerOnState(machine.vm, machine.vcpus, msrs);
    markPhase("state at power-on");
    this.#time = new GuestTime(machine);
    this.#prepareBoot();
    markPhase("kernel in RAM");
  }

  async run(): Promise<number> {
    const { control, vcpus, ports, memory, lock } = this.#machine;
    const kvm = isTracing ? traceFirstExit(vcpus[0], "vCPU 0") : vcpus[0];
    const heedsSignals = () => this.#threads.areStarting;
    const vcpu = new Vcpu({ kvm, ports, memory, lock, attention: control.attention, heedsSignals });
    // Before this thread is known by its id: it cannot be kicked yet, and need not be.
    if (this.#machine.config.startPaused) control.requestStop("prelaunch");
    control.register(0, currentThreadId());
    this.#machine.terminal?.take();
    try {
      this.#threads.begin(this.#launched.handle, control, this.#lockDown());
      markPhase("machine handed to threads");
      return await this.#lead(vcpu);
    } finally {
      this.#machine.terminal?.restore();
    }
  }

  #lockDown(): Lockdown | undefined {
    if (!this.#machine.config.sandboxed) return undefined;
    const lockdown = lockDownStart(log);
    markPhase("system calls restricted");
    return lockdown;
  }

  async #lead(vcpu: Vcpu): Promise<number> {
    const { control, events } = this.#machine;
    for (;;) {
      const stop = await this.#runGuest(vcpu);
      if (stop === "reset") control.requestReset();
      else if (stop === "shutdown") control.requestExit(0);
      const status = await this.#actAtRest();
      if (status !== undefined) return status;
      control.restart();
      events.notify();
    }
  }

  /**
   * Does what the threads came to rest for.
   *
   * @returns the exit status when the machine ends; `undefined` when it goes on.
   */
  async #actAtRest(): Promise<number | undefined> {
    const { config } = this.#machine;
    for (;;) {
      const verdict = await this.#rest();
      switch (verdict.kind) {
        case "exit":
          this.#end(verdict.cause);
          return verdict.status;
        case "failure":
          this.#end("host-error");
          throw new Error(verdict.message);
        case "reset":
          if (config.noReboot) {
            this.#end(verdict.cause);
            return 0;
          }
          this.#reset(verdict.cause);
          break;
        case "stop":
          this.#stop(verdict.state);
          break;
        case "run":
          this.#resume();
          return undefined;
      }
    }
  }

  /** Waits until the other vCPUs are at rest, and there is something to do. */
  async #rest(): Promise<Verdict> {
    for (;;) {
      const verdict = this.#machine.control.lead(this.#threads.areStarting ? START_PERIOD : undefined);
      if (verdict !== undefined) return verdict;
      await this.#threads.hear();
    }
  }

  /** An error leaves only when the other vCPUs are at rest: what follows takes away the devices that they use. */
  async #runGuest(vcpu: Vcpu): Promise<VcpuStop> {
    const { control } = this.#machine;
    try {
      for (;;) {
        const stop = vcpu.run();
        if (stop !== "interruption") return stop;
        await this.#threads.hear();
      }
    } catch (error) {
      control.requestExit(1, "host-error");
      await this.#rest();
      this.#end("host-error");
      throw error;
    }
  }

  /** Whoever watches the machine hears why it ends. */
  #end(cause: Cause): void {
    const { control, events, config, lock } = this.#machine;
    // Whoever uses a link has the lock, and looks at the state first: links are closed after this.
    lock.with(() => control.enter("shutdown"));
    if (config.monitors.length > 0) events.noteEnd(cause);
  }

  #stop(state: StoppedState): void {
    const { control, lock, events } = this.#machine;
    lock.with(() => this.#time.stop());
    if (control.state === "running") events.noteTurn();
    control.enter(state);
    events.notify();
  }

  #resume(): void {
    const { control, lock, events } = this.#machine;
    if (control.state === "running") return;
    lock.with(() => {
      this.#time.start();
      this.#machine.resumeDevices();
    });
    events.noteTurn();
    control.enter("running");
  }

  /** All vCPUs are at rest. Time that stands still does so after the reset, from the values of power-on. */
  #reset(cause: Cause): void {
    const { control, lock, events } = this.#machine;
    const stopped = control.state !== "running";
    lock.with(() => {
      this.#time.start();
      this.#machine.resetProxies();
      this.#machine.resetDevices();
      this.#powerOn.restore();
      this.#prepareBoot();
      if (stopped) this.#time.stop();
    });
    control.endReset();
    // Whoever hears of the reset finds the state that follows it.
    if (stopped) control.enter("prelaunch");
    events.noteReset(cause);
  }

  /** Without firmware, the machine does firmware's part, and places the kernel anew each time: the guest has written all over it. */
  #prepareBoot(): void {
    const { config, ram, pci, vm, vcpus } = this.#machine;
    if (this.#kernel === undefined) return;
    this.#machine.syncMemoryAfter(() => programChipset(pci));
    routeInterrupts(pci, this.#machine.pirqs);
    makeLevelTriggered(vm);
    for (const vcpu of vcpus) setFirmwareMtrrs(vcpu, this.#launched.physicalAddressBits);
    const tables = [...this.#acpi.regions, ...placeSmbios(this.#launched.smbios)];
    for (const { gpa, bytes } of tables) ram.memory.write(gpa, bytes);
    setInitialState(vcpus[0], this.#loadKernel(config, this.#kernel));
  }

  #loadKernel(config: VmmConfig, { kernel, initrd }: KernelFiles) {
    const { split, memory } = this.#machine.ram;
    try {
      return loadKernel(kernel, {
        memory,
        e820: kernelE820(split, this.#acpi),
        commandLine: config.kernel!.append,
        initrd,
        rsdpAddress: this.#acpi.rsdpAddress,
      });
    } catch (error) {
      if (!(error instanceof BootImageError)) throw error;
      throw new Error(`Cannot boot ${config.kernel!.file}: it ${error.message}`);
    }
  }

  #cmosContents(): ReadonlyMap<number, number> {
    const { config, ram } = this.#machine;
    const { low, high } = ram.split;
    return cmosContents({ lowRam: low, highRam: high, cpus: config.cpus, bootOrder: config.boot.order });
  }
}

/** How far the guest's clock is ahead of UTC, in milliseconds. */
function clockOffset({ rtcBase }: VmmConfig): number {
  return rtcBase === "utc" ? 0 : -new Date().getTimezoneOffset() * 60_000;
}
