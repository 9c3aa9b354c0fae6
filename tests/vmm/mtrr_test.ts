/** Expectations follow the Intel SDM, volume 3, section 12.11. */
import { assert, assertEquals } from "@std/assert";
import { firmwareMtrrs, MTRR_MSRS, setFirmwareMtrrs } from "../../src/vmm/mtrr.ts";

const UNCACHEABLE = 0;
const WRITE_BACK = 6;
const ADDRESS_BITS = 40;
const MIB = 0x10_0000;

/** The memory type of an address, as a processor works it out (section 12.11.4.1). */
function typeOf(address: number, registers: ReadonlyMap<number, bigint>): number {
  const defaultType = registers.get(0x2ff)!;
  assertEquals(defaultType >> 10n, 0b11n, "enabled, with fixed ranges");
  if (address < MIB) return fixedType(address, registers);
  for (let range = 0x200; registers.has(range); range += 2) {
    const [base, mask] = [registers.get(range)!, registers.get(range + 1)!];
    assertEquals(mask & 0xfffn, 0x800n, "valid, and no reserved bits");
    if ((BigInt(address) & mask & ~0xfffn) === (base & mask & ~0xfffn)) return Number(base & 0xffn);
  }
  return Number(defaultType & 0xffn);
}

function fixedType(address: number, registers: ReadonlyMap<number, bigint>): number {
  const [start, msr, size] = address < 0x8_0000
    ? [0, 0x250, 0x1_0000]
    : address < 0xc_0000
    ? [0x8_0000, 0x258, 0x4000]
    : [0xc_0000, 0x268, 0x1000];
  const index = Math.floor((address - start) / size);
  return Number(registers.get(msr + (index >> 3))! >> BigInt(8 * (index & 7)) & 0xffn);
}

const registers = new Map(firmwareMtrrs(ADDRESS_BITS));

Deno.test("RAM is write-back memory, below 4 GiB and above", () => {
  for (const address of [0, 0x9_ffff, 0xc_0000, 0xf_ffff, MIB, 0xafff_ffff, 2 ** 32, 2 ** ADDRESS_BITS - 1]) {
    assertEquals(typeOf(address, registers), WRITE_BACK, address.toString(16));
  }
});

Deno.test("the VGA hole, ECAM, PCI memory and the interrupt controllers are uncacheable", () => {
  for (const address of [0xa_0000, 0xb_ffff, 0xb000_0000, 0xbfff_ffff, 0xc000_0000, 0xfec0_0000, 0xfee0_0000]) {
    assertEquals(typeOf(address, registers), UNCACHEABLE, address.toString(16));
  }
});

Deno.test("masks reach as far as the processor's addresses, and no further", () => {
  for (const bits of [36, 46, 52]) {
    const masks = firmwareMtrrs(bits).filter(([index]) => index < 0x210 && index % 2 === 1);
    for (const [, mask] of masks) assertEquals(mask >> BigInt(bits - 1), 1n, `${bits} bits`);
  }
});

Deno.test("the registers are switched on when all of them are set", () => {
  assertEquals(firmwareMtrrs(ADDRESS_BITS).at(-1)?.[0], 0x2ff);
});

Deno.test("a reset puts back every register that is set here", () => {
  for (const index of registers.keys()) assert(MTRR_MSRS.includes(index), index.toString(16));
});

Deno.test("a processor is given all of them", () => {
  const written = new Map<number, bigint>();
  const setMsr = (index: number, value: bigint) => written.set(index, value) === written;
  setFirmwareMtrrs({ setMsr }, ADDRESS_BITS);
  assertEquals([...written], [...registers]);
});
