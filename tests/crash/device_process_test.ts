/**
 * A guest writes to its disk, and the device process is killed in the middle of it, again and again on the same image. What the guest was
 * told is on stable storage has to be there, and the image has to be one that QEMU finds no error in.
 *
 * `deno task test:crash` kills hundreds of times; as a part of `deno task test` it is a few times.
 */
import { assertEquals } from "@std/assert";
import { closeFd, duplicateFd } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { DeviceProcess, type Ending } from "../support/lsi_driver/device_process.ts";
import type { LsiDriver } from "../support/lsi_driver/lsi_driver.ts";
import { execute, read10 } from "../support/lsi_driver/scsi_disk.ts";
import { leakingNothing } from "../support/leaks.ts";
import { SOURCE } from "../support/machines.ts";
import { QEMU_IMG } from "../support/requirements.ts";
import { delay, happens, pick } from "./chance.ts";
import { examine, requireNoErrors, verify, verifyByQemu } from "./examination.ts";
import { checkBystanders, type CrashImage, DISK_SIZE } from "./images.ts";
import type { Journal } from "./journal.ts";
import type { Killer } from "./killer.ts";
import { DRIVER_KILLS, DRIVER_KINDS } from "./kills.ts";
import { SECTOR } from "./sector.ts";
import { type Scene, testCrashes, type Victim } from "./torment.ts";
import { Writer } from "./writer.ts";

const MIB = 1024 * 1024;

/** When a process is killed. */
type Moment =
  /** While it starts: opens the image, repairs it. */
  | "starting"
  /** While the guest writes. */
  | "writing"
  /** While it closes the image after the guest has gone. */
  | "closing";

/** `cache=`, `aio=` and `discard=` of a start. */
function randomDrive({ path, kind }: CrashImage): { drive: string; discards: boolean } {
  const cache = pick(["writeback", "none", "writethrough", "directsync"]);
  const aio = pick(["", ",aio=threads", ",aio=io_uring"]);
  const discards = pick([true, false]);
  const options = `format=${kind.format},cache=${cache}${aio},discard=${discards ? "unmap" : "ignore"}`;
  return { drive: `file=${path},${options}`, discards };
}

/** All that a disk holds. */
function readDisk(driver: LsiDriver): Uint8Array<ArrayBuffer> {
  const content = new Uint8Array(DISK_SIZE);
  for (let offset = 0; offset < DISK_SIZE; offset += MIB) {
    execute(driver, read10(offset / SECTOR, MIB / SECTOR), "in", MIB);
    content.set(driver.buffer(0), offset);
  }
  return content;
}

/** Whether an error is what a driver sees of a killed process. */
function isPeerGone(error: unknown): boolean {
  if (error instanceof LinkError && error.failure === "closed") return true;
  return error instanceof Error && error.cause !== undefined && isPeerGone(error.cause);
}

function requireKilled({ status, errors }: Ending, orCode?: number): void {
  if ("signal" in status ? status.signal === Signal.KILL && errors === "" : status.code === orCode) return;
  throw new Error(`The device process ended by itself with ${JSON.stringify(status)}: ${errors}`);
}

/** An image whose device process is killed. */
class DrivenImage implements Victim {
  readonly #image: CrashImage;
  readonly #folder: string;
  readonly #killer: Killer;
  readonly #journal: Journal;

  constructor({ image, folder, killer, journal }: Scene) {
    this.#image = image;
    this.#folder = folder;
    this.#killer = killer;
    this.#journal = journal;
  }

  kill(): void {
    this.#kill(pick(["writing", "writing", "writing", "writing", "starting", "closing"]));
    examine(this.#image);
    if (happens(0.3)) verifyByQemu(this.#image, this.#folder, this.#journal);
  }

  /** Starts a process, has a guest write, and kills it. */
  #kill(moment: Moment): void {
    const { drive, discards } = randomDrive(this.#image);
    const process = new DeviceProcess({ half: SOURCE, drive });
    // The killer's own descriptor: what it signals is this process, even when that has been reaped.
    const pidfd = duplicateFd(process.pidfd);
    try {
      if (moment === "starting") this.#killer.arm([pidfd], delay(200));
      const driver = process.start();
      verify(readDisk(driver), this.#journal);
      if (moment !== "closing") this.#killer.arm([pidfd], delay(200));
      const writer = new Writer(driver, this.#journal, { depth: pick([1, 4, 16]), discards, random: Math.random });
      writer.run(moment === "closing" ? performance.now() + delay(50) : Infinity);
      this.#killer.arm([pidfd], delay(20));
    } catch (error) {
      if (!isPeerGone(error)) throw new Error(`with ${drive}`, { cause: error });
    } finally {
      const ending = process.stop();
      this.#killer.wait();
      closeFd(pidfd);
      requireKilled(ending, moment === "closing" ? 0 : undefined);
    }
  }

  end(): void {
    const { drive } = randomDrive(this.#image);
    const process = new DeviceProcess({ half: SOURCE, drive });
    try {
      verify(readDisk(process.start()), this.#journal);
    } finally {
      assertEquals(process.stop(), { status: { code: 0 }, errors: "" });
    }
    requireNoErrors(this.#image);
    verifyByQemu(this.#image, this.#folder, this.#journal);
    checkBystanders(this.#image, this.#folder);
  }
}

testCrashes({
  killed: "its device process",
  needs: [QEMU_IMG],
  kinds: DRIVER_KINDS,
  kills: DRIVER_KILLS,
  makeVictim: (scene) => new DrivenImage(scene),
  around: leakingNothing,
});
