/**
 * The terminal of a machine that somebody can type at on standard input.
 *
 * The main thread changes its mode before the guest runs, and restores it at the end. Until the control thread listens for signals, one ends
 * the process at once; for that, and for other ends of which no thread hears, there is a guard. Where the host allows none, the
 * mode is changed only by the control thread, when it listens.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { stopInBackground } from "../../ffi/process.ts";
import {
  isInForeground,
  keyByKey,
  setTerminalMode,
  type TerminalMode,
  terminalMode,
  TERMIOS_SIZE,
} from "../../ffi/terminal.ts";
import { TerminalGuard } from "../../ffi/terminal_guard.ts";
import type { SharedLock } from "../shared_lock.ts";

const STDIN = 0;

/** Whether the terminal may still be changed. */
const Phase = { OPEN: 0, RESTORED: 1 } as const;

/** What the threads share, zero at first: the phase, whether the mode before is known, and that mode. Offsets in bytes. */
const Offset = { PHASE: 0, KNOWN: 4, BEFORE: 8 } as const;

/** Bytes of shared memory for a {@linkcode ConsoleTerminal}. */
export const CONSOLE_TERMINAL_SIZE = Offset.BEFORE + TERMIOS_SIZE;

/** Standard input's mode, as one thread drives it. Does nothing where standard input is no terminal. */
export class ConsoleTerminal {
  readonly #phase: Int32Array;
  readonly #lock: SharedLock;
  /** The mode when the machine was made, by its first thread: that of the user's shell. */
  readonly #before: TerminalMode | undefined;
  readonly #ours: TerminalMode | undefined;
  #guard: TerminalGuard | undefined;

  /**
   * The first thread's is made before there are others.
   *
   * @param shared {@linkcode CONSOLE_TERMINAL_SIZE} bytes.
   * @param signals Whether keys such as Ctrl-C are signals.
   */
  constructor(shared: SharedArrayBuffer, lock: SharedLock, signals: boolean) {
    this.#phase = new Int32Array(shared, Offset.PHASE, 1);
    this.#lock = lock;
    this.#before = modeBefore(shared);
    this.#ours = this.#before && keyByKey(this.#before, signals);
  }

  /** For the main thread, before any other: {@linkcode open}, with a guard that restores the terminal even if this process is killed. */
  take(): void {
    if (this.#before === undefined || this.#ours === undefined) return;
    try {
      this.#guard = new TerminalGuard(STDIN, this.#ours, this.#before);
    } catch (error) {
      // A host that forbids programs in memory. Every other end is taken care of.
      if (!(error instanceof SyscallError)) throw error;
      return;
    }
    // A process that is stopped has not ended. Before the control thread listens, it would be stopped as it is.
    Deno.addSignalListener("SIGTSTP", () => {});
    this.open();
  }

  /** For the control thread, once it listens for signals: {@linkcode open}. In the background, stops this process, as reading would. */
  begin(): void {
    if (this.#before !== undefined && !isInForeground(STDIN)) stopInBackground();
    this.open();
  }

  /** Gives the guest each key as it is typed, if this process is in the foreground. */
  open(): void {
    this.#lock.with(() => {
      if (this.#phase[0] === Phase.OPEN) this.#set(this.#ours);
    });
  }

  /** Puts the terminal back until {@linkcode open}. */
  suspend(): void {
    this.#lock.with(() => this.#set(this.#before));
  }

  /** Puts the terminal back, for good. */
  restore(): void {
    this.#lock.with(() => {
      this.#phase[0] = Phase.RESTORED;
      this.#set(this.#before);
    });
    this.#guard = void this.#guard?.dismiss();
  }

  /** Another job's terminal is left alone, and one that has gone needs nothing. */
  #set(mode: TerminalMode | undefined): void {
    if (mode === undefined || !isInForeground(STDIN)) return;
    try {
      setTerminalMode(STDIN, mode);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}

function modeBefore(shared: SharedArrayBuffer): TerminalMode | undefined {
  const known = new Int32Array(shared, Offset.KNOWN, 1);
  const bytes = new Uint8Array(shared, Offset.BEFORE, TERMIOS_SIZE);
  if (known[0] !== 0) return new DataView(new Uint8Array(bytes).buffer);
  const mode = terminalMode(STDIN);
  if (mode === undefined) return undefined;
  bytes.set(new Uint8Array(mode.buffer));
  known[0] = 1;
  return mode;
}
