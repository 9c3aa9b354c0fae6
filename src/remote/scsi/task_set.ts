/**
 * What every logical unit does, whatever its device type: accept commands, keep sense data for the initiator that asks
 * for them, and report unit attentions (SAM-5).
 *
 * On a parallel bus sense data do not travel with the status. They are kept from CHECK CONDITION until the initiator's next
 * command, which is REQUEST SENSE if it wants to know (SCSI-2, section 7.6, "contingent allegiance"). A task that fails
 * meanwhile is held back until then, so that no report overwrites another. There is one initiator: the host adapter.
 *
 * @module
 */
import { defineState, type SavedState } from "../../device/state.ts";
import { cdbLength, type ScsiInitiator, type ScsiRequest, ScsiStatus, type TaskAttributeCode } from "./scsi.ts";
import { OperationCode, u32be } from "./cdb.ts";
import { encodeSense, type FieldPointer, invalidCdbField, type Sense, SenseCode } from "./sense.ts";
import type { Steps } from "./steps.ts";
import { type Command, type Outcome, Task, type TaskOwner } from "./task.ts";
import { TaskOrder } from "./task_order.ts";

/**
 * Conditions that the next command is told of (SAM-5, section 5.14), the most important first: the value is a bit number in
 * the saved state.
 */
export const UnitAttention = {
  RESET: 0,
  CAPACITY_CHANGED: 1,
  MODE_PARAMETERS_CHANGED: 2,
  REPORTED_LUNS_CHANGED: 3,
} as const;

/** One of {@linkcode UnitAttention}. */
export type UnitAttentionCode = typeof UnitAttention[keyof typeof UnitAttention];

const ATTENTION_SENSE: readonly Sense[] = [
  SenseCode.RESET_OCCURRED,
  SenseCode.CAPACITY_DATA_CHANGED,
  SenseCode.MODE_PARAMETERS_CHANGED,
  SenseCode.REPORTED_LUNS_CHANGED,
];

/** These neither report nor clear a unit attention (SAM-5, section 5.14). */
const EXEMPT: readonly number[] = [OperationCode.INQUIRY, OperationCode.REPORT_LUNS, OperationCode.REQUEST_SENSE];

/**
 * These neither wait for other tasks nor change anything that others depend on. REQUEST SENSE must not wait: a failed task may be waiting for it,
 * and others for that task.
 */
const IMMEDIATE: readonly number[] = [...EXEMPT, OperationCode.TEST_UNIT_READY];

/** How many REQUEST SENSE may run beside a full task set, which they may be needed to empty. */
const REQUEST_SENSE_RESERVE = 8;

/** NACA of the CONTROL byte: auto contingent allegiance, which needs NormACA (SAM-5, section 5.2). */
const CONTROL_NACA = 0x04;

const INFORMATION_VALID = 0x01;
const FIELD_VALID = 0x02;
const FIELD_IN_CDB = 0x04;
const FIELD_BIT_VALID = 0x08;

const TaskSetState = defineState("scsi-task-set", 1, {
  senseKept: "bool",
  senseKey: "u8",
  asc: "u8",
  ascq: "u8",
  /** INFORMATION_VALID and so on. */
  senseFlags: "u8",
  information: "f64",
  fieldByte: "u16",
  fieldBit: "u8",
  /** A bit for each {@linkcode UnitAttention}. */
  attention: "u32",
});

/** What a task set is made of. */
export interface TaskSetOptions {
  /** Executes a command that the task set does not itself: all but REQUEST SENSE and REPORT LUNS. */
  readonly execute: (task: Task) => Command;
  /** What REQUEST SENSE says when there is nothing to report. @default {NO SENSE} */
  readonly idleSense?: Sense;
  /** How many tasks may be in progress; others end with TASK SET FULL. @default {64} */
  readonly depth?: number;
}

/** The tasks of one logical unit. */
export class TaskSet implements TaskOwner {
  readonly #execute: TaskSetOptions["execute"];
  readonly #idleSense: Sense;
  readonly #depth: number;
  readonly #state = TaskSetState.allocate();
  /**
   * Every task whose end the initiator does not know, and every cancelled one that still waits for a block request; with the logical units
   * for REPORT LUNS, until it begins.
   */
  readonly #tasks = new Map<Task, readonly number[]>();
  readonly #order = new TaskOrder();
  /** Failed tasks that wait for their turn to report, in order of failure. */
  #held: { readonly task: Task; readonly sense: Sense }[] = [];

  constructor({ execute, idleSense = SenseCode.NO_SENSE, depth = 64 }: TaskSetOptions) {
    this.#execute = execute;
    this.#idleSense = idleSense;
    this.#depth = depth;
  }

  /** How many tasks are in progress, cancelled ones that wait for the block device included. */
  get size(): number {
    return this.#tasks.size;
  }

  /**
   * Starts a command.
   *
   * @param luns The logical units of the target, in ascending order: what REPORT LUNS says.
   */
  start(
    initiator: ScsiInitiator,
    cdb: Uint8Array,
    tag: unknown,
    luns: readonly number[],
    attribute?: TaskAttributeCode,
  ): ScsiRequest {
    const task = new Task(this, initiator, cdb, tag, attribute);
    const operation = task.cdb[0];
    const requestSense = operation === OperationCode.REQUEST_SENSE;
    if (this.#tasks.size >= this.#depth + (requestSense ? REQUEST_SENSE_RESERVE : 0)) {
      initiator.complete(task, ScsiStatus.TASK_SET_FULL);
      return task;
    }
    this.#tasks.set(task, luns);
    if (!requestSense) this.#state.senseKept = false;
    if (this.#order.admit(task, IMMEDIATE.includes(operation))) task.run(this.#command(task, luns));
    else this.#goOn(); // it may be waiting for a failed task that can report now
    return task;
  }

  #command(task: Task, luns: readonly number[]): Command {
    const operation = task.cdb[0];
    const attention = EXEMPT.includes(operation) ? undefined : this.#takeAttention();
    if (attention !== undefined) return attention;
    const length = cdbLength(operation);
    if (length === undefined) return SenseCode.INVALID_COMMAND_OPERATION_CODE;
    if (task.cdbLength < length) return invalidCdbField(task.cdbLength);
    if ((task.cdb[length - 1] & CONTROL_NACA) !== 0) return invalidCdbField(length - 1, 2);
    if (operation === OperationCode.REQUEST_SENSE) return this.#requestSense(task);
    if (operation === OperationCode.REPORT_LUNS) return this.#reportLuns(task, luns);
    return this.#execute(task);
  }

  /** REQUEST SENSE (SPC-4, section 6.39). */
  #requestSense(task: Task): Steps<Outcome> {
    const sense = this.#keptSense() ?? this.#takeAttention() ?? this.#idleSense;
    this.#state.senseKept = false;
    const format = (task.cdb[1] & 0x01) !== 0 ? "descriptor" : "fixed";
    return task.reply(encodeSense(sense, format), task.cdb[4]);
  }

  /** REPORT LUNS (SPC-4, section 6.33). */
  #reportLuns(task: Task, luns: readonly number[]): Steps<Outcome> | Outcome {
    const select = task.cdb[2];
    if (select > 2) return invalidCdbField(2);
    this.#state.attention &= ~(1 << UnitAttention.REPORTED_LUNS_CHANGED);
    const listed = select === 1 ? [] : luns; // 1 asks for well known logical units only
    const data = new DataView(new ArrayBuffer(8 + 8 * listed.length));
    data.setUint32(0, 8 * listed.length);
    listed.forEach((lun, i) => data.setUint8(8 + 8 * i + 1, lun)); // peripheral device addressing, bus 0
    return task.reply(new Uint8Array(data.buffer), u32be(task.cdb, 6));
  }

  /** The initiator has to be told of `condition`. A reset that it does not know of yet says all the rest too. */
  attention(condition: UnitAttentionCode): void {
    const reset = 1 << UnitAttention.RESET;
    if (condition === UnitAttention.RESET) this.#state.attention = reset;
    else if ((this.#state.attention & reset) === 0) this.#state.attention |= 1 << condition;
  }

  #takeAttention(): Sense | undefined {
    const pending = this.#state.attention;
    const condition = ATTENTION_SENSE.findIndex((_, bit) => (pending & (1 << bit)) !== 0);
    if (condition < 0) return undefined;
    this.#state.attention = pending & ~(1 << condition);
    return ATTENTION_SENSE[condition];
  }

  #keep(sense: Sense): void {
    const { information, field } = sense;
    Object.assign(this.#state, { senseKept: true, senseKey: sense.key, asc: sense.asc, ascq: sense.ascq });
    this.#state.information = information ?? 0;
    this.#state.fieldByte = field?.byte ?? 0;
    this.#state.fieldBit = field?.bit ?? 0;
    this.#state.senseFlags = (information === undefined ? 0 : INFORMATION_VALID) |
      (field === undefined ? 0 : FIELD_VALID) | (field?.where === "cdb" ? FIELD_IN_CDB : 0) |
      (field?.bit === undefined ? 0 : FIELD_BIT_VALID);
  }

  #keptSense(): Sense | undefined {
    const { senseKept, senseKey: key, asc, ascq, senseFlags: flags, information, fieldByte, fieldBit } = this.#state;
    if (!senseKept) return undefined;
    const field: FieldPointer | undefined = (flags & FIELD_VALID) === 0 ? undefined : {
      where: (flags & FIELD_IN_CDB) !== 0 ? "cdb" : "data",
      byte: fieldByte,
      bit: (flags & FIELD_BIT_VALID) !== 0 ? fieldBit & 7 : undefined,
    };
    const valid = (flags & INFORMATION_VALID) !== 0 && Number.isSafeInteger(information) && information >= 0;
    return { key, asc, ascq, field, information: valid ? information : undefined };
  }

  ended(task: Task, outcome: Outcome): void {
    if (outcome !== undefined && this.#state.senseKept) {
      this.#held.push({ task, sense: outcome });
      return;
    }
    this.#report(task, outcome);
    this.#goOn();
  }

  draining(): void {
    this.#order.drains();
  }

  dropped(task: Task, drained: boolean): void {
    if (!this.#tasks.has(task)) return; // the initiator knows its end already
    if (this.#held.length > 0) this.#held = this.#held.filter((held) => held.task !== task);
    this.#remove(task, drained);
    this.#goOn();
  }

  #report(task: Task, outcome: Outcome): void {
    this.#remove(task, false);
    if (outcome !== undefined) this.#keep(outcome);
    task.initiator.complete(task, outcome === undefined ? ScsiStatus.GOOD : ScsiStatus.CHECK_CONDITION);
  }

  #remove(task: Task, drained: boolean): void {
    this.#tasks.delete(task);
    this.#order.remove(task, IMMEDIATE.includes(task.cdb[0]), drained);
  }

  /** Lets failed tasks report and waiting ones begin, as far as they may. */
  #goOn(): void {
    while (!this.#state.senseKept) {
      const failed = this.#held.shift();
      if (failed === undefined) break;
      this.#report(failed.task, failed.sense);
    }
    for (let task = this.#order.next(); task !== undefined; task = this.#order.next()) {
      task.run(this.#command(task, this.#tasks.get(task) ?? []));
    }
  }

  /** Drops every task and all sense data. */
  abort(): void {
    this.#held = [];
    this.#state.senseKept = false;
    // Those that have not begun go first: the end of others would let them begin.
    for (const task of this.#order.waitingTasks()) task.cancel();
    for (const task of [...this.#tasks.keys()]) task.cancel();
  }

  /** Sense data and unit attentions. Tasks in progress are not saved: the owner lets them end, or cancels them, before. */
  save(): SavedState {
    return this.#state.save();
  }

  /** @throws {TypeError} when `saved` is not what {@linkcode save} returned. */
  restore(saved: SavedState): void {
    this.#state.restore(saved);
  }
}
