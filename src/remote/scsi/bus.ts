/**
 * A parallel SCSI bus: targets by id, and in each its logical units.
 *
 * @module
 */
import type { SavedState } from "../../device/state.ts";
import { OperationCode } from "./cdb.ts";
import { absentInquiry } from "./inquiry.ts";
import type { ScsiBus, ScsiInitiator, ScsiRequest, ScsiTarget, TaskAttributeCode } from "./scsi.ts";
import type { LogicalUnit } from "./logical_unit.ts";
import { SenseCode } from "./sense.ts";
import { TaskSet, UnitAttention } from "./task_set.ts";

export type { LogicalUnit } from "./logical_unit.ts";

/** One unit and where it is. */
export interface AttachedUnit {
  readonly id: number;
  readonly lun: number;
  readonly unit: LogicalUnit;
}

/** Ids on a 16-bit wide bus. */
const IDS = 16;

/** LUNs that an IDENTIFY message of SCSI-2 can name (SCSI-2, section 6.6.7). */
const LUNS = 8;

/** A target: passes commands to its units, and answers for those it does not have. */
class Target implements ScsiTarget {
  readonly units = new Map<number, LogicalUnit>();
  /** Ascending. */
  luns: readonly number[] = [];
  /** Stands for every LUN without a unit (SPC-4, sections 6.6.2, 6.33 and 6.39). */
  readonly #absent = new TaskSet({
    execute: (task) =>
      task.cdb[0] === OperationCode.INQUIRY ? absentInquiry(task) : SenseCode.LOGICAL_UNIT_NOT_SUPPORTED,
    idleSense: SenseCode.LOGICAL_UNIT_NOT_SUPPORTED,
  });

  add(lun: number, unit: LogicalUnit): void {
    for (const other of this.units.values()) other.attention(UnitAttention.REPORTED_LUNS_CHANGED);
    this.units.set(lun, unit);
    this.luns = [...this.units.keys()].sort((a, b) => a - b);
  }

  start(
    initiator: ScsiInitiator,
    lun: number,
    cdb: Uint8Array,
    tag: unknown,
    attribute?: TaskAttributeCode,
  ): ScsiRequest {
    return (this.units.get(lun) ?? this.#absent).start(initiator, cdb, tag, this.luns, attribute);
  }

  reset(): void {
    this.#absent.abort();
    for (const unit of this.units.values()) unit.reset();
  }
}

/** Where a unit's state is in a bus's: `scsi-disk@3:0`. */
function stateName(name: string, { id, lun }: AttachedUnit): string {
  return `${name}@${id}:${lun}`;
}

/** A bus that units are attached to. */
export class ParallelScsiBus implements ScsiBus {
  readonly #adapterId: number;
  readonly #targets = new Map<number, Target>();

  /** @param options.adapterId The host adapter's own id, where no target can be. @default {7} */
  constructor({ adapterId = 7 }: { readonly adapterId?: number } = {}) {
    this.#adapterId = adapterId;
  }

  /**
   * Attaches a unit.
   *
   * @param id Target id, 0 to 15 without the adapter's.
   * @param lun Logical unit number, 0 to 7.
   * @throws {RangeError} when the place does not exist or is taken.
   */
  attach(id: number, lun: number, unit: LogicalUnit): void {
    if (!Number.isInteger(id) || id < 0 || id >= IDS) throw new RangeError(`scsi-id is 0 to ${IDS - 1}, not ${id}`);
    if (id === this.#adapterId) throw new RangeError(`scsi-id ${id} is the host adapter's own`);
    if (!Number.isInteger(lun) || lun < 0 || lun >= LUNS) throw new RangeError(`lun is 0 to ${LUNS - 1}, not ${lun}`);
    let target = this.#targets.get(id);
    if (target?.units.has(lun)) throw new RangeError(`scsi-id ${id} lun ${lun} is taken`);
    if (target === undefined) this.#targets.set(id, target = new Target());
    target.add(lun, unit);
  }

  target(id: number): ScsiTarget | undefined {
    return this.#targets.get(id);
  }

  /** Every unit, by ascending id and LUN. */
  units(): AttachedUnit[] {
    const units: AttachedUnit[] = [];
    for (const [id, target] of this.#targets) {
      for (const [lun, unit] of target.units) units.push({ id, lun, unit });
    }
    return units.sort((a, b) => a.id - b.id || a.lun - b.lun);
  }

  /** Resets every target. */
  reset(): void {
    for (const target of this.#targets.values()) target.reset();
  }

  /** The state of every unit, each record under its own name and the unit's place. */
  save(): SavedState[] {
    return this.units().flatMap((place) =>
      place.unit.save().map((record) => ({ ...record, name: stateName(record.name, place) }))
    );
  }

  /**
   * Takes over what {@linkcode save} returned.
   *
   * @throws {TypeError} when a unit's state is missing, or there is some for a unit that is not there.
   */
  restore(saved: readonly SavedState[]): void {
    const byName = new Map(saved.map((record) => [record.name, record]));
    for (const place of this.units()) {
      const records = place.unit.save().map(({ name }) => {
        const record = byName.get(stateName(name, place));
        if (record === undefined) throw new TypeError(`Saved state lacks ${stateName(name, place)}`);
        byName.delete(record.name);
        return { ...record, name };
      });
      place.unit.restore(records);
    }
    for (const name of byName.keys()) throw new TypeError(`Saved state has ${name}, which is not on the bus`);
  }
}
