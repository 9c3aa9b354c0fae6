/**
 * The devices, objects and drives that a command line can name, with their properties. Both roles parse with these tables, and the
 * help texts are made from them.
 *
 * @module
 */
import {
  ascii,
  bool,
  descriptor,
  identifier,
  integer,
  limit,
  milliseconds,
  oneOf,
  path,
  pciSlot,
  securityContext,
  size,
  text,
  uint64,
} from "./property_types.ts";
import { optional, type Properties, refused, required, type Variants, withDefault } from "./properties.ts";

const BLOCK_SIZE = size({ min: 512, max: 32768, powerOfTwo: true });
const PORT = integer({ max: 0xffff, radix: 16 });

const READ_ERROR_ACTION = ["report", "ignore", "stop"] as const;
const WRITE_ERROR_ACTION = [...READ_ERROR_ACTION, "enospc"] as const;

/** `-drive`. */
export const DRIVE_PROPERTIES = {
  id: required(identifier, "name by which a disk refers to the drive"),
  file: required(path, "regular file or block device that holds the image"),
  format: optional(oneOf("raw", "qcow2"), "format of the image; told from its first bytes if left out"),
  if: withDefault(oneOf("none"), "none", "the drive is attached by a -device, not by itself"),
  readonly: withDefault(bool, false, "the guest cannot write, the image is opened for reading only"),
  cache: withDefault(
    oneOf("writeback", "none", "writethrough", "directsync", "unsafe"),
    "writeback",
    "how writes pass through the host's page cache",
  ),
  "cache.direct": optional(bool, "whether the host's page cache is bypassed, in place of what cache= says"),
  "cache.writeback": optional(bool, "whether writes may wait for a flush, in place of what cache= says"),
  "cache.no-flush": optional(bool, "whether flushes are left out, in place of what cache= says"),
  discard: withDefault(oneOf("ignore", "off", "unmap", "on"), "ignore", "whether the guest's UNMAP gives space back"),
  "detect-zeroes": withDefault(
    oneOf("off", "on", "unmap"),
    "off",
    "whether writes are searched for zeroes, and these unmapped",
  ),
  aio: optional(
    oneOf("threads", "native", "io_uring"),
    "how requests get to the kernel; the best it has if left out",
  ),
  snapshot: optional(bool, "whether writes are thrown away in the end; as -snapshot says if left out"),
  rerror: withDefault(oneOf(...READ_ERROR_ACTION), "report", "what becomes of reads that fail"),
  werror: withDefault(oneOf(...WRITE_ERROR_ACTION), "enospc", "what becomes of writes that fail"),
  media: withDefault(oneOf("disk"), "disk", "what the guest sees"),
  bus: refused("a drive is attached by -device"),
} satisfies Properties;

/** Milliseconds between two questions to a device process whether it is there, and 0 for none. */
const HEARTBEAT = milliseconds({ min: 10, max: 60_000, off: true });
export const DEFAULT_HEARTBEAT = 1000;

/** Milliseconds that a device process may take for an answer. A disk may sync on a write. */
const DEADLINE = milliseconds({ min: 100, max: 600_000 });
export const DEFAULT_DEADLINE = 10_000;

/** `-device`. */
export const DEVICE_TYPES = {
  "lsi53c895a": {
    description: "LSI 53C895A PCI SCSI host adapter",
    roles: ["remote", "vmm"],
    properties: {
      id: optional(identifier, "name; the SCSI bus is <id>.0"),
      addr: optional(pciSlot, "PCI slot; lowest free one if left out; not in a device process"),
      accel: optional(bool, "whether accesses go through shared memory, on if left out; not in a device process"),
      sandbox: optional(bool, "whether its process is shut in, as -sandbox says if left out; not in a device process"),
      secontext: optional(
        securityContext,
        "SELinux context or AppArmor profile of its process in the jail; not in a device process",
      ),
      heartbeat: optional(
        HEARTBEAT,
        `how often its process is asked whether it is there, ${DEFAULT_HEARTBEAT} if left out; not in a device process`,
      ),
      deadline: optional(
        DEADLINE,
        `after which its process counts as hung, ${DEFAULT_DEADLINE} if left out; not in a device process`,
      ),
      restart: optional(
        limit({ max: 65535 }),
        "whether a lost process is started again, or how often; off if left out; not in a device process",
      ),
      multifunction: refused("each device has a slot of its own"),
    },
  },
  "scsi-hd": {
    description: "SCSI disk",
    roles: ["remote", "vmm"],
    properties: {
      id: optional(identifier, "name"),
      drive: required(identifier, "id of the -drive that holds the data"),
      bus: optional(text, "SCSI bus: the adapter's id and '.0'; the only adapter's if left out"),
      "scsi-id": optional(integer({ max: 15 }), "target id, not 7; lowest free one if left out"),
      lun: withDefault(integer({ max: 7 }), 0, "logical unit number"),
      serial: optional(ascii(36), "unit serial number"),
      vendor: withDefault(ascii(8), "SPLITVM", "INQUIRY vendor identification"),
      product: withDefault(ascii(16), "SPLITVM HARDDISK", "INQUIRY product identification"),
      ver: withDefault(ascii(4), "1.0", "INQUIRY product revision level"),
      wwn: optional(uint64, "world-wide name"),
      logical_block_size: withDefault(BLOCK_SIZE, 512, "bytes in a logical block"),
      physical_block_size: optional(BLOCK_SIZE, "bytes in a physical block; one logical block if left out"),
      rerror: withDefault(
        oneOf("auto", ...READ_ERROR_ACTION),
        "auto",
        "what becomes of reads that fail; auto: as the drive says",
      ),
      werror: withDefault(
        oneOf("auto", ...WRITE_ERROR_ACTION),
        "auto",
        "what becomes of writes that fail; auto: as the drive says",
      ),
      channel: refused("the adapter has one bus"),
      bootindex: refused("use -boot order="),
    },
  },
  "pci-proxy-dev": {
    description: "PCI device in another process, behind a socket",
    alias: "x-pci-proxy-dev",
    roles: ["vmm"],
    properties: {
      id: optional(identifier, "name"),
      fd: required(descriptor, "connected UNIX stream socket to the device process"),
      addr: optional(pciSlot, "PCI slot; lowest free one if left out"),
      accel: withDefault(bool, true, "accesses go through shared memory, if the device process can"),
      heartbeat: withDefault(
        HEARTBEAT,
        DEFAULT_HEARTBEAT,
        "how often the device process is asked whether it is there, if it answers that",
      ),
      deadline: withDefault(DEADLINE, DEFAULT_DEADLINE, "after which the device process counts as hung"),
      multifunction: refused("each device has a slot of its own"),
    },
  },
  "isa-debugcon": {
    description: "debug console: bytes written to an I/O port",
    roles: ["vmm"],
    properties: {
      id: optional(identifier, "name"),
      iobase: withDefault(PORT, 0xe9, "I/O port; SeaBIOS writes to 0x402"),
      chardev: required(identifier, "id of the -chardev that gets the bytes"),
      readback: refused("a read returns 0xe9"),
    },
  },
  "isa-debug-exit": {
    description: "a write of n to the I/O port ends the VM with status 2n+1",
    roles: ["vmm"],
    properties: {
      id: optional(identifier, "name"),
      iobase: withDefault(PORT, 0x501, "first I/O port"),
      iosize: withDefault(integer({ min: 1, max: 4 }), 2, "number of I/O ports"),
    },
  },
} as const satisfies Variants;

/** Largest guest RAM: 2^40 bytes, which every CPU with KVM can address. */
const LARGEST_MEMORY = 2 ** 40;

/** Guest RAM is counted in MiB, for `-m` as for memory backends. */
export const MEMORY_SIZE = { min: 2 ** 20, max: LARGEST_MEMORY, multipleOf: 2 ** 20 } as const;

/** `-object`. */
export const OBJECT_TYPES = {
  "remote-object": {
    description: "serves a device to the proxy at the other end of a socket",
    alias: "x-remote-object",
    roles: ["remote"],
    properties: {
      id: required(identifier, "name"),
      devid: required(identifier, "id of the device"),
      fd: required(descriptor, "connected UNIX stream socket to the proxy"),
      accel: withDefault(bool, true, "accesses go through shared memory, if the proxy can"),
    },
  },
  "memory-backend-memfd": {
    description: "guest RAM in a memfd, which device processes map",
    roles: ["vmm"],
    properties: {
      id: required(identifier, "name by which -machine or -numa refers to it"),
      size: required(size(MEMORY_SIZE), "size"),
      share: withDefault(oneOf("on"), "on", "device processes share it"),
      seal: withDefault(bool, true, "neither side can change the size afterwards"),
      hugetlb: refused("RAM is made of ordinary pages"),
      hugetlbsize: refused("RAM is made of ordinary pages"),
      prealloc: refused("pages are allocated when the guest touches them"),
    },
  },
} as const satisfies Variants;
