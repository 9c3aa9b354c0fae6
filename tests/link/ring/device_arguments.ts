/**
 * What a device process of these tests is told.
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
