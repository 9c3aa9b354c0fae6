/**
 * Where a UNIX stream socket is, and who waits for whom, as the command line describes it, with everything checked.
 *
 * @module
 */

/** A socket on which clients are met. */
export type SocketTransport =
  /** Listens at a path, for one client after the other. */
  | { readonly kind: "listen"; readonly path: string; readonly wait: boolean }
  /** Listens on a socket that this process inherited. */
  | { readonly kind: "listen-fd"; readonly fd: number; readonly wait: boolean }
  /** Connects to somebody who listens at a path. */
  | { readonly kind: "connect"; readonly path: string }
  /** A connected socket that this process inherited. */
  | { readonly kind: "fd"; readonly fd: number };
