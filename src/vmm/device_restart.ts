/**
 * Puts a new device process in the place of one that was lost, while the guest runs.
 *
 * It lives on the control thread, and waits by its event loop alone: vCPUs find the device gone until the new process knows all that the guest
 * has configured, and then there.
 *
 * @module
 */
import { errorChain } from "../error_chain.ts";
import { closeFd, redirectFd } from "../ffi/file.ts";
import { childProcess, Signal } from "../ffi/process.ts";
import type { PciProxy, ProxyHandle } from "../proxy/pci_proxy.ts";
import { type GuestState, Reconnection } from "../proxy/reconnect.ts";
import type { RingHandle } from "../proxy/ring_setup.ts";
import type { Watcher } from "../qmp/connection.ts";
import type { DeviceCustody } from "./device_custody.ts";
import type { DeviceProcessHandle } from "./machine_handle.ts";
import { type RestartDecision, RestartPolicy } from "./restart_policy.ts";
import { GONE, type NewProcess, type SpawnerClient } from "./spawner_client.ts";
import { LockedImageError } from "./spawner_protocol.ts";
import { explainFailedStart, isReadableWithin } from "./start_failure.ts";

/**
 * How long a new process may take until it serves the guest, in milliseconds, where the device's own deadline is not longer; and a lost one
 * until it has ended.
 */
const SHORTEST_START_TIMEOUT = 10_000;
const END_TIMEOUT = 30_000;

/** How long images are waited for that something still has locked, in milliseconds, and how often it is asked. */
const LOCK_PATIENCE = 5_000;
const LOCK_PERIOD = 20;

/** How often it is looked whether other threads are done with a lost link, in milliseconds. */
const BURIAL_PERIOD = 2;

/** A device process that was started again. */
export interface RestartReport {
  /** How many processes have been replaced by now. */
  readonly restarts: number;
  /** For how long the device was gone, in milliseconds. */
  readonly downtime: number;
  /** The new control socket; the taker's. */
  readonly control: number;
}

/** What the machine does for a restart. */
export interface RestartHost {
  readonly watcher: Watcher;
  readonly custody: DeviceCustody;
  readonly spawner: SpawnerClient | undefined;
  /** What a device is to know of the guest now. */
  guestState(device: number): GuestState;
  /** Has the guest find the device again. @returns false, with nothing done, when its state is another one by now. */
  renew(device: number, state: GuestState, ring: RingHandle | undefined): boolean;
  /** Writes one line to the log. */
  log(line: string): void;
}

/** What is restarted. */
export interface RestartOptions {
  /** Its number among the machine's devices. */
  readonly device: number;
  readonly handle: ProxyHandle;
  readonly proxy: PciProxy;
  readonly process: DeviceProcessHandle;
  /** How often at most. */
  readonly restarts: number;
  readonly host: RestartHost;
  readonly onRestarted: (report: RestartReport) => void;
  /** It was to be started again, and is not after all. @param why Part of a line, for people. */
  readonly onGivenUp: (why: string) => void;
}

/** One device. */
export class DeviceRestart {
  readonly #options: RestartOptions;
  readonly #policy: RestartPolicy;
  #state: "running" | "restarting" | "failed" = "running";
  #pid: number;
  #lostAt = 0;
  /** Why starts for the last loss have come to nothing, as it was told. */
  #told = "";

  constructor(options: RestartOptions) {
    this.#options = options;
    this.#pid = options.process.pid;
    this.#policy = new RestartPolicy(options.restarts, performance.now());
  }

  /** Whether the device is there, and if not, whether it will be. */
  get state(): "running" | "restarting" | "failed" {
    return this.#state;
  }

  /** How many processes have been replaced. */
  get restarts(): number {
    return this.#policy.restarts;
  }

  /** The process in charge; `undefined` while there is none. */
  get pid(): number | undefined {
    return this.#state === "running" ? this.#pid : undefined;
  }

  /** How many times it may be; 0 once there is nothing any more that would start it. */
  get most(): number {
    const { restarts, host: { spawner } } = this.#options;
    return spawner?.hasGone === false ? restarts : 0;
  }

  /** The device is gone. @returns whether its process is started again. */
  lost(): boolean {
    this.#lostAt = performance.now();
    this.#told = "";
    this.#follow(this.#policy.lost(this.#lostAt));
    return this.#state === "restarting";
  }

  /** @returns why it is given up, where it is and somebody asked for a restart. */
  #follow(decision: RestartDecision): string | undefined {
    const { host: { custody, log, spawner, watcher }, proxy } = this.#options;
    if (decision.restart && spawner !== undefined && !spawner.hasGone) {
      this.#state = "restarting";
      setTimeout(() => void this.#attempt(spawner), decision.pause);
      return undefined;
    }
    this.#state = "failed";
    // It has been killed, but may take a while.
    custody.reapAtItsEnd(this.#child(), watcher);
    const why = decision.restart ? GONE : decision.why;
    if (why !== undefined) log(`device ${proxy.id} is not started again: ${why}`);
    return why;
  }

  async #attempt(spawner: SpawnerClient): Promise<void> {
    const { host, onRestarted, onGivenUp } = this.#options;
    try {
      const control = await this.#replace(spawner);
      const now = performance.now();
      this.#policy.served(now);
      this.#state = "running";
      onRestarted({ restarts: this.restarts, downtime: now - this.#lostAt, control });
    } catch (error) {
      // What goes wrong then is that the machine ends.
      if (host.custody.hasEnded) return;
      if (!spawner.hasGone) this.#tell(errorChain(error));
      const why = this.#follow(this.#policy.startFailed(performance.now()));
      if (why !== undefined) onGivenUp(why);
    }
  }

  /** Tells why a start came to nothing, but not again and again. */
  #tell(problem: string): void {
    const { host, proxy } = this.#options;
    if (problem !== this.#told) host.log(`device ${proxy.id}: its process could not be started again: ${problem}`);
    this.#told = problem;
  }

  /** @returns the control socket. */
  async #replace(spawner: SpawnerClient): Promise<number> {
    const { proxy } = this.#options;
    while (!proxy.isBuried) await new Promise((resolve) => setTimeout(resolve, BURIAL_PERIOD));
    await this.#endLost();
    let control: number | undefined;
    await this.#start(spawner, (process) => {
      this.#adopt(process);
      control = process.control;
    });
    if (control === undefined) throw new Error("the machine ends");
    try {
      await this.#bringUp(spawner);
      return control;
    } catch (error) {
      throw await this.#withdraw(error, control);
    }
  }

  /** Ends a new process that does not come to serve. @returns why. */
  async #withdraw(error: unknown, control: number): Promise<unknown> {
    const { process: { pidfd }, host: { watcher, custody } } = this.#options;
    try {
      return custody.hasEnded ? error : await explainFailedStart(error, { pidfd, control }, watcher);
    } finally {
      closeFd(control);
      if (!custody.hasEnded) this.#child().kill(Signal.KILL);
    }
  }

  /** Requests of the lost process that are in the kernel still have its images locked; whoever has them for longer is somebody else. */
  async #start(spawner: SpawnerClient, adopt: (process: NewProcess) => void): Promise<void> {
    for (const deadline = performance.now() + LOCK_PATIENCE;;) {
      try {
        return await spawner.start(this.#options.device, this.#patience, adopt);
      } catch (error) {
        if (!(error instanceof LockedImageError) || performance.now() >= deadline) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, LOCK_PERIOD));
    }
  }

  /** It may be alive, and hang; two processes with the same images would be the end of these. */
  async #endLost(): Promise<void> {
    const { process: { pidfd }, host } = this.#options;
    this.#child().kill(Signal.KILL);
    const why = `the process before (${this.#pid}) does not end`;
    await untilReadable(host.watcher, pidfd, performance.now() + END_TIMEOUT, why);
  }

  /** The new process takes the numbers of the old one, by which all threads know it. */
  #adopt({ pid, link, pidfd }: { pid: number; link: number; pidfd: number }): void {
    const { handle, process } = this.#options;
    this.#child().wait();
    for (const [fd, number] of [[link, handle.fd], [pidfd, process.pidfd]]) {
      redirectFd(fd, number);
      closeFd(fd);
    }
    this.#pid = pid;
  }

  async #bringUp(spawner: SpawnerClient): Promise<void> {
    const { handle, host, device } = this.#options;
    const deadline = performance.now() + this.#patience;
    const awaitLink = () => untilReadable(host.watcher, handle.fd, deadline, "the new process does not answer");
    const reconnection = new Reconnection(handle, awaitLink);
    try {
      await reconnection.greet();
      // It has answered, so it is locked down and has all open that it needs.
      await spawner.emptyRoot(device, this.#patience);
      let state: GuestState;
      do {
        state = host.guestState(device);
        await reconnection.replay(state);
      } while (!host.renew(device, state, reconnection.ring));
    } catch (error) {
      reconnection.revoke();
      throw error;
    }
  }

  /** How long a new process may take, in milliseconds. */
  get #patience(): number {
    return Math.max(this.#options.handle.timeout, SHORTEST_START_TIMEOUT);
  }

  #child() {
    return childProcess(this.#pid, this.#options.process.pidfd);
  }
}

/** Waits until a descriptor is ready for reading. @throws {Error} `why`, when that takes too long. */
async function untilReadable(watcher: Watcher, fd: number, deadline: number, why: string): Promise<void> {
  if (!await isReadableWithin(watcher, fd, deadline - performance.now())) throw new Error(why);
}
