/**
 * Writing to whoever may not read: a descriptor that this process was given, and that may be blocking, full, closed, or a file on a full disk.
 *
 * @module
 */
import { SyscallError } from "./errno.ts";
import { pollFd, Ready } from "./event.ts";
import { writeFd } from "./file.ts";

/** How to write. */
export interface PatientWriterOptions {
  readonly fd: number;
  /**
   * Most bytes of one write(2), which goes to a descriptor that is ready. A blocking one takes as much without waiting: a pipe 4096 (pipe(7),
   * PIPE_BUF), a terminal a few hundred.
   */
  readonly piece: number;
  /** The longest wait for a reader, in milliseconds. */
  readonly patience: number;
}

/**
 * Drops what nobody takes: no error of the descriptor leaves it, and no wait is without end. After a wait in vain there is none until
 * somebody reads again, and then a shorter one, so that readers who come, do not read, and go hold up nobody for long.
 */
export class PatientWriter {
  readonly #fd: number;
  readonly #piece: number;
  readonly #longest: number;
  #patience: number;
  /** Whether the last wait was not in vain. */
  #read = true;

  constructor({ fd, piece, patience }: PatientWriterOptions) {
    this.#fd = fd;
    this.#piece = piece;
    this.#longest = this.#patience = patience;
  }

  /** Writes all of `bytes`, or what is taken of them. */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    try {
      for (let at = 0; at < bytes.length;) {
        // A look before each write, because the descriptor may be a blocking one that others share, and stays as they want it.
        if (!this.#isReady()) return;
        // A console writes byte by byte: a view for each would be garbage.
        const written = writeFd(this.#fd, bytes.length === 1 ? bytes : bytes.subarray(at, at + this.#piece));
        if (written < 0) return;
        at += written;
      }
    } catch (error) {
      // Whoever was there has gone. There may be another.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  /**
   * Whether somebody takes a piece now: neither the void behind a hang-up or a broken pipe, nor a pseudo-terminal that is hung up, which would
   * keep it for whoever opens it.
   */
  #isReady(): boolean {
    let ready = pollFd(this.#fd, Ready.OUT, 0);
    if (ready === 0 && this.#read) {
      ready = pollFd(this.#fd, Ready.OUT, this.#patience);
      this.#patience = ready === 0 ? this.#patience / 2 : this.#longest;
    }
    this.#read = ready !== 0;
    return ready !== 0 && (ready & (Ready.HUP | Ready.ERR)) === 0;
  }
}
