/**
 * Finds out about device processes that end or hang while no vCPU waits for them.
 *
 * A vCPU notices by itself when an answer does not come. One that only posts stores, or computes, or sleeps until the device interrupts it,
 * does not.
 *
 * @module
 */
import { monotonicNow } from "../ffi/clock.ts";
import { Ready } from "../ffi/event.ts";
import { LinkError } from "../link/link_error.ts";
import { StallWatch } from "../link/ring/stall_watch.ts";
import { attachRing, type RingHandle } from "../proxy/ring_setup.ts";
import type { PciProxy, ProxyHandle } from "../proxy/pci_proxy.ts";
import type { Watcher } from "../qmp/connection.ts";

/** How often posted stores are looked at, in milliseconds. */
const INTERVAL = 1000;

/** Watches one proxy, on the thread that has the event loop. */
export function watchProxy(proxy: PciProxy, handle: ProxyHandle, watcher: Watcher): void {
  const watch = watcher.watch(handle.fd, Ready.RDHUP, () => {
    watch.cancel();
    proxy.lose(new LinkError("the peer closed the link", "closed"));
  });
  if (handle.ring !== undefined) watchStores(proxy, handle.ring, handle.timeout);
}

function watchStores(proxy: PciProxy, ring: RingHandle, timeout: number): void {
  const stalls = new StallWatch(attachRing(ring), ring.geometry, timeout * 1e6);
  const timer = setInterval(() => {
    const error = stalls.check(monotonicNow());
    if (error !== undefined) proxy.lose(error);
    if (proxy.failed) clearInterval(timer);
  }, INTERVAL);
}
