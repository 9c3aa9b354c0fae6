/**
 * Kernels and initial RAM disks with hostile headers: an input is a kernel image, with a few bytes before it that say
 * how large RAM and the initrd are, and what the command line is.
 *
 * @module
 */
import { GuestMemory } from "../../../src/device/guest_memory.ts";
import { loadKernel } from "../../../src/vmm/boot/boot_image.ts";
import { BootImageError } from "../../../src/vmm/boot/boot_request.ts";
import { E820Type, kernelE820 } from "../../../src/vmm/e820.ts";
import { RamLayout } from "../../../src/vmm/layout.ts";
import {
  bzImage,
  elf64,
  littleEndian,
  note,
  pattern,
  pvhNote,
  type SetupFields,
} from "../../vmm/boot/support/images.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input, u16 } from "../engine/byte_writer.ts";
import type { Features } from "../engine/features.ts";
import { GuardedRegion } from "../engine/guarded_memory.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";

const MIB = 0x10_0000;
const RAM_SIZES = [2 * MIB, 3 * MIB];
const HIGH_SIZE = 0x1_0000;

/** What the first byte says: the size of RAM, RAM above 4 GiB, an initrd, ACPI tables. */
const Flag = { LARGER: 1, HIGH: 2, INITRD: 4, ACPI: 8 } as const;

const Kind = { LOADED: 0, REFUSED: 1 } as const;

const CANARY = 0x5c;
/** Reserved RAM is looked at in steps of this many bytes: what a loader writes is longer. */
const STEP = 32;

/** RAM of one size, above 4 GiB as well. Its reserved part is filled once: no loader may write to it. */
class BootMemory {
  readonly low: GuardedRegion;
  readonly high = new GuardedRegion(RamLayout.HIGH_BASE, HIGH_SIZE);
  readonly #reserved: Uint8Array;

  constructor(size: number) {
    this.low = new GuardedRegion(0, size);
    const { base } = kernelE820({ low: size, high: 0 }).find(({ type }) => type === E820Type.RESERVED)!;
    this.#reserved = this.low.bytes.subarray(base, RamLayout.EXTENDED_BASE).fill(CANARY);
  }

  check(): void {
    this.low.check();
    this.high.check();
    for (let at = 0; at < this.#reserved.length; at += STEP) {
      invariant(this.#reserved[at] === CANARY, "a loader wrote to memory that is not usable");
    }
  }
}

function requestOf(header: ByteReader, memory: BootMemory, flags: number) {
  const high = (flags & Flag.HIGH) === 0 ? 0 : HIGH_SIZE;
  const low = memory.low.bytes.length;
  const acpiTables = (flags & Flag.ACPI) === 0 ? undefined : { base: low - 0x2000, size: 0x2000 };
  const initrd = new Uint8Array((flags & Flag.INITRD) === 0 ? 0 : header.u16() * 64);
  return {
    memory: new GuestMemory(high === 0 ? [memory.low] : [memory.low, memory.high]),
    e820: kernelE820({ low, high }, acpiTables),
    commandLine: "x".repeat(header.u8() * 16),
    initrd: initrd.length === 0 ? undefined : initrd,
    rsdpAddress: acpiTables?.base,
  };
}

function load(bytes: Uint8Array, features: Features, memories: readonly BootMemory[]): void {
  const header = new ByteReader(bytes);
  const flags = header.u8();
  const memory = memories[flags & Flag.LARGER];
  const request = requestOf(header, memory, flags);
  try {
    const { rip, cr3, efer } = loadKernel(header.rest(), request);
    const usable = request.e820.some(({ base, size, type }) =>
      type === E820Type.USABLE && rip >= base && rip < base + size
    );
    invariant(usable, `the kernel is entered at 0x${rip.toString(16)}, where nothing can be`);
    features.hit(Kind.LOADED, flags & 0xf, cr3, efer);
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    invariant(/^[\x20-\x7e]{5,200}$/.test(error.message), `a refusal: ${JSON.stringify(error.message)}`);
    features.message(Kind.REFUSED, error.message);
  }
  memory.check();
}

function seed(name: string, image: Uint8Array, flags = 0, initrd = 0): Seed {
  const size = (flags & Flag.INITRD) === 0 ? [] : u16(initrd);
  return { name, bytes: input(flags, size, 1, image) };
}

/** Each field of a bzImage's setup header with what it must not be. */
function hostileBzImages(): Seed[] {
  const changes: Partial<SetupFields>[] = [
    ...[{ setup_sects: 255 }, { setup_sects: 0 }, { syssize: 0xffffffff }, { syssize: 0 }, { version: 0x0200 }, {
      loadflags: 0,
    }],
    ...[{ jump_distance: 0 }, { jump_distance: 0xff }, { xloadflags: 0 }, { kernel_alignment: 0 }, {
      kernel_alignment: 3,
    }],
    ...[{ kernel_alignment: 0x80000000 }, { init_size: 0xffffffff }, { init_size: 0 }, { cmdline_size: 0 }],
    ...[{ pref_address: 0xffff_ffff_ffff_ffffn }, { pref_address: 0n }, { initrd_addr_max: 0 }, {
      initrd_addr_max: 0xffffffff,
    }],
    ...[{ relocatable_kernel: 0 }, { relocatable_kernel: 0, pref_address: 0x9_0000n }, {
      relocatable_kernel: 0,
      pref_address: 0xfffffn,
    }],
  ];
  return changes.map((fields) => {
    const text = Object.entries(fields).map(([name, value]) => `${name}-${value.toString(16)}`).join("-");
    return seed(`bzimage-${text}`, bzImage(pattern(0x300), fields), Flag.INITRD, 16);
  });
}

function hostileElfFiles(): Seed[] {
  const code = { type: 1, physical: 0x10_0000n, bytes: pattern(64) };
  const entry = pvhNote(0x10_0000);
  const noted = (bytes: Uint8Array) => ({ type: 4, bytes });
  const cut = elf64([code, entry]);
  return [
    seed("pvh", elf64([code, entry])),
    seed("pvh-with-initrd", elf64([code, entry]), Flag.INITRD | Flag.ACPI | Flag.HIGH | Flag.LARGER, 64),
    seed("pvh-entry-outside", elf64([code, pvhNote(0x20_0000)])),
    seed("pvh-entry-of-4-bytes", elf64([code, pvhNote(0x10_0000, 4)])),
    seed("pvh-entry-above-4-gib", elf64([code, pvhNote(2 ** 40)])),
    seed("segment-over-boot-data", elf64([{ ...code, physical: 0x1000n }, pvhNote(0x1000)])),
    seed("segment-in-the-rom-area", elf64([{ ...code, physical: 0xf_0000n }, pvhNote(0xf_0000)])),
    seed("segment-that-wraps", elf64([{ ...code, physical: 0xffff_ffff_ffff_f000n }, entry])),
    seed("segment-in-high-ram", elf64([{ ...code, physical: 0x1_0000_0000n }, entry]), Flag.HIGH),
    seed("segment-larger-than-ram", elf64([{ ...code, memorySize: 0x7fff_ffff_ffffn }, entry])),
    seed("segment-outside-the-file", elf64([{ ...code, offset: 0x1000n, fileSize: 0xffffn }, entry])),
    seed("segments-that-overlap", elf64([code, { ...code, physical: 0x10_0020n }, entry])),
    seed(
      "note-that-runs-over",
      elf64([code, noted(note("Xen", 18, new Uint8Array(8)).map((byte, i) => i === 4 ? 0xff : byte))]),
    ),
    seed("notes-of-nothing", elf64([code, noted(new Uint8Array(1200))])),
    seed(
      "other-notes-first",
      elf64([code, noted(note("GNU", 3, pattern(20))), noted(note("Xen", 18, littleEndian(0x10_0000, 8)))]),
    ),
    seed("elf-header-only", cut.subarray(0, 64)),
    seed("elf-32-bit-header", cut.map((byte, i) => i === 4 ? 1 : byte)),
    seed("too-many-program-headers", cut.map((byte, i) => i === 56 || i === 57 ? 0xff : byte)),
  ];
}

/** See the module. */
export function bootImageTarget(): Target {
  const memories = RAM_SIZES.map((size) => new BootMemory(size));
  return {
    name: "boot-image",
    maxLength: 8192,
    dictionary: [
      [0x7f, 0x45, 0x4c, 0x46],
      [...new TextEncoder().encode("HdrS")],
      littleEndian(0x10_0000, 8),
      littleEndian(0x1_0000_0000, 8),
      new Array(8).fill(0xff),
    ]
      .map((bytes) => Uint8Array.from(bytes)),
    seeds: [
      seed("bzimage", bzImage(pattern(0x300))),
      seed("bzimage-with-everything", bzImage(pattern(0x300)), Flag.INITRD | Flag.ACPI | Flag.HIGH | Flag.LARGER, 64),
      seed("initrd-larger-than-ram", bzImage(pattern(0x300)), Flag.INITRD, 0xffff),
      ...hostileBzImages(),
      ...hostileElfFiles(),
      seed("neither", new TextEncoder().encode("#!/bin/sh")),
    ],
    run: (bytes, features) => load(bytes, features, memories),
  };
}
