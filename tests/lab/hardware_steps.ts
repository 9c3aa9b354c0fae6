/**
 * What a guest of the lab checks of the hardware that its kernel has found: shell scripts, by what they show.
 *
 * @module
 */

/** Scripts by what they show. */
export type Steps = Readonly<Record<string, string>>;

/** RAM of these guests, in bytes: 2 GiB below 4 GiB, the rest above. */
export const MEMORY_SIZE: number = 6 * 2 ** 30;

/** Bytes of the disk that {@linkcode HIGH_DMA_STEPS} fills. */
export const DISK_SIZE: number = 8 * 2 ** 20;

/** Bounce buffers below 4 GiB are off: a device that did not reach a buffer could not hide it. */
export const APPEND = "swiotlb=noforce";

/** Fails where the kernel has said something (an extended regular expression). A `!` before the command would not end a `sh -e`. */
function unsaid(pattern: string): string {
  return `if dmesg | grep -E '${pattern}'; then exit 1; fi`;
}

/** What is the same with and without firmware. @param cpus vCPUs of the machine. */
export function commonSteps(cpus: number): Steps {
  return {
    "all RAM is there, below 4 GiB and above": `
grep -q '^00100000-7ff....f : System RAM$' /proc/iomem
grep -q '^100000000-1ffffffff : System RAM$' /proc/iomem
[ "$(awk '/^MemTotal/ {print $2}' /proc/meminfo)" -gt 6000000 ]`,
    "the kernel has nothing to say against ACPI": unsaid(
      "ACPI.*([Ee]rror|[Ww]arning|BUG|[Ee]xception|[Ii]nvalid|[Ff]ail)",
    ),
    "the MADT has every vCPU, and all are on-line": `
dmesg | grep 'smpboot: Allowing ${cpus} CPUs, 0 hotplug CPUs'
[ "$(nproc)" = ${cpus} ]
for cpu in $(seq 0 ${cpus - 1}); do grep -q "^apicid.*: $cpu$" /proc/cpuinfo; done`,
    "configuration space is mapped where the MCFG says, and reserved": `
dmesg | grep 'PCI: MMCONFIG for domain 0000 \\[bus 00-ff\\] at \\[mem 0xb0000000-0xbfffffff\\]'
dmesg | grep 'PCI: MMCONFIG at \\[mem 0xb0000000-0xbfffffff\\] reserved'
grep 'b0000000-bfffffff : pnp' /proc/iomem`,
    "time comes from kvm-clock, with the PM timer beside it": `
cd /sys/devices/system/clocksource/clocksource0
cat current_clocksource available_clocksource
[ "$(cat current_clocksource)" = kvm-clock ]
grep -w acpi_pm available_clocksource
dmesg | grep 'ACPI: PM-Timer IO Port: 0x608'`,
    "the local APIC's timer works by TSC deadline": `
[ "$(cat /sys/devices/system/clockevents/clockevent0/current_device)" = lapic-deadline ]`,
    "page attributes and memory types are in use": `
${unsaid("MTRRs?:? ([Dd]isabled|all blank)")}
dmesg | grep 'x86/PAT: Configuration \\[0-7\\]: WB  WC  UC- UC  WB  WP  UC- WT'`,
    "the machine and its processor have names": `
cd /sys/class/dmi/id
[ "$(cat sys_vendor)" = splitvm ]
[ "$(cat product_name)" = "Standard PC (Q35 + ICH9)" ]
[ "$(cat product_uuid)" = "${UUID}" ]
if grep -E 'model name.*: (unknown|Hammer)?$' /proc/cpuinfo; then exit 1; fi`,
  };
}

/** Prints the ACPI tables that the kernel has taken, in base64, and how wide it takes physical addresses to be. */
export const ACPI_STEPS: Steps = {
  "the kernel shows its ACPI tables": `
grep -m 1 'address sizes' /proc/cpuinfo
cd /sys/firmware/acpi/tables
for table in *; do
  if [ -f "$table" ]; then echo "table $table $(base64 "$table" | tr -d '\\n')"; fi
done`,
};

/** The machine's UUID. */
export const UUID = "00112233-4455-6677-8899-aabbccddeeff";

/** Where the LSI controller's BARs are, as lspci shows them, and whether firmware let it report system errors. */
export interface LsiPlace {
  readonly io: string;
  readonly registers: string;
  readonly ram: string;
  readonly systemErrors: boolean;
}

/** lspci's view of the LSI 53C895A: as the chip's manual has it. The driver has set up bus mastering, latency and cache lines. */
export function lspciSteps({ io, registers, ram, systemErrors }: LsiPlace): Steps {
  return {
    "lspci shows an LSI 53C895A, where it belongs": `
lspci -nvv -s 00:01.0 > /run/shown 2> /dev/null
cat > /run/expected << END
00:01.0 0100: 1000:0012
	Subsystem: 1000:1000
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV+ VGASnoop- ParErr- Stepping- SERR${
      systemErrors ? "+" : "-"
    } FastB2B- DisINTx-
	Status: Cap- 66MHz- UDF- FastB2B- ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-
	Latency: 64 (4250ns min, 16000ns max), Cache Line Size: 64 bytes
	Interrupt: pin A routed to IRQ 21
	Region 0: I/O ports at ${io} [size=256]
	Region 1: Memory at ${registers} (32-bit, non-prefetchable) [size=1K]
	Region 2: Memory at ${ram} (32-bit, non-prefetchable) [size=8K]
	Kernel driver in use: sym53c8xx

END
diff /run/expected /run/shown`,
  };
}

/** PCI resources: nothing was in the way of anything. */
const NO_CONFLICTS = unsaid("pci.*(can.t claim|no space|failed to assign|no compatible bridge|conflict)");

/** What a machine without firmware leaves to the kernel, and does in firmware's place. */
export const DIRECT_STEPS: Steps = {
  "the kernel assigns PCI resources, in the host bridge's window": `
for bar in 0 1 2; do dmesg | grep "pci 0000:00:01.0: BAR $bar .*: assigned"; done
${NO_CONFLICTS}`,
  "RAM is cached, and nothing else below 4 GiB": `
cat > /run/expected << END
reg00: base=0x0b0000000 ( 2816MB), size=  256MB, count=1: uncachable
reg01: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable
END
diff /run/expected /proc/mtrr`,
  "the tables are the machine's own": `
[ "$(cat /sys/class/dmi/id/bios_vendor)" = splitvm ]
dmesg | grep 'ACPI: RSDP 0x00000000000E0000 000024 (v02 SPLTVM)'`,
};

/** What the kernel leaves as SeaBIOS has made it. */
export const FIRMWARE_STEPS: Steps = {
  "the kernel leaves PCI resources as firmware has assigned them": `
${unsaid("pci 0000:00:01.0: BAR.*assigned")}
${NO_CONFLICTS}`,
  "RAM is cached, and PCI memory is not": `
grep '^reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable$' /proc/mtrr`,
  "firmware has placed the tables, and added its own": `
[ "$(cat /sys/class/dmi/id/bios_vendor)" = SeaBIOS ]
dmesg | grep 'ACPI: RSDP 0x00000000000F.... 000024 (v02 SPLTVM)'`,
};

/** The disk's contents go through pages above 4 GiB, which the kernel takes first, with and without the page cache. */
export const HIGH_DMA_STEPS: Steps = {
  "the disk's DMA reaches RAM above 4 GiB": `
dd if=/dev/urandom of=/run/data bs=1M count=8 2> /dev/null
dd if=/run/data of=/dev/sda bs=1M oflag=direct
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/sda bs=1M count=8 iflag=direct | cmp - /run/data
# Who holds the device keeps its pages: 2048 of them, but counters lag behind.
exec 3< /dev/sda
head -c ${DISK_SIZE} <&3 | cmp - /run/data
awk '/^Node/ {zone = $4} /nr_zone_(in)?active_file/ {pages[zone] += $2}
  END {for (zone in pages) print zone, pages[zone]; exit !(pages["Normal"] > 1900)}' /proc/zoneinfo
sha256sum < /run/data`,
};
