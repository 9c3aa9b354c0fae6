/**
 * QMP servers as the command line describes them (`-qmp`, and `-mon` with its `-chardev`), with everything checked.
 *
 * @module
 */

import type { SocketTransport } from "./socket_transport.ts";

/** Where a server meets its clients. */
export type MonitorTransport =
  | SocketTransport
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
