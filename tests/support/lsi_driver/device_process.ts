/**
 * A device process with an LSI53C895A and one disk, splitvm's or stock QEMU's, and the driver that plays guest to it.
 *
 * @module
 */
import { pollFd, Ready } from "../../../src/ffi/event.ts";
import { closeFd } from "../../../src/ffi/file.ts";
import { type ChildProcess, type ExitStatus, Signal, spawn } from "../../../src/ffi/process.ts";
import { createSocketPair } from "../../../src/ffi/socket.ts";
import { childEnvironment, readAll } from "../child.ts";
import type { Half } from "../machines.ts";
import { Board } from "./board.ts";
import { LsiDriver, type LsiDriverOptions, ramNeeded } from "./lsi_driver.ts";
import { makeReady } from "./scsi_disk.ts";

/** The number of the link in the device process. */
const LINK = 3;

/** How long a process may take to end once its link has, in milliseconds. */
const PATIENCE = 30_000;

/** How long QEMU may take from its first answer to the reset of its machine, in milliseconds. */
const QEMU_RESET = 200;

/** What to start. */
export interface DeviceProcessOptions extends LsiDriverOptions {
  readonly half: Half;
  /** The options of `-drive` that say what the image is: `file=disk.img,format=raw,cache=none`. */
  readonly drive: string;
  /** Further options of `-device scsi-hd`. @default {""} */
  readonly disk?: string;
  /** The CPUs that it may run on, as taskset(1) has them. @default {undefined} which leaves it to the scheduler */
  readonly cpus?: string;
}

/** How a device process ended, and what it wrote. */
export interface Ending {
  readonly status: ExitStatus;
  readonly errors: string;
}

/** A running device process. */
export class DeviceProcess {
  readonly board: Board;
  readonly #child: ChildProcess;
  readonly #errors: number;
  readonly #options: DeviceProcessOptions;
  #ending: Ending | undefined;

  constructor(options: DeviceProcessOptions) {
    this.#options = options;
    const [near, far] = createSocketPair();
    const [errors, stderr] = createSocketPair();
    try {
      this.#child = spawn({
        command: commandLine(options),
        env: childEnvironment(),
        descriptors: new Map([[0, null], [1, stderr], [2, stderr], [LINK, far]]),
      });
    } catch (error) {
      [near, errors].forEach(closeFd);
      throw error;
    } finally {
      [far, stderr].forEach(closeFd);
    }
    this.#errors = errors;
    this.board = new Board(near, ramNeeded(options));
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Readable once the process has ended. */
  get pidfd(): number {
    return this.#child.pidfd;
  }

  /**
   * Brings the device up.
   *
   * @throws {Error} with what the process wrote, when it has ended instead of answering.
   */
  start(): LsiDriver {
    try {
      this.#awaitReset();
      this.board.enableDevice();
      const driver = new LsiDriver(this.board, this.#options);
      makeReady(driver);
      return driver;
    } catch (cause) {
      const { errors } = this.stop();
      throw new Error(errors.trim() || "The device process could not be brought up", { cause });
    }
  }

  /**
   * QEMU serves its link before it has reset its machine, which takes away BARs that were set up in between. There is no sign of when that is
   * over.
   */
  #awaitReset(): void {
    if (this.#options.half !== "qemu") return;
    this.board.readConfig(0, 4);
    pollFd(this.#child.pidfd, Ready.IN, QEMU_RESET);
  }

  /** Ends the process at once, wherever it is. */
  kill(): void {
    this.#child.kill(Signal.KILL);
  }

  /** Closes the link and waits for the end of the process. Calling it again returns the same. */
  stop(): Ending {
    return this.#ending ??= this.#stop();
  }

  #stop(): Ending {
    this.board.close();
    if (pollFd(this.#child.pidfd, Ready.IN, PATIENCE) === 0) this.#child.kill(Signal.KILL);
    const status = this.#child.wait();
    this.#child.close();
    const errors = readAll(this.#errors);
    closeFd(this.#errors);
    return { status, errors };
  }
}

function commandLine({ half, drive, disk = "", cpus }: DeviceProcessOptions): string[] {
  const prefix = cpus === undefined ? [] : ["taskset", "--cpu-list", cpus];
  const shared = [
    ...["-device", "lsi53c895a,id=lsi0"],
    ...["-drive", `id=d0,if=none,${drive}`],
    ...["-device", `scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0${disk}`],
    ...["-object", `x-remote-object,id=r0,devid=lsi0,fd=${LINK}`],
  ];
  if (half !== "qemu") return [...prefix, ...half.command, "-machine", "remote", ...shared];
  const quiet = ["-nodefaults", "-display", "none", "-monitor", "none", "-serial", "none"];
  return [...prefix, "qemu-system-x86_64", "-machine", "x-remote", ...shared, ...quiet];
}
