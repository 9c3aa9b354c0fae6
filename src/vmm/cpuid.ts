/**
 * CPUID as the guest sees it: what KVM supports, with this machine's topology and the host processor's name.
 *
 * Sources: Intel SDM volume 2A, CPUID; Documentation/virt/kvm/x86/cpuid.rst.
 *
 * @module
 */
import type { CpuidEntry } from "../ffi/kvm.ts";

/** What is particular to one vCPU. */
export interface CpuTopology {
  /** Index of the vCPU, which is its APIC id, too. */
  readonly apicId: number;
  /** Number of vCPUs: each is a core of one package. */
  readonly cpus: number;
  /** Whether KVM emulates the local APIC's TSC deadline mode (KVM_CAP_TSC_DEADLINE_TIMER): it is not in the list of leaves. */
  readonly tscDeadlineTimer: boolean;
}

const FEATURE_ECX_TSC_DEADLINE = 1 << 24;
/** Set by every hypervisor (SDM: reserved, always zero on hardware). */
const FEATURE_ECX_HYPERVISOR = 2 ** 31;
const FEATURE_EDX_HTT = 1 << 28;

/** Extended topology enumeration, and version 2 of it. */
const TOPOLOGY_LEAVES: ReadonlySet<number> = new Set([0x0b, 0x1f]);
const LevelType = { INVALID: 0, THREAD: 1, CORE: 2 } as const;
/** KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the leaf has subleaves. */
const SIGNIFICANT_INDEX = 1;

/** Number of bits that hold the values 0 to `count` - 1. */
const bitsFor = (count: number) => Math.ceil(Math.log2(count));

/**
 * Adapts the leaves that KVM supports to one vCPU.
 *
 * @param supported What KVM_GET_SUPPORTED_CPUID returned; left as it is.
 */
export function guestCpuid(supported: readonly CpuidEntry[], topology: CpuTopology): CpuidEntry[] {
  return supported.flatMap((leaf) => {
    if (!TOPOLOGY_LEAVES.has(leaf.function)) return [adapt({ ...leaf }, topology)];
    // KVM lists only the first level, all zero, and leaves the rest to whoever knows the topology.
    return leaf.index === 0 ? topologyLevels(leaf.function, topology) : [];
  });
}

function adapt(leaf: CpuidEntry, { apicId, cpus, tscDeadlineTimer }: CpuTopology): CpuidEntry {
  switch (leaf.function) {
    case 0x01: // feature information: initial APIC id, logical processors in the package, CLFLUSH size
      leaf.ebx = ((leaf.ebx & 0xffff) | (Math.min(cpus, 255) << 16) | (apicId << 24)) >>> 0;
      leaf.ecx = (leaf.ecx | FEATURE_ECX_HYPERVISOR | (tscDeadlineTimer ? FEATURE_ECX_TSC_DEADLINE : 0)) >>> 0;
      leaf.edx = (cpus > 1 ? leaf.edx | FEATURE_EDX_HTT : leaf.edx & ~FEATURE_EDX_HTT) >>> 0;
      break;
    case 0x04: // deterministic cache parameters: cores in the package - 1 in 31:26, sharing threads - 1 in 25:14
      if ((leaf.eax & 0x1f) !== 0) {
        const cores = 2 ** bitsFor(cpus) - 1;
        const level = (leaf.eax >> 5) & 7;
        leaf.eax = ((leaf.eax & 0x3fff) | (Math.min(cores, 63) << 26) | (level >= 3 ? cores << 14 : 0)) >>> 0;
      }
      break;
    case 0x80000008: // AMD: cores - 1 in 7:0, size of the APIC id's core part in 15:12
      if ((leaf.ecx & 0xffff) !== 0 || cpus > 1) leaf.ecx = (bitsFor(cpus) << 12) | (cpus - 1);
      break;
    case 0x8000001e: // AMD: extended APIC id, core id with one thread each, one node
      leaf.eax = apicId;
      leaf.ebx = apicId & 0xff;
      leaf.ecx = 0;
      break;
  }
  return leaf;
}

/**
 * The levels of an extended topology leaf: one thread a core, all cores in one package, and the level that ends the list. EAX 4:0 is the
 * shift to the next level's id, EBX the logical processors at this level, ECX the level's type and number.
 */
function topologyLevels(leaf: number, { apicId, cpus }: CpuTopology): CpuidEntry[] {
  const levels = [
    { shift: 0, processors: 1, type: LevelType.THREAD },
    { shift: bitsFor(cpus), processors: cpus, type: LevelType.CORE },
    { shift: 0, processors: 0, type: LevelType.INVALID },
  ];
  return levels.map(({ shift, processors, type }, index) => ({
    function: leaf,
    index,
    flags: SIGNIFICANT_INDEX,
    eax: shift,
    ebx: processors,
    ecx: index | (type << 8),
    edx: apicId,
  }));
}

/** Leaves of the processor's name: 16 characters each, in EAX, EBX, ECX and EDX. */
const BRAND_LEAVES = [0x80000002, 0x80000003, 0x80000004];
const REGISTERS = ["eax", "ebx", "ecx", "edx"] as const;
const CHARACTERS_PER_LEAF = 16;

/** Name and features of a processor, as other tables than CPUID show them. */
export interface CpuIdentity {
  /** Leaf 0: `GenuineIntel`, `AuthenticAMD`. */
  readonly vendor: string;
  /** Leaf 1, EAX: family, model, stepping. */
  readonly signature: number;
  /** Leaf 1, EDX. */
  readonly features: number;
  /** Leaves 0x80000002 to 0x80000004; empty for a processor without a name. */
  readonly brand: string;
}

/** The identity that leaves show. */
export function cpuIdentity(leaves: readonly CpuidEntry[]): CpuIdentity {
  const find = (number: number) => leaves.find((leaf) => leaf.function === number);
  const vendor = find(0);
  return {
    vendor: vendor === undefined ? "" : characters(vendor.ebx, vendor.edx, vendor.ecx),
    signature: find(1)?.eax ?? 0,
    features: find(1)?.edx ?? 0,
    brand: BRAND_LEAVES.map((number) => {
      const leaf = find(number);
      return leaf === undefined ? "" : characters(...REGISTERS.map((register) => leaf[register]));
    }).join("").trim(),
  };
}

function characters(...registers: readonly number[]): string {
  const bytes = new Uint8Array(Uint32Array.from(registers).buffer);
  return String.fromCharCode(...bytes).replace(/\0.*$/s, "");
}

/**
 * Gives the processor a name where the leaves have none: KVM lists the leaves of the name, all zero.
 *
 * @param brand Without one, nothing changes. Its first 47 characters are shown, and a NUL.
 */
export function withBrand(leaves: readonly CpuidEntry[], brand: string | undefined): readonly CpuidEntry[] {
  if (brand === undefined || cpuIdentity(leaves).brand !== "") return leaves;
  const text = new Uint8Array(BRAND_LEAVES.length * CHARACTERS_PER_LEAF);
  new TextEncoder().encodeInto(brand, text.subarray(0, -1));
  const words = new Uint32Array(text.buffer);
  return leaves.map((leaf) => {
    const at = 4 * BRAND_LEAVES.indexOf(leaf.function);
    return at < 0 ? leaf : { ...leaf, eax: words[at], ebx: words[at + 1], ecx: words[at + 2], edx: words[at + 3] };
  });
}
