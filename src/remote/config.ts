/**
 * What a device process is asked to be (`-machine remote`). Made by the command line; everything in it is checked.
 *
 * @module
 */
import type { MonitorConfig } from "../options/monitor.ts";
import type { ControllerConfig } from "../options/storage.ts";

export type { CacheMode, ControllerConfig, DriveConfig, ScsiDiskConfig } from "../options/storage.ts";

/** `-object remote-object`: a device and the socket over which its proxy speaks to it. */
export interface RemoteObjectConfig {
  readonly id: string;
  /** An open, connected UNIX stream socket that this process inherited; 3 or above, and no other object's. */
  readonly fd: number;
  /** The device that `devid=` names; no other object has the same. */
  readonly device: ControllerConfig;
  /** Whether accesses may come through shared memory. */
  readonly accelerated: boolean;
}

/** A device process. */
export interface RemoteConfig {
  /** `-name`, for messages. */
  readonly name: string | undefined;
  /** `-run-with exit-with-parent=on`: the process is ended when the thread that spawned it ends. */
  readonly exitWithParent: boolean;
  /** `-run-with ready-fd=`: where a line feed says that all is open, on a descriptor that this process inherited. */
  readonly ready: number | undefined;
  /** `-run-with start-error=`: where it says why it cannot start. `qmp` is for clients that are connected from the beginning. */
  readonly startError: "stderr" | "qmp";
  /** `-sandbox on`: the process keeps but the system calls that serving takes. */
  readonly sandbox: boolean;
  /** `-add-fd`: image files that are open already, on descriptors that this process inherited. */
  readonly files: readonly { readonly path: string; readonly fd: number }[];
  /** At least one, in command-line order. */
  readonly objects: readonly RemoteObjectConfig[];
  /** QMP servers. */
  readonly monitors: readonly MonitorConfig[];
}
