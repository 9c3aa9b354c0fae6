/**
 * The terminal of a machine that somebody can type at on standard input.
 *
 * Until the control thread listens for signals, a signal ends the process at once, and nobody could put the terminal back. So the control
 * thread is who changes its mode, and the main thread who restores it; each may come first. For ends of which no thread hears, there is
 * a guard.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { stopSelf } from "../../ffi/process.ts";
import { isInForeground, keyByKey, setTerminalMode, type TerminalMode, terminalMode } from "../../ffi/terminal.ts";
import { TerminalGuard } from "../../ffi/terminal_guard.ts";
import type { SharedLock } from "../shared_lock.ts";

const STDIN = 0;

/** Whether the terminal may still be changed; shared by the threads, one word, zero at first. */
const Phase = { OPEN: 0, RESTORED: 1 } as const;

/** Standard input's mode, as one thread drives it. Does nothing where standard input is no terminal. */
export class ConsoleTerminal {
  readonly #phase: Int32Array;
  readonly #lock: SharedLock;
  /** The mode when the machine was made: that of the user's shell. */
  readonly #before: TerminalMode | undefined;
  readonly #ours: TerminalMode | undefined;
  #guard: TerminalGuard | undefined;

  /** @param signals Whether keys such as Ctrl-C are signals. */
  constructor(phase: Int32Array, lock: SharedLock, signals: boolean) {
    this.#phase = phase;
    this.#lock = lock;
    this.#before = terminalMode(STDIN);
    this.#ours = this.#before && keyByKey(this.#before, signals);
  }

  /** For the main thread, before any other: has the terminal restored even if this process is killed. */
  guard(): void {
    if (this.#before === undefined || this.#ours === undefined) return;
    try {
      this.#guard = new TerminalGuard(STDIN, this.#ours, this.#before);
    } catch (error) {
      // A host that forbids programs in memory. Every other end is taken care of.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  /** {@linkcode open}, for the first time. In the background, stops this process until it is continued, as reading would. */
  begin(): void {
    if (this.#before !== undefined && !isInForeground(STDIN)) stopSelf();
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
