/**
 * What a target is made of.
 *
 * @module
 */
import type { SavedState } from "../../device/state.ts";
import type { ScsiInitiator, ScsiRequest, TaskAttributeCode } from "./scsi.ts";
import type { UnitAttentionCode } from "./task_set.ts";

/** A logical unit: what answers behind one LUN of a target. */
export interface LogicalUnit {
  /**
   * Starts a command; see `ScsiTarget.start`.
   *
   * @param luns The logical units of the target, in ascending order: what REPORT LUNS says.
   */
  start(
    initiator: ScsiInitiator,
    cdb: Uint8Array,
    tag: unknown,
    luns: readonly number[],
    attribute?: TaskAttributeCode,
  ): ScsiRequest;
  /** Power-on state; a unit attention is pending. */
  reset(): void;
  /** The initiator has to be told of `condition`. */
  attention(condition: UnitAttentionCode): void;
  /** How many commands are in progress, cancelled ones that wait for the block device included. */
  readonly tasks: number;
  /** Everything that the guest can observe. Commands in progress are not part of it. */
  save(): SavedState[];
  /** Takes over what {@linkcode save} returned. @throws {TypeError} when it does not fit this unit. */
  restore(saved: readonly SavedState[]): void;
}
