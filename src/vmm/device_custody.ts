/**
 * Who looks after device processes: the control thread, which puts new ones in the place of lost ones while the machine lives, or the first
 * thread, which ends them all.
 *
 * @module
 */
import { Ready } from "../ffi/event.ts";
import type { ChildProcess } from "../ffi/process.ts";
import type { Watcher } from "../qmp/connection.ts";
import { SharedLock } from "./shared_lock.ts";

const Word = { LOCK: 0, ENDED: 1 } as const;

/** Bytes of shared memory for a {@linkcode DeviceCustody}. */
export const DEVICE_CUSTODY_SIZE = 8;

/** See the module. One thread's view. */
export class DeviceCustody {
  readonly #words: Int32Array;
  readonly #lock: SharedLock;

  /** @param memory {@linkcode DEVICE_CUSTODY_SIZE} bytes, zero at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#lock = new SharedLock(this.#words.subarray(Word.LOCK, Word.LOCK + 1));
  }

  /** Whether the first thread has taken over. */
  get hasEnded(): boolean {
    return Atomics.load(this.#words, Word.ENDED) !== 0;
  }

  /** For the control thread: changes which processes there are, unless they are being ended. The change waits for nothing. */
  change(action: () => void): void {
    this.#lock.with(() => {
      if (!this.hasEnded) action();
    });
  }

  /** For the control thread: takes the end of a process that nothing follows, when it comes, so that it does not stay a zombie. */
  reapAtItsEnd(child: ChildProcess, watcher: Watcher): void {
    this.change(() => {
      const watch = watcher.watch(child.pidfd, Ready.IN, () => {
        watch.cancel();
        this.change(() => void child.poll());
      });
    });
  }

  /** For the first thread: they are its own from now on. */
  end(): void {
    this.#lock.with(() => void Atomics.store(this.#words, Word.ENDED, 1));
  }
}
