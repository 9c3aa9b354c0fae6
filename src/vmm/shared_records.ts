/**
 * The state records of a machine's platform devices, by name.
 *
 * @module
 */
import type { StateFields, StateLayout, StateRecord, StateValues } from "../device/state.ts";

/** Record name → memory: plain data that can be posted to a thread. */
export type SharedBuffers = Record<string, SharedArrayBuffer>;

/** Gives each device its record, the same on every thread. */
export class SharedRecords {
  /** @param buffers Empty on the thread that makes the machine, which fills it; complete on every other. */
  constructor(readonly buffers: SharedBuffers = {}) {}

  /** The record of a layout. @param instance Tells several devices of one kind apart. */
  record<F extends StateFields>(layout: StateLayout<F>, instance = ""): StateValues<F> & StateRecord {
    return layout.attach(this.memory(layout.name + instance, layout.size));
  }

  /** Other shared memory, zero at first. */
  memory(name: string, size: number): SharedArrayBuffer {
    return this.buffers[name] ??= new SharedArrayBuffer(size);
  }
}
