/**
 * Guest RAM without KVM.
 *
 * @module
 */
import { GuestMemory } from "../../../src/device/guest_memory.ts";
import { RamLayout, splitRam } from "../../../src/vmm/layout.ts";
import type { GuestRam } from "../../../src/vmm/ram.ts";

/** Where the RAM of {@linkcode fakeRam} would be mapped. */
export const RAM_ADDRESS = 0x7f00_0000_0000n;

/** RAM of any size, of which only the first `backed` bytes are there. */
export function fakeRam(size: number, backed = 0x10_0000): GuestRam {
  const split = splitRam(size);
  const memory = new GuestMemory([
    { gpa: 0, bytes: new Uint8Array(backed) },
    { gpa: RamLayout.HIGH_BASE, bytes: new Uint8Array(0) },
  ]);
  return { handle: { fd: -1, address: RAM_ADDRESS, size }, split, memory };
}
