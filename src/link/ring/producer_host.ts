/**
 * What a producer needs of the kernel.
 *
 * @module
 */
import { monotonicNow } from "../../ffi/clock.ts";
import { isDoorbellConnected, ringDoorbell } from "../../ffi/doorbell.ts";
import { waitOnFutex } from "../../ffi/futex.ts";

/** Ways to wake the consumer, to sleep, and to tell the time. */
export interface ProducerHost {
  /** Wakes the consumer. @returns false when its process is gone. */
  ring(): boolean;
  /**
   * Sleeps, for at most `timeout` nanoseconds, while the word at `address` holds `expected` and nobody wakes its sleepers.
   */
  sleep(address: bigint, expected: number, timeout: number): void;
  /** Whether the consumer's process is there. */
  isPeerThere(): boolean;
  /** Nanoseconds; never goes back. */
  now(): number;
}

/** @param doorbell The ringing end of a doorbell whose other end the consumer's process has, and no other. */
export function producerHost(doorbell: number): ProducerHost {
  return {
    ring: () => ringDoorbell(doorbell),
    sleep: waitOnFutex,
    isPeerThere: () => isDoorbellConnected(doorbell),
    now: monotonicNow,
  };
}
