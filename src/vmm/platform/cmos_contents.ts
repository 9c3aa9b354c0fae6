/**
 * What the battery-backed RAM holds for firmware: the PC/AT's places, and those that QEMU added and SeaBIOS reads
 * (SeaBIOS, src/hw/rtc.h).
 *
 * @module
 */

const KIB = 0x400;
const MIB = 0x10_0000;
const BLOCK_64K = 0x1_0000;

/** Addresses in CMOS RAM; pairs and triples of bytes are little-endian, low byte first. */
const Cmos = {
  /** Drive types: 0 is no floppy disk, no fixed disk. */
  FLOPPY_TYPES: 0x10,
  DISK_TYPES: 0x12,
  EQUIPMENT: 0x14,
  BASE_MEMORY_KIB: 0x15,
  EXTENDED_MEMORY_KIB: 0x17,
  /** What the power-on test measured: a second copy. */
  EXTENDED_MEMORY_KIB_FOUND: 0x30,
  MEMORY_ABOVE_16M: 0x34,
  /** High half: third boot device. Bit 0: do not check floppy boot signatures. */
  BOOT_FLAGS: 0x38,
  /** Low half: first boot device, high half: second. */
  BOOT_DEVICES: 0x3d,
  MEMORY_ABOVE_4G: 0x5b,
  CPU_COUNT_LESS_ONE: 0x5f,
} as const;

/** Equipment byte: a mathematics coprocessor is installed. */
const COPROCESSOR = 0x02;
const CONVENTIONAL_KIB = 640;

/** Boot device codes by drive letter, as on QEMU's command line. */
const BOOT_DEVICE: Readonly<Record<string, number>> = { a: 1, b: 1, c: 2, d: 3, n: 4 };

/** What firmware must know. */
export interface CmosMachine {
  /** Bytes of RAM from address 0. */
  readonly lowRam: number;
  /** Bytes of RAM from 4 GiB. */
  readonly highRam: number;
  readonly cpus: number;
  /** Drive letters in boot order: a, b, c, d, n; further and unknown ones are left out. @default {"cad"} */
  readonly bootOrder?: string;
}

/** The bytes that firmware finds: address → value. Addresses that are not named hold zero. */
export function cmosContents({ lowRam, highRam, cpus, bootOrder = "cad" }: CmosMachine): ReadonlyMap<number, number> {
  const contents = new Map<number, number>();
  const put = (address: number, length: number, value: number) => {
    const limited = Math.min(Math.max(0, Math.floor(value)), 2 ** (8 * length) - 1);
    for (let i = 0; i < length; i++) contents.set(address + i, Math.floor(limited / 2 ** (8 * i)) & 0xff);
  };
  const [first = 0, second = 0, third = 0] = [...bootOrder].map((letter) => BOOT_DEVICE[letter] ?? 0)
    .filter((code) => code !== 0);
  put(Cmos.FLOPPY_TYPES, 1, 0);
  put(Cmos.DISK_TYPES, 1, 0);
  put(Cmos.EQUIPMENT, 1, COPROCESSOR);
  put(Cmos.BASE_MEMORY_KIB, 2, Math.min(lowRam / KIB, CONVENTIONAL_KIB));
  put(Cmos.EXTENDED_MEMORY_KIB, 2, (lowRam - MIB) / KIB);
  put(Cmos.EXTENDED_MEMORY_KIB_FOUND, 2, (lowRam - MIB) / KIB);
  put(Cmos.MEMORY_ABOVE_16M, 2, (lowRam - 16 * MIB) / BLOCK_64K);
  put(Cmos.BOOT_FLAGS, 1, third << 4);
  put(Cmos.BOOT_DEVICES, 1, second << 4 | first);
  put(Cmos.MEMORY_ABOVE_4G, 3, highRam / BLOCK_64K);
  put(Cmos.CPU_COUNT_LESS_ONE, 1, cpus - 1);
  return contents;
}
