/**
 * What a device process of these tests has and is told.
 *
 * @module
 */
import type { RingGeometry } from "../../../src/link/ring/layout.ts";
import type { SpinOptions } from "../../../src/link/ring/waiting.ts";
import type { Delay } from "./delays.ts";

/** What the device process is told. */
export interface DeviceArguments {
  readonly geometry: RingGeometry;
  readonly barSize: number;
  readonly spin: Pick<SpinOptions, "longest">;
  readonly delay: Delay;
  readonly seed: number;
}

/** Descriptors of the device process. */
export const DEVICE_RING = 3;
export const DEVICE_DOORBELL = 4;
export const DEVICE_LINK = 5;
