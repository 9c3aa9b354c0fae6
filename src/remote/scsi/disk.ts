/**
 * scsi-hd: a SCSI disk over an image.
 *
 * Section numbers here and in the files beside this are those of SPC-4 revision 37, SBC-3 revision 36 and SAM-5; what these have
 * dropped but old drivers still send is cited from SCSI-2 (X3.131-1994).
 *
 * @module
 */
import type { SavedState } from "../../device/state.ts";
import type { BlockDevice } from "../../block/block_device.ts";
import type { LogicalUnit } from "./logical_unit.ts";
import { OperationCode as Op } from "./cdb.ts";
import { ChunkPool } from "./chunk_pool.ts";
import {
  formatUnit,
  nothing,
  preventAllowMediumRemoval,
  readCapacity10,
  release,
  reserve,
  seek,
  sendDiagnostic,
  serviceActionIn16,
  startStopUnit,
  synchronizeCache,
} from "./disk_control.ts";
import {
  checkOptions,
  checkReady,
  checkWritable,
  type DiskModel,
  DiskState,
  type ScsiDiskOptions,
} from "./disk_model.ts";
import { unmap, writeSame } from "./disk_provisioning.ts";
import { read } from "./disk_read.ts";
import { verify, writeAndVerify } from "./disk_verify.ts";
import { write } from "./disk_write.ts";
import { inquiry } from "./inquiry.ts";
import { modeSelect, modeSense } from "./mode_pages.ts";
import type { ScsiInitiator, ScsiRequest, TaskAttributeCode } from "./scsi.ts";
import { SenseCode } from "./sense.ts";
import type { Command, Task } from "./task.ts";
import { TaskSet, UnitAttention, type UnitAttentionCode } from "./task_set.ts";

export type { BlockErrorReport, HeldRequest } from "./block_errors.ts";
export type { ScsiDiskOptions } from "./disk_model.ts";

/** Starts to execute a command, or says at once how it ended. */
type Executor = (disk: DiskModel, task: Task) => Command;

/** A command that uses the medium: not while the unit is stopped. */
function medium(command: Executor): Executor {
  return (disk, task) => checkReady(disk) ?? command(disk, task);
}

/** A command that changes the medium. */
function writing(command: Executor): Executor {
  return medium((disk, task) => checkWritable(disk) ?? command(disk, task));
}

/** The command set, by operation code. REQUEST SENSE and REPORT LUNS are the task set's. */
const COMMANDS: { readonly [operationCode: number]: Executor | undefined } = {
  [Op.TEST_UNIT_READY]: medium(nothing),
  [Op.REZERO_UNIT]: medium(nothing),
  [Op.FORMAT_UNIT]: writing(formatUnit),
  [Op.READ_6]: medium(read),
  [Op.WRITE_6]: writing(write),
  [Op.SEEK_6]: medium(seek),
  [Op.INQUIRY]: inquiry,
  [Op.MODE_SELECT_6]: modeSelect,
  [Op.RESERVE_6]: reserve,
  [Op.RELEASE_6]: release,
  [Op.MODE_SENSE_6]: modeSense,
  [Op.START_STOP_UNIT]: startStopUnit,
  [Op.SEND_DIAGNOSTIC]: sendDiagnostic,
  [Op.PREVENT_ALLOW_MEDIUM_REMOVAL]: preventAllowMediumRemoval,
  [Op.READ_CAPACITY_10]: medium(readCapacity10),
  [Op.READ_10]: medium(read),
  [Op.WRITE_10]: writing(write),
  [Op.SEEK_10]: medium(seek),
  [Op.WRITE_AND_VERIFY_10]: writing(writeAndVerify),
  [Op.VERIFY_10]: medium(verify),
  [Op.SYNCHRONIZE_CACHE_10]: medium(synchronizeCache),
  [Op.WRITE_SAME_10]: writing(writeSame),
  [Op.UNMAP]: medium(unmap),
  [Op.MODE_SELECT_10]: modeSelect,
  [Op.RESERVE_10]: reserve,
  [Op.RELEASE_10]: release,
  [Op.MODE_SENSE_10]: modeSense,
  [Op.READ_16]: medium(read),
  [Op.WRITE_16]: writing(write),
  [Op.WRITE_AND_VERIFY_16]: writing(writeAndVerify),
  [Op.VERIFY_16]: medium(verify),
  [Op.SYNCHRONIZE_CACHE_16]: medium(synchronizeCache),
  [Op.WRITE_SAME_16]: writing(writeSame),
  [Op.SERVICE_ACTION_IN_16]: medium(serviceActionIn16),
  [Op.READ_12]: medium(read),
  [Op.WRITE_12]: writing(write),
  [Op.WRITE_AND_VERIFY_12]: writing(writeAndVerify),
  [Op.VERIFY_12]: medium(verify),
};

/**
 * A disk.
 *
 * ```ts
 * const disk = new ScsiDisk(image, { serial: "0001", logicalBlockSize: 512 });
 * bus.attach(0, 0, disk);
 * ```
 */
export class ScsiDisk implements LogicalUnit {
  readonly #model: DiskModel;
  readonly #tasks: TaskSet;

  /**
   * @param drive The image. It belongs to the disk, which closes it; at the end of the image, what does not fill a logical block
   * is not part of the disk.
   * @throws {RangeError | TypeError} naming the option that is wrong.
   */
  constructor(drive: BlockDevice, options: ScsiDiskOptions = {}) {
    const { queueDepth, allocate, ...identity } = checkOptions(drive, options);
    this.#model = { ...identity, drive, state: DiskState.allocate(), buffers: new ChunkPool({ allocate }) };
    this.#tasks = new TaskSet({ execute: (task) => this.#execute(task), depth: queueDepth });
    this.reset();
  }

  /** Capacity in logical blocks. */
  get blocks(): number {
    return this.#model.blocks;
  }

  /** Bytes in a logical block. */
  get blockSize(): number {
    return this.#model.blockSize;
  }

  get tasks(): number {
    return this.#tasks.size;
  }

  start(
    initiator: ScsiInitiator,
    cdb: Uint8Array,
    tag: unknown,
    luns: readonly number[],
    attribute?: TaskAttributeCode,
  ): ScsiRequest {
    return this.#tasks.start(initiator, cdb, tag, luns, attribute);
  }

  #execute(task: Task): Command {
    const command = COMMANDS[task.cdb[0]];
    return command === undefined ? SenseCode.INVALID_COMMAND_OPERATION_CODE : command(this.#model, task);
  }

  reset(): void {
    this.#tasks.abort();
    this.#tasks.attention(UnitAttention.RESET);
    const { state, drive } = this.#model;
    state.stopped = state.reserved = false;
    state.writeCacheEnabled = drive.writeCache;
  }

  attention(condition: UnitAttentionCode): void {
    this.#tasks.attention(condition);
  }

  save(): SavedState[] {
    return [this.#tasks.save(), this.#model.state.save()];
  }

  restore(saved: readonly SavedState[]): void {
    const [tasks, state, ...more] = saved;
    if (state === undefined || more.length > 0) throw new TypeError("Saved state of a scsi-hd has two records");
    this.#tasks.restore(tasks);
    this.#model.state.restore(state);
    // An image that is opened without a volatile cache stays without one.
    if (!this.#model.drive.writeCache) this.#model.state.writeCacheEnabled = false;
  }
}
