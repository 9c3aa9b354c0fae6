/**
 * What Debian's kernel says as a warning on any machine like this, with QEMU as its hypervisor too, or because the lab is slow.
 *
 * @module
 */
const EXPECTED = [
  // The lab's own clock is TCG's, which kvm-clock cannot promise to be stable.
  /Unstable clock detected, switching default tracing clock to "global"/,
  /If you want to keep using the local clock, then add:/,
  /"trace_clock=local"/,
  /on the kernel command line/,
  /clocksource: Long readout interval, skipping watchdog check/,
  /hrtimer: interrupt took \d+ ns/,
  /clocksource: timekeeping watchdog on CPU\d+: Marking clocksource 'tsc' as unstable because the skew is too large/,
  /clocksource: +'(tsc|kvm-clock)' (cs_nsec|wd_nsec|\(not 'tsc'\) is current)/,
  /clocksource: Checking clocksource tsc synchronization from CPU \d+ to CPUs/,
  /TSC found unstable after boot/,
  /sched: RT throttling activated/,
  // How Debian configures its kernel.
  /device-mapper: core: CONFIG_IMA_DISABLE_HTABLE is disabled/,
  /sym0: No NVRAM, ID 7, Fast-40, LVD, parity checking/,
  // What the kernel makes of swiotlb=noforce.
  /software IO TLB: No low mem/,
  // The unit attention that SCSI requires after power-on.
  /sd 0:0:0:0: Power-on or device reset occurred/,
];

/** Lines that are not expected. */
export function unexpectedComplaints(complaints: readonly string[]): string[] {
  return complaints.filter((line) => !EXPECTED.some((known) => known.test(line)));
}
