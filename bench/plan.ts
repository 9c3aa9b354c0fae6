/**
 * The rows of the table and who competes in them.
 *
 * @module
 */
import { EXECUTABLE, SOURCE } from "../tests/support/machines.ts";
import type { Format } from "./images.ts";
import type { Placement } from "./placement.ts";
import type { Subject } from "./session.ts";
import { DISK_WORKLOADS, type Workload } from "./workloads.ts";

/** QEMU's `cache=`. */
export type Cache = "writeback" | "none";

/** What people call it. */
const CACHE_NAMES = { writeback: "page cache", none: "O_DIRECT" } as const satisfies Record<Cache, string>;

/** A line of the table: one workload on one kind of image. */
export interface Row {
  readonly workload: Workload;
  readonly format: Format;
  readonly cache: Cache;
  readonly placement: Placement;
}

/** All rows, in the order in which they are measured and shown. */
export function allRows(placements: readonly Placement[]): Row[] {
  const disk = (["raw", "qcow2"] as const).flatMap((format) =>
    (["writeback", "none"] as const).flatMap((cache) => DISK_WORKLOADS.map((workload) => ({ workload, format, cache })))
  );
  return disk.flatMap((row) => placements.map((placement) => ({ ...row, placement })));
}

/** What a row is about, for people and for `--filter`: workload, image, cache, how many CPUs. */
export function rowLabels({ workload, format, cache, placement }: Row): [string, string, string, string] {
  return [workload.name, format, CACHE_NAMES[cache], placement.name];
}

/** How QEMU can do its I/O: its default first. `native` needs O_DIRECT. */
const QEMU_AIO = { writeback: ["threads", "io_uring"], none: ["threads", "native", "io_uring"] } as const;

/** Who competes in a row. QEMU takes part once for each way of doing its I/O, and its best counts. */
export function subjectsOf({ cache }: Row, fromSource: boolean): Subject[] {
  const build = fromSource ? SOURCE : EXECUTABLE;
  return [
    { name: `splitvm ${build.name}`, program: "splitvm", half: build, drive: "" },
    ...QEMU_AIO[cache].map((aio) =>
      ({ name: `QEMU aio=${aio}`, program: "QEMU", half: "qemu", drive: `,aio=${aio}` }) as const
    ),
  ];
}
