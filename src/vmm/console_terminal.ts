/**
 * The terminal of a machine whose console is standard input.
 *
 * Until the control thread listens for signals, a signal ends the process at once, and nobody could put the terminal back. So the control
 * thread is who changes its mode, and the main thread who restores it; each may come first.
 *
 * @module
 */
import { keyByKey, setTerminalMode, type TerminalMode, terminalMode } from "../ffi/terminal.ts";
import type { SharedLock } from "./shared_lock.ts";

const STDIN = 0;

/** Whether the terminal may still be changed; shared by the threads, one word, zero at first. */
const Phase = { OPEN: 0, RESTORED: 1 } as const;

/** Standard input's mode, as one thread drives it. Does nothing where standard input is no terminal. */
export class ConsoleTerminal {
  readonly #phase: Int32Array;
  readonly #lock: SharedLock;
  /** The mode when the machine was made; on the main thread, that of the user's shell. */
  readonly #before: TerminalMode | undefined;

  constructor(phase: Int32Array, lock: SharedLock) {
    this.#phase = phase;
    this.#lock = lock;
    this.#before = terminalMode(STDIN);
  }

  /** Gives the guest each key as it is typed. */
  open(): void {
    this.#lock.with(() => {
      const mode = this.#phase[0] === Phase.OPEN ? terminalMode(STDIN) : undefined;
      if (mode !== undefined) setTerminalMode(STDIN, keyByKey(mode));
    });
  }

  /** Puts the terminal back, for good. */
  restore(): void {
    this.#lock.with(() => {
      this.#phase[0] = Phase.RESTORED;
      if (this.#before !== undefined) setTerminalMode(STDIN, this.#before);
    });
  }
}
