/**
 * QMP servers as the command line describes them (`-qmp`, and `-mon` with its `-chardev`), with everything checked.
 *
 * @module
 */

/** Where a server meets its clients. */
export type MonitorTransport =
  /** Listens at a path, for one client after the other. */
  | { readonly kind: "listen"; readonly path: string; readonly wait: boolean }
  /** Listens on a socket that this process inherited. */
  | { readonly kind: "listen-fd"; readonly fd: number; readonly wait: boolean }
  /** Connects to somebody who listens at a path. */
  | { readonly kind: "connect"; readonly path: string }
  /** A connected socket that this process inherited. */
  | { readonly kind: "fd"; readonly fd: number }
  /** Standard input and output. */
  | { readonly kind: "stdio" };

/** A QMP server. */
export interface MonitorConfig {
  /** The character device's id; one made up for `-qmp`. */
  readonly id: string;
  readonly transport: MonitorTransport;
  /** Whether answers are spread over several lines. */
  readonly pretty: boolean;
}
