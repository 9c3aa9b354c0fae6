/** CPUID leaves against the Intel SDM, volume 2A, CPUID, and the AMD APM, volume 3, appendix E. */
import { assert, assertEquals } from "@std/assert";
import type { CpuidEntry } from "../../src/ffi/kvm.ts";
import { cpuIdentity, type CpuTopology, guestCpuid, withBrand } from "../../src/vmm/cpuid.ts";

function leaf(fn: number, registers: Partial<CpuidEntry> = {}): CpuidEntry {
  return { function: fn, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0, ...registers };
}

/** The leaves of one vCPU, from those of the host. */
function adapted(supported: CpuidEntry[], topology: Partial<CpuTopology> = {}): CpuidEntry[] {
  return guestCpuid(supported, { apicId: 0, cpus: 1, tscDeadlineTimer: true, ...topology });
}

Deno.test("leaf 1 has the vCPU's APIC id and the number of logical processors, and keeps the CLFLUSH size", () => {
  const [{ ebx }] = adapted([leaf(1, { ebx: 0xaabb0855 })], { apicId: 5, cpus: 6 });
  assertEquals(ebx, 0x05060855);
});

Deno.test("an APIC id of 128 or more is no negative number", () => {
  assertEquals(adapted([leaf(1)], { apicId: 200, cpus: 255 })[0].ebx, 0xc8ff0000);
});

Deno.test("leaf 1 tells of a hypervisor and, where KVM has it, of the TSC deadline timer", () => {
  const [with_] = adapted([leaf(1, { ecx: 1 })]);
  const [without] = adapted([leaf(1, { ecx: 1 })], { tscDeadlineTimer: false });
  assertEquals([with_.ecx, without.ecx], [0x81000001, 0x80000001]);
});

Deno.test("leaf 1 announces several logical processors only where there are", () => {
  const HTT = 1 << 28;
  assertEquals(adapted([leaf(1, { edx: HTT | 1 })])[0].edx, 1);
  assertEquals(adapted([leaf(1, { edx: 1 })], { cpus: 2 })[0].edx, HTT | 1);
});

Deno.test("leaf 4 counts cores of the package, and gives the last level of cache to all of them", () => {
  const level = (number: number) => leaf(4, { index: number - 1, eax: (0xfc_00_00_00 | (number << 5) | 3) >>> 0 });
  const [first, third] = adapted([level(1), level(3)], { cpus: 5 });
  // Maximum number of addressable ids minus 1: 7 for 5 cores.
  assertEquals([first.eax >>> 26, third.eax >>> 26], [7, 7]);
  assertEquals([first.eax >>> 14 & 0xfff, third.eax >>> 14 & 0xfff], [0, 7]);
  assertEquals([first.eax & 0xff, third.eax & 0xff], [0x23, 0x63]);
});

Deno.test("the end of leaf 4's list stays one", () => {
  assertEquals(adapted([leaf(4, { index: 4 })], { cpus: 4 }), [leaf(4, { index: 4 })]);
});

for (const number of [0x0b, 0x1f]) {
  Deno.test(`leaf 0x${number.toString(16)} has threads, cores and an end, also where KVM lists one level`, () => {
    const levels = adapted([leaf(number, { flags: 1 })], { apicId: 2, cpus: 3 });
    assertEquals(levels.map(({ index, flags }) => [index, flags]), [[0, 1], [1, 1], [2, 1]]);
    // EAX: bits to shift the x2APIC id by for the next level. EBX: logical processors. ECX: type, 1 thread and 2 core.
    assertEquals(levels.map(({ eax, ebx, ecx }) => [eax, ebx, ecx]), [[0, 1, 0x100], [2, 3, 0x201], [0, 0, 2]]);
    assert(levels.every(({ edx }) => edx === 2));
  });

  Deno.test(`leaf 0x${number.toString(16)} tells the same where KVM passes the host's levels on`, () => {
    const host = [0, 1, 2].map((index) =>
      leaf(number, { index, flags: 1, eax: 4, ebx: 16, ecx: 0x200 | index, edx: 9 })
    );
    assertEquals(adapted(host, { cpus: 2 }), adapted([leaf(number)], { cpus: 2 }));
  });
}

Deno.test("a topology leaf that the host lacks is not made up", () => {
  assertEquals(adapted([leaf(0), leaf(1)], { cpus: 2 }).map((entry) => entry.function), [0, 1]);
});

Deno.test("AMD's leaves have the cores and the vCPU's id", () => {
  const [size, id] = adapted([leaf(0x80000008, { eax: 0x3030 }), leaf(0x8000001e)], { apicId: 3, cpus: 4 });
  // Cores minus 1 in 7:0, width of a core's id in 15:12.
  assertEquals([size.eax, size.ecx], [0x3030, 0x2003]);
  assertEquals([id.eax, id.ebx, id.ecx], [3, 3, 0]);
});

Deno.test("other leaves pass as they are, and the host's list is left alone", () => {
  const host = [leaf(7, { ebx: 0xffffffff }), leaf(1, { ebx: 0xff000000 })];
  const before = structuredClone(host);
  assertEquals(adapted(host, { cpus: 2, apicId: 1 })[0], host[0]);
  assertEquals(host, before);
});

const BRAND_LEAVES = [0x80000002, 0x80000003, 0x80000004].map((number) => leaf(number));

Deno.test("a processor without a name gets the host's, in the order of the registers", () => {
  const named = withBrand(BRAND_LEAVES, "ABCDEFGHIJKLMNOPQRSTU");
  assertEquals(named[0], leaf(0x80000002, { eax: 0x44434241, ebx: 0x48474645, ecx: 0x4c4b4a49, edx: 0x504f4e4d }));
  assertEquals(named[1], leaf(0x80000003, { eax: 0x54535251, ebx: 0x55 }));
  assertEquals(cpuIdentity(named).brand, "ABCDEFGHIJKLMNOPQRSTU");
});

Deno.test("a long name ends with a NUL in the last byte", () => {
  const named = withBrand(BRAND_LEAVES, "x".repeat(100));
  assertEquals(named[2].edx >>> 24, 0);
  assertEquals(cpuIdentity(named).brand, "x".repeat(47));
});

Deno.test("a processor that has a name keeps it, and one of a host without a name has none", () => {
  const named = withBrand(BRAND_LEAVES, "first");
  assertEquals(cpuIdentity(withBrand(named, "second")).brand, "first");
  assertEquals(withBrand(BRAND_LEAVES, undefined), BRAND_LEAVES);
});

Deno.test("leaf 0 shows the vendor in EBX, EDX, ECX", () => {
  const leaves = [leaf(0, { ebx: 0x756e6547, edx: 0x49656e69, ecx: 0x6c65746e }), leaf(1, { eax: 0x306c3, edx: 7 })];
  assertEquals(cpuIdentity(leaves), { vendor: "GenuineIntel", signature: 0x306c3, features: 7, brand: "" });
});
