/**
 * A machine whose guest is measured: its processes, and what they print.
 *
 * @module
 */
import { pollFd, Ready } from "../src/ffi/event.ts";
import { closeFd, createPipe, readFd } from "../src/ffi/file.ts";
import { type ChildProcess, Signal, spawn } from "../src/ffi/process.ts";
import { createSocketPair } from "../src/ffi/socket.ts";
import { childEnvironment, readAll } from "../tests/support/child.ts";
import { LINK_FD, type MachineCommands } from "./device_access_plan.ts";

/**
 * How long QEMU's device process is given before it has a VMM, in milliseconds: it serves its link before it has reset its machine, which
 * takes away BARs that were set up in between, and of the end of that there is no sign.
 */
const QEMU_RESET = 300;

/** See the module. It ends when it goes out of scope. */
export class BenchMachine implements Disposable {
  readonly #processes: ChildProcess[] = [];
  readonly #output: number;
  readonly #errors: number;

  /** Starts the VMM, and the device process before it where that is a process of its own. */
  constructor(commands: MachineCommands) {
    const [output, errors] = [createPipe(), createPipe()];
    [this.#output, this.#errors] = [output[0], errors[0]];
    try {
      this.#start(commands, output[1], errors[1]);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    } finally {
      [output[1], errors[1]].forEach(closeFd);
    }
  }

  /** The processes that were started here. */
  get pids(): number[] {
    return this.#processes.map(({ pid }) => pid);
  }

  /**
   * Waits until the guest has printed something. What it prints fits into a pipe.
   *
   * @param patience Milliseconds.
   * @throws {Error} when it does not.
   */
  waitForOutput(patience: number): void {
    const piece = new Uint8Array(4096);
    if (pollFd(this.#output, Ready.IN, patience) !== 0 && readFd(this.#output, piece) > 0) return;
    throw new Error(this.#complaints() || "the guest said nothing");
  }

  /** Waits, unless a process ends. @param time Milliseconds. @throws {Error} when one has ended. */
  pause(time: number): void {
    const deadline = performance.now() + time;
    for (const { pidfd } of this.#processes) {
      if (pollFd(pidfd, Ready.IN, Math.max(0, deadline - performance.now())) !== 0) {
        throw new Error(this.#complaints() || "it has ended");
      }
    }
  }

  /** Waits for the end. @param patience Milliseconds. @returns all that was printed. @throws {Error} when it does not come. */
  wait(patience: number): { readonly output: string; readonly errors: string } {
    const ended = this.#processes.every(({ pidfd }) => pollFd(pidfd, Ready.IN, patience) !== 0);
    this.#kill();
    const [output, errors] = [this.#output, this.#errors].map(readAll);
    if (!ended) throw new Error(`it does not end: ${errors.trim()}`);
    return { output, errors };
  }

  [Symbol.dispose](): void {
    this.#kill();
    for (const process of this.#processes) {
      process.wait();
      process.close();
    }
    [this.#output, this.#errors].forEach(closeFd);
  }

  #kill(): void {
    for (const process of this.#processes) process.kill(Signal.KILL);
  }

  #complaints(): string {
    this.#kill();
    return readAll(this.#errors).trim();
  }

  #start({ vmm, device }: MachineCommands, output: number, errors: number): void {
    const env = childEnvironment();
    const outputs = [[0, null], [1, output], [2, errors]] as const;
    if (device === undefined) {
      this.#processes.push(spawn({ command: vmm, env, descriptors: new Map(outputs) }));
      return;
    }
    const [near, far] = createSocketPair();
    try {
      const remote = spawn({ command: device, env, descriptors: new Map([...outputs, [LINK_FD, far]]) });
      this.#processes.push(remote);
      pollFd(remote.pidfd, Ready.IN, QEMU_RESET);
      this.#processes.push(spawn({ command: vmm, env, descriptors: new Map([...outputs, [LINK_FD, near]]) }));
    } finally {
      [near, far].forEach(closeFd);
    }
  }
}
