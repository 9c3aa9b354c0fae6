/**
 * Agreeing with a device process upon a ring, and using it from each thread.
 *
 * @module
 */
import { type BarDescription, PciConfig } from "../device/config_space.ts";
import { createDoorbell } from "../ffi/doorbell.ts";
import { closeFd } from "../ffi/file.ts";
import { bytesAt } from "../ffi/memory.ts";
import { closeAll } from "../ffi/socket.ts";
import type { Channel } from "../link/channel.ts";
import { Command } from "../link/message.ts";
import { markClosed, type RingGeometry, type RingMemory, ringSize, Space } from "../link/ring/layout.ts";
import { createRingMemory, mapShadow, ringMemory, type SharedMemory } from "../link/ring/memory.ts";
import { RingProducer } from "../link/ring/producer.ts";
import { producerHost } from "../link/ring/producer_host.ts";
import { checkShadowLayout, type ShadowLayout, ShadowReader } from "../link/ring/shadow.ts";

/** How many requests of a vCPU may be under way; one that posts more waits until half of them are done. */
const SLOTS = 64;

/** A ring, as plain data for all threads. Its memory lives until the process ends, since any of them may have it in use. */
export interface RingHandle {
  readonly geometry: RingGeometry;
  readonly address: bigint;
  /** The ringing end; this process's own. */
  readonly doorbell: number;
  /** Where the shadow is mapped, and what it holds. */
  readonly shadow: ShadowLayout & { readonly address: bigint };
}

/**
 * Hands a ring over to a device process that has offered to serve one.
 *
 * @param lanes How many threads will have one.
 * @param timeout Milliseconds for its answer.
 * @throws {LinkError} when the answer is not what it should be.
 */
export function setUpRing(
  channel: Channel,
  { lanes, bars, timeout }: { lanes: number; bars: readonly BarDescription[]; timeout: number },
): RingHandle {
  const geometry = { lanes, slots: SLOTS };
  const ring = createRingMemory(geometry);
  let doorbell: number | undefined;
  try {
    const [ringer, listener] = createDoorbell();
    doorbell = ringer;
    const shadow = exchange(channel, ring, { geometry, listener, timeout }, spaceSizes(bars));
    return { geometry, address: ring.mapping.address, doorbell, shadow };
  } catch (error) {
    if (doorbell !== undefined) closeFd(doorbell);
    ring.mapping.unmap();
    throw error;
  } finally {
    closeFd(ring.fd);
  }
}

function exchange(
  channel: Channel,
  ring: SharedMemory,
  { geometry, listener, timeout }: { geometry: RingGeometry; listener: number; timeout: number },
  spaces: readonly number[],
): RingHandle["shadow"] {
  try {
    channel.outgoing.setRingSetup(geometry);
    channel.call(channel.outgoing, timeout, [ring.fd, listener], Command.RING_READY);
  } finally {
    closeFd(listener);
  }
  const layout = channel.incoming.shadowLayout;
  const [fd] = channel.takeDescriptors();
  try {
    checkShadowLayout(layout, spaces);
    return { ...layout, address: mapShadow(fd, layout.size).address };
  } finally {
    closeAll([fd]);
  }
}

/** By {@linkcode Space}. */
function spaceSizes(bars: readonly BarDescription[]): number[] {
  const sizes = new Array(Space.COUNT).fill(0);
  for (const { index, size } of bars) sizes[Space.BAR0 + index] = size;
  sizes[Space.CONFIG] = PciConfig.SIZE;
  return sizes;
}

/** Has the device process do nothing more of what has been asked for, if it still lives and obeys. */
export function giveUpRing(handle: RingHandle): void {
  markClosed(attachRing(handle).words);
}

/** The ring as words, for a thread of this process. */
export function attachRing({ geometry, address }: RingHandle): RingMemory {
  return ringMemory({ bytes: bytesAt(address, ringSize(geometry)), address });
}

/**
 * One thread's lane. No other thread has it.
 *
 * @param options `link`: the socket, by whose end the device process is known to be gone. `timeout`: how long the device may take for one
 * access, in milliseconds.
 */
export function openLane(
  handle: RingHandle,
  { lane, link, timeout }: { lane: number; link: number; timeout: number },
): RingProducer {
  const { geometry, doorbell, shadow } = handle;
  return new RingProducer({
    memory: attachRing(handle),
    geometry,
    lane,
    host: producerHost(doorbell, link),
    deadline: timeout * 1e6,
    shadow: new ShadowReader(bytesAt(shadow.address, shadow.size), shadow.ranges),
  });
}
