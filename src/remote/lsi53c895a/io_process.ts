/**
 * I/O processes (SCSI-2, section 6.7): the commands that targets are working on, as the bus knows them.
 *
 * @module
 */
import { type ScsiRequest, ScsiStatus } from "../scsi/scsi.ts";
import { MAX_PROCESSES, PROCESS_SIZE } from "./chip_state.ts";

/** The tag of a command without a queue tag message. */
export const UNTAGGED = -1;

/** How far a target has come with a command. */
export const Progress = {
  /** The logical unit works on it. */
  BUSY: 0,
  /** A chunk of the data phase is ready to move. */
  DATA: 1,
  /** The status is known and not yet sent. */
  ENDED: 2,
} as const;

/** A command between its CDB and its status byte. */
export class IoProcess {
  readonly target: number;
  readonly lun: number;
  /** 0 to 255, or {@linkcode UNTAGGED}. */
  readonly tag: number;
  /** Whether IDENTIFY allowed the target to disconnect, and the initiator has not rejected it since. */
  disconnectPrivilege: boolean;
  progress: typeof Progress[keyof typeof Progress] = Progress.BUSY;
  status = 0;
  /** The logical unit's side of it, until it has ended. */
  request: ScsiRequest | undefined;
  /** Bytes of the current chunk that have moved. */
  position = 0;
  /** Data have moved since the data pointer was last saved. */
  pointerMoved = false;
  /** Cancelled: what the logical unit may still say about it counts for nothing. */
  dropped = false;

  constructor(target: number, lun: number, tag: number, disconnectPrivilege: boolean) {
    this.target = target;
    this.lun = lun;
    this.tag = tag;
    this.disconnectPrivilege = disconnectPrivilege;
  }

  /** Ends it without the logical unit. */
  end(status: number): void {
    this.progress = Progress.ENDED;
    this.status = status;
    this.request = undefined;
  }

  /** Makes the logical unit forget it; {@linkcode dropped} is set already. */
  cancel(): void {
    const request = this.request;
    this.request = undefined;
    request?.cancel();
  }
}

/** One number for an I_T_L_Q nexus. */
function nexus(target: number, lun: number, tag: number): number {
  return (target * 64 + lun) * 257 + tag + 1;
}

/** All I/O processes on the bus, and in which order those that disconnected want the initiator back. */
export class IoProcessTable {
  /** By nexus, of which there is one at a time. */
  readonly #all = new Map<number, IoProcess>();
  readonly #ready = new Set<IoProcess>();

  get size(): number {
    return this.#all.size;
  }

  /** Whether only the place for a command that is turned away at once is left. */
  get full(): boolean {
    return this.#all.size >= MAX_PROCESSES - 1;
  }

  /** Whether a disconnected target wants to reselect. */
  get hasReady(): boolean {
    return this.#ready.size > 0;
  }

  /** Adds one; the nexus must be free. */
  add(process: IoProcess): void {
    this.#all.set(nexus(process.target, process.lun, process.tag), process);
  }

  remove(process: IoProcess): void {
    const key = nexus(process.target, process.lun, process.tag);
    if (this.#all.get(key) === process) this.#all.delete(key);
    this.#ready.delete(process);
  }

  /** The one with this nexus. */
  find(target: number, lun: number, tag: number): IoProcess | undefined {
    return this.#all.get(nexus(target, lun, tag));
  }

  /** Its target wants to reselect. */
  makeReady(process: IoProcess): void {
    this.#ready.add(process);
  }

  /** Takes the process whose target has waited longest to reselect. */
  takeReady(): IoProcess | undefined {
    for (const process of this.#ready) {
      this.#ready.delete(process);
      return process;
    }
    return undefined;
  }

  /**
   * Drops all that match. None of them hears of the end of another, and the youngest goes first: it may be waiting for the others, and
   * must not begin.
   */
  drop(matches: (process: IoProcess) => boolean): void {
    const gone = [...this.#all.values()].filter(matches).reverse();
    for (const process of gone) {
      this.remove(process);
      process.dropped = true;
    }
    for (const process of gone) process.cancel();
  }

  /**
   * Writes all processes to a record's `processes`, the ready ones first and in order.
   *
   * @returns How many there are, and the index of `current` among them.
   */
  save(current: IoProcess | undefined, into: Uint8Array): { count: number; current: number } {
    const ordered = [...this.#ready, ...[...this.#all.values()].filter((process) => !this.#ready.has(process))];
    ordered.forEach((process, i) => {
      const tagged = process.tag !== UNTAGGED;
      const flags = (tagged ? 1 : 0) | (process.disconnectPrivilege ? 2 : 0);
      // A request dies with its logical unit's process. BUSY makes every driver issue the command again.
      const status = process.progress === Progress.ENDED ? process.status : ScsiStatus.BUSY;
      into.set([process.target, process.lun, tagged ? process.tag : 0, flags, status], i * PROCESS_SIZE);
    });
    return { count: ordered.length, current: current === undefined ? 0xffffffff : ordered.indexOf(current) >>> 0 };
  }

  /**
   * Takes over what {@linkcode save} wrote; all processes have ended now. A second one with the same nexus, which no device has saved, is
   * left out.
   *
   * @returns The current one.
   */
  restore(from: Uint8Array, count: number, currentIndex: number): IoProcess | undefined {
    let current: IoProcess | undefined;
    for (let i = 0; i < Math.min(count, MAX_PROCESSES); i++) {
      const [target, lun, tag, flags, status] = from.subarray(i * PROCESS_SIZE);
      const process = new IoProcess(target, lun, (flags & 1) !== 0 ? tag : UNTAGGED, (flags & 2) !== 0);
      if (this.find(target, lun, process.tag) !== undefined) continue;
      process.end(status);
      this.add(process);
      if (i === currentIndex) current = process;
      else this.#ready.add(process);
    }
    return current;
  }
}
