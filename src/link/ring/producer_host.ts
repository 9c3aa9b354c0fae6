/**
 * What a producer needs of the kernel.
 *
 * @module
 */
import { monotonicNow } from "../../ffi/clock.ts";
import { ringDoorbell } from "../../ffi/doorbell.ts";
import { isReady, Ready } from "../../ffi/event.ts";
import { waitOnFutex } from "../../ffi/futex.ts";

/** Ways to wake the consumer, to sleep, and to tell the time. */
export interface ProducerHost {
  /** Wakes the consumer. */
  ring(): void;
  /**
   * Sleeps, for at most `timeout` nanoseconds, while the word at `address` holds `expected` and nobody wakes its sleepers.
   */
  sleep(address: bigint, expected: number, timeout: number): void;
  /** Whether the consumer's process is there. */
  isPeerThere(): boolean;
  /** Nanoseconds; never goes back. */
  now(): number;
}

/**
 * @param doorbell The ringing end of the consumer's doorbell.
 * @param link A socket whose other end the consumer's process has, and no other.
 */
export function producerHost(doorbell: number, link: number): ProducerHost {
  return {
    ring: () => ringDoorbell(doorbell),
    sleep: waitOnFutex,
    isPeerThere: () => !isReady(link, Ready.RDHUP | Ready.HUP),
    now: monotonicNow,
  };
}
