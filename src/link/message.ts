/**
 * Messages of the link between a VMM and a device process: the `MPQemuMsg` of QEMU 6.0 and later
 * (include/hw/remote/mpqemu-link.h there), as bytes.
 *
 * Everything is little-endian and laid out as a C compiler for x86-64 does it. A header of 16 bytes is followed by the
 * payload:
 *
 * | offset | header field |
 * | --- | --- |
 * | 0 | `int32` command |
 * | 4 | 4 bytes of padding, of any value |
 * | 8 | `uint64` size of the payload in bytes |
 *
 * | command | payload | size | descriptors | reply |
 * | --- | --- | --- | --- | --- |
 * | SYNC_SYSMEM | `uint64` gpas[8], sizes[8], offsets[8] | 192 | 1 to 7, one a region | none |
 * | RET | `uint64` value | 8, or 0 | 0 | – |
 * | PCI_CFGWRITE | `uint32` addr, `uint32` val, `int32` len | 12 | 0 | RET |
 * | PCI_CFGREAD | the same | 12 | 0 | RET |
 * | BAR_WRITE | `uint64` addr, `uint64` val, `uint32` size, `uint8` memory, 3 bytes of padding | 24 | 0 | RET |
 * | BAR_READ | the same | 24 | 0 | RET |
 * | SET_IRQFD | none | 0 | 2: irq, resample | none |
 * | DEVICE_RESET | none | 0 | 0 | RET |
 * | RING_SETUP | `uint32` lanes, slots | 8 | 2: ring, doorbell | RING_READY |
 * | RING_READY | `uint32` size of the shadow, count, `uint32` {space, offset, length, at}[31] | 504 | 1: shadow | – |
 * | PROXY_PING | `uint32` number, 4 bytes of padding | 8 | 0 | PROXY_PONG |
 * | PROXY_PONG | the same | 8 | 0 | – |
 * | DEVICE_RESTARTED | none | 0 | 0 | RET |
 *
 * Two fields are ignored by QEMU, and carry a negotiation past it: `val` of a PCI_CFGREAD (an {@linkcode Offer}), and the upper
 * half of the value that answers it. Zero in both means that nothing is offered. The last five commands are splitvm's own, and go
 * only to a peer that has answered an offer. PROXY_PING is an idea of the patch series "Initial support for multi-process qemu", whose
 * merged version has none; PROXY_PONG is as long as a RET, so that whoever awaits either reads no byte of what follows.
 * DEVICE_RESTARTED tells a device that it stands in for one that was lost, with its configuration space as the guest has left it and
 * nothing else.
 *
 * @module
 */
import { LinkError } from "./link_error.ts";
import { checkGeometry, type RingGeometry } from "./ring/layout.ts";
import { MAX_SHADOW_RANGES, type ShadowLayout, type ShadowRange } from "./ring/shadow.ts";

/** What a message asks for. */
export const Command = {
  SYNC_SYSMEM: 0,
  RET: 1,
  PCI_CFGWRITE: 2,
  PCI_CFGREAD: 3,
  BAR_WRITE: 4,
  BAR_READ: 5,
  SET_IRQFD: 6,
  DEVICE_RESET: 7,
  RING_SETUP: 16,
  RING_READY: 17,
  PROXY_PING: 18,
  PROXY_PONG: 19,
  DEVICE_RESTARTED: 20,
} as const;

/** What the two ends of a link may agree upon beyond the commands of QEMU: a mark in the upper half, and a bit for each thing below. */
export const Offer = {
  NONE: 0,
  MARK: 0x73760000,
  RING: 0x00000001,
  PING: 0x00000002,
  RESTART: 0x00000004,
} as const;

/** Whether a word from a peer offers something, or takes it. @param what One of the bits of {@linkcode Offer}. */
export function offers(word: number, what: number): boolean {
  return (word & 0xffff0000) === Offer.MARK && (word & what) !== 0;
}

/** Size of a header in bytes. */
export const HEADER_SIZE = 16;

const SHADOW_RANGE_SIZE = 16;

/** Size of the largest payload in bytes, that of RING_READY. */
export const MAX_PAYLOAD = 8 + SHADOW_RANGE_SIZE * MAX_SHADOW_RANGES;

/** The most regions in a SYNC_SYSMEM: the format has room for 8, but QEMU refuses a message with 8 descriptors. */
export const MAX_REGIONS = 7;

/** Entries in each of the three arrays of a SYNC_SYSMEM. */
const REGION_SLOTS = 8;

const SIZE_AT = 8;

/** Where payload fields lie, from the start of the message. */
const Field = {
  RET_VALUE: HEADER_SIZE,
  CONFIG_ADDR: HEADER_SIZE,
  CONFIG_VAL: HEADER_SIZE + 4,
  CONFIG_LEN: HEADER_SIZE + 8,
  BAR_ADDR: HEADER_SIZE,
  BAR_VAL: HEADER_SIZE + 8,
  BAR_SIZE: HEADER_SIZE + 16,
  BAR_MEMORY: HEADER_SIZE + 20,
  GPAS: HEADER_SIZE,
  SIZES: HEADER_SIZE + 8 * REGION_SLOTS,
  OFFSETS: HEADER_SIZE + 16 * REGION_SLOTS,
  RING_LANES: HEADER_SIZE,
  RING_SLOTS: HEADER_SIZE + 4,
  PING_NUMBER: HEADER_SIZE,
  SHADOW_SIZE: HEADER_SIZE,
  SHADOW_COUNT: HEADER_SIZE + 4,
  SHADOW_RANGES: HEADER_SIZE + 8,
} as const;

/** What is fixed about a command: its name, its payload sizes, and how many descriptors go with it. */
interface CommandRule {
  readonly name: keyof typeof Command;
  readonly sizes: readonly number[];
  readonly leastDescriptors: number;
  readonly mostDescriptors: number;
}

function rule(name: keyof typeof Command, sizes: readonly number[], least = 0, most = least): CommandRule {
  return { name, sizes, leastDescriptors: least, mostDescriptors: most };
}

/** By command number; most have none. */
const RULES: readonly (CommandRule | undefined)[] = [
  rule("SYNC_SYSMEM", [192], 1, MAX_REGIONS),
  rule("RET", [8, 0]),
  rule("PCI_CFGWRITE", [12]),
  rule("PCI_CFGREAD", [12]),
  rule("BAR_WRITE", [24]),
  rule("BAR_READ", [24]),
  rule("SET_IRQFD", [0], 2),
  rule("DEVICE_RESET", [0]),
  ...new Array(Command.RING_SETUP - Command.DEVICE_RESET - 1).fill(undefined),
  rule("RING_SETUP", [8], 2),
  rule("RING_READY", [MAX_PAYLOAD], 1),
  rule("PROXY_PING", [8]),
  rule("PROXY_PONG", [8]),
  rule("DEVICE_RESTARTED", [0]),
];

/** The name of a command for messages to people; its number where it has none. */
export function commandName(command: number): string {
  return RULES[command]?.name ?? `command ${command}`;
}

/** A run of guest RAM in a SYNC_SYSMEM; its bytes are in the descriptor of the same index. */
export interface SystemMemoryRegion {
  /** Guest-physical address of the first byte. */
  readonly gpa: number;
  /** Size in bytes. */
  readonly size: number;
  /** Where the region starts in its descriptor, in bytes. */
  readonly offset: number;
}

/**
 * One message in a buffer of its own, which is used again and again: nothing is allocated to encode or decode one.
 *
 * The `set…` methods make a whole message. The properties read the bytes as they are, and mean something only for the
 * command that has the field and after {@linkcode checkHeader} and {@linkcode checkPayload}. Values of 64 bits come in
 * halves, `Low` and `High`, each an unsigned number; addresses come as one number, which is rounded above 2^53.
 */
export class Message {
  /** The bytes: the first {@linkcode length} of them are the message. */
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(HEADER_SIZE + MAX_PAYLOAD);
  readonly #view = new DataView(this.bytes.buffer);

  /** The command's number, of which {@linkcode Command} names the known ones. */
  get command(): number {
    return this.#view.getInt32(0, true);
  }

  /** Size of the payload in bytes, as the header has it. */
  get payloadSize(): number {
    return this.#u64(SIZE_AT);
  }

  /** Size of header and payload in bytes. */
  get length(): number {
    return HEADER_SIZE + this.payloadSize;
  }

  /** RET: bits 0 to 31 of the value; 0 where there is no payload. */
  get returnLow(): number {
    return this.payloadSize === 0 ? 0 : this.#view.getUint32(Field.RET_VALUE, true);
  }

  /** RET: bits 32 to 63 of the value; 0 where there is no payload. */
  get returnHigh(): number {
    return this.payloadSize === 0 ? 0 : this.#view.getUint32(Field.RET_VALUE + 4, true);
  }

  /** PCI_CFGREAD, PCI_CFGWRITE: the offset in configuration space. */
  get configAddress(): number {
    return this.#view.getUint32(Field.CONFIG_ADDR, true);
  }

  /** PCI_CFGWRITE: the value. PCI_CFGREAD: what the sender offers. */
  get configValue(): number {
    return this.#view.getUint32(Field.CONFIG_VAL, true);
  }

  /** PCI_CFGREAD, PCI_CFGWRITE: width of the access in bytes. */
  get configLength(): number {
    return this.#view.getInt32(Field.CONFIG_LEN, true);
  }

  /** BAR_READ, BAR_WRITE: the address in PCI memory or I/O space. */
  get barAddress(): number {
    return this.#u64(Field.BAR_ADDR);
  }

  /** BAR_WRITE: bits 0 to 31 of the value. */
  get barValueLow(): number {
    return this.#view.getUint32(Field.BAR_VAL, true);
  }

  /** BAR_WRITE: bits 32 to 63 of the value. */
  get barValueHigh(): number {
    return this.#view.getUint32(Field.BAR_VAL + 4, true);
  }

  /** BAR_READ, BAR_WRITE: width of the access in bytes. */
  get barSize(): number {
    return this.#view.getUint32(Field.BAR_SIZE, true);
  }

  /** BAR_READ, BAR_WRITE: 1 for memory space, 0 for I/O space. */
  get barMemory(): number {
    return this.#view.getUint8(Field.BAR_MEMORY);
  }

  /** SYNC_SYSMEM: region `index`, below {@linkcode MAX_REGIONS}. */
  region(index: number): SystemMemoryRegion {
    return {
      gpa: this.#u64(Field.GPAS + 8 * index),
      size: this.#u64(Field.SIZES + 8 * index),
      offset: this.#u64(Field.OFFSETS + 8 * index),
    };
  }

  /** RING_SETUP: what was agreed upon about the ring. Not checked. */
  get ringGeometry(): RingGeometry {
    return {
      lanes: this.#view.getUint32(Field.RING_LANES, true),
      slots: this.#view.getUint32(Field.RING_SLOTS, true),
    };
  }

  /** PROXY_PING: its number. PROXY_PONG: that of the ping that it answers. */
  get pingNumber(): number {
    return this.#view.getUint32(Field.PING_NUMBER, true);
  }

  /** RING_READY: how many ranges there are. */
  get shadowCount(): number {
    return this.#view.getUint32(Field.SHADOW_COUNT, true);
  }

  /** RING_READY: what is in the shadow. Only the count is checked. */
  get shadowLayout(): ShadowLayout {
    return {
      size: this.#view.getUint32(Field.SHADOW_SIZE, true),
      ranges: Array.from({ length: this.shadowCount }, (_, i) => this.#shadowRange(i)),
    };
  }

  /**
   * Makes a SYNC_SYSMEM.
   *
   * @throws {RangeError} for no region, more than {@linkcode MAX_REGIONS}, or one that is no range.
   */
  setSyncSysmem(regions: readonly SystemMemoryRegion[]): void {
    if (regions.length === 0 || regions.length > MAX_REGIONS) {
      throw new RangeError(`SYNC_SYSMEM takes 1 to ${MAX_REGIONS} regions, not ${regions.length}`);
    }
    this.#begin(Command.SYNC_SYSMEM, 192);
    this.bytes.fill(0, HEADER_SIZE, HEADER_SIZE + 192);
    regions.forEach(({ gpa, size, offset }, i) => {
      this.#setU64(Field.GPAS + 8 * i, gpa);
      this.#setU64(Field.SIZES + 8 * i, size);
      this.#setU64(Field.OFFSETS + 8 * i, offset);
    });
  }

  /** Makes a RET with a value of 64 bits. */
  setReturn(low: number, high = 0): void {
    this.#begin(Command.RET, 8);
    this.#view.setUint32(Field.RET_VALUE, low, true);
    this.#view.setUint32(Field.RET_VALUE + 4, high, true);
  }

  /** Makes a RET without a value: the answer to DEVICE_RESET. */
  setEmptyReturn(): void {
    this.#begin(Command.RET, 0);
  }

  /** Makes a PCI_CFGREAD of `length` bytes. @param offer What the sender offers; see the module. @default {0} */
  setConfigRead(address: number, length: number, offer = 0): void {
    this.#setConfig(Command.PCI_CFGREAD, address, length, offer);
  }

  /** Makes a PCI_CFGWRITE of `length` bytes. */
  setConfigWrite(address: number, length: number, value: number): void {
    this.#setConfig(Command.PCI_CFGWRITE, address, length, value);
  }

  /** Makes a BAR_READ of `size` bytes at an address of memory or I/O space. */
  setBarRead(address: number, size: number, memory: boolean): void {
    this.#setBar(Command.BAR_READ, address, size, memory, 0, 0);
  }

  /** Makes a BAR_WRITE of `size` bytes at an address of memory or I/O space. */
  setBarWrite(address: number, size: number, memory: boolean, low: number, high = 0): void {
    this.#setBar(Command.BAR_WRITE, address, size, memory, low, high);
  }

  /** Makes a SET_IRQFD. */
  setIrqFd(): void {
    this.#begin(Command.SET_IRQFD, 0);
  }

  /** Makes a DEVICE_RESET. */
  setDeviceReset(): void {
    this.#begin(Command.DEVICE_RESET, 0);
  }

  /** Makes a DEVICE_RESTARTED. */
  setDeviceRestarted(): void {
    this.#begin(Command.DEVICE_RESTARTED, 0);
  }

  /** Makes a RING_SETUP. */
  setRingSetup({ lanes, slots }: RingGeometry): void {
    this.#begin(Command.RING_SETUP, 8);
    this.#view.setUint32(Field.RING_LANES, lanes, true);
    this.#view.setUint32(Field.RING_SLOTS, slots, true);
  }

  /** Makes a RING_READY. @throws {RangeError} for more than {@linkcode MAX_SHADOW_RANGES} ranges. */
  setRingReady({ size, ranges }: ShadowLayout): void {
    if (ranges.length > MAX_SHADOW_RANGES) throw new RangeError(`${ranges.length} ranges do not fit a RING_READY`);
    this.#begin(Command.RING_READY, MAX_PAYLOAD);
    this.bytes.fill(0, HEADER_SIZE);
    this.#view.setUint32(Field.SHADOW_SIZE, size, true);
    this.#view.setUint32(Field.SHADOW_COUNT, ranges.length, true);
    ranges.forEach(({ space, offset, length, at }, i) => {
      const start = Field.SHADOW_RANGES + SHADOW_RANGE_SIZE * i;
      [space, offset, length, at].forEach((word, j) => this.#view.setUint32(start + 4 * j, word, true));
    });
  }

  /** Makes a PROXY_PING. @param number 32 bits, for the answer to tell which ping it is for. */
  setPing(number: number): void {
    this.#setNumber(Command.PROXY_PING, number);
  }

  /** Makes the PROXY_PONG that answers the ping of that number. */
  setPong(number: number): void {
    this.#setNumber(Command.PROXY_PONG, number);
  }

  #setNumber(command: number, number: number): void {
    this.#begin(command, 8);
    this.#view.setUint32(Field.PING_NUMBER, number, true);
    this.#view.setUint32(Field.PING_NUMBER + 4, 0, true);
  }

  #shadowRange(index: number): ShadowRange {
    const word = (i: number) => this.#view.getUint32(Field.SHADOW_RANGES + SHADOW_RANGE_SIZE * index + 4 * i, true);
    return { space: word(0), offset: word(1), length: word(2), at: word(3) };
  }

  #setConfig(command: number, address: number, length: number, value: number): void {
    this.#begin(command, 12);
    this.#view.setUint32(Field.CONFIG_ADDR, address, true);
    this.#view.setUint32(Field.CONFIG_VAL, value, true);
    this.#view.setInt32(Field.CONFIG_LEN, length, true);
  }

  #setBar(command: number, address: number, size: number, memory: boolean, low: number, high: number): void {
    this.#begin(command, 24);
    this.#setU64(Field.BAR_ADDR, address);
    this.#view.setUint32(Field.BAR_VAL, low, true);
    this.#view.setUint32(Field.BAR_VAL + 4, high, true);
    this.#view.setUint32(Field.BAR_SIZE, size, true);
    this.#view.setUint32(Field.BAR_MEMORY, memory ? 1 : 0, true);
  }

  #begin(command: number, payloadSize: number): void {
    this.#view.setInt32(0, command, true);
    this.#view.setUint32(4, 0, true);
    this.#view.setUint32(SIZE_AT, payloadSize, true);
    this.#view.setUint32(SIZE_AT + 4, 0, true);
  }

  #u64(at: number): number {
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 0x100000000;
  }

  #setU64(at: number, value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not an address or size`);
    this.#view.setUint32(at, value, true);
    this.#view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
  }
}

/** A choice in words: `1, 2 or 4`. */
function oneOf(values: readonly number[]): string {
  return values.length === 1 ? `${values[0]}` : `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
}

/**
 * Checks a header, and the descriptors that came with it. Passing means that the payload fits a {@linkcode Message}.
 *
 * @param descriptors How many came.
 * @throws {LinkError} when the command is unknown, or has another payload size or another number of descriptors.
 */
export function checkHeader(message: Message, descriptors: number): void {
  const rule = RULES[message.command];
  if (rule === undefined) throw new LinkError(`unknown command ${message.command}`);
  if (!rule.sizes.includes(message.payloadSize)) {
    throw new LinkError(`${rule.name}: payload of ${message.payloadSize} bytes, not ${oneOf(rule.sizes)}`);
  }
  const { leastDescriptors: least, mostDescriptors: most } = rule;
  if (descriptors < least || descriptors > most) {
    const came = `${descriptors} descriptor${descriptors === 1 ? "" : "s"}`;
    throw new LinkError(`${rule.name}: ${came}, not ${least === most ? least : `${least} to ${most}`}`);
  }
}

/**
 * Checks the fields of a payload whose header {@linkcode checkHeader} has passed.
 *
 * @param descriptors How many came with the message: the number of regions in a SYNC_SYSMEM.
 * @throws {LinkError} when a field has a value that the format does not allow.
 */
export function checkPayload(message: Message, descriptors: number): void {
  switch (message.command) {
    case Command.PCI_CFGREAD:
    case Command.PCI_CFGWRITE:
      return checkConfig(message);
    case Command.BAR_READ:
    case Command.BAR_WRITE:
      return checkBar(message);
    case Command.SYNC_SYSMEM:
      return checkRegions(message, descriptors);
    case Command.RING_SETUP:
      return checkRing(message);
    case Command.RING_READY:
      return checkShadow(message);
  }
}

function checkRing(message: Message): void {
  try {
    checkGeometry(message.ringGeometry);
  } catch (error) {
    throw new LinkError(`RING_SETUP: ${(error as Error).message}`);
  }
}

/** What the ranges are is for the one to check who knows the device's BARs. */
function checkShadow(message: Message): void {
  const count = message.shadowCount;
  if (count > MAX_SHADOW_RANGES) throw new LinkError(`RING_READY: ${count} ranges; ${MAX_SHADOW_RANGES} are the most`);
}

function checkConfig(message: Message): void {
  const length = message.configLength;
  if (length !== 1 && length !== 2 && length !== 4) {
    throw new LinkError(`${commandName(message.command)}: len is ${length}, not 1, 2 or 4`);
  }
}

function checkBar(message: Message): void {
  const size = message.barSize;
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8) {
    throw new LinkError(`${commandName(message.command)}: size is ${size}, not 1, 2, 4 or 8`);
  }
  if (message.barMemory > 1) {
    throw new LinkError(`${commandName(message.command)}: memory is ${message.barMemory}, not 0 or 1`);
  }
}

function checkRegions(message: Message, count: number): void {
  for (let i = 0; i < count; i++) {
    const { gpa, size, offset } = message.region(i);
    for (const [name, value] of [["gpas", gpa], ["sizes", size], ["offsets", offset]] as const) {
      if (!Number.isSafeInteger(value)) {
        throw new LinkError(`SYNC_SYSMEM: ${name}[${i}] is 0x${value.toString(16)}, above 2^53 - 1`);
      }
    }
    if (size === 0) throw new LinkError(`SYNC_SYSMEM: sizes[${i}] is 0`);
    if (!Number.isSafeInteger(gpa + size)) {
      throw new LinkError(`SYNC_SYSMEM: region ${i} ends at 0x${(gpa + size).toString(16)}, above 2^53 - 1`);
    }
    if (!Number.isSafeInteger(offset + size)) {
      throw new LinkError(`SYNC_SYSMEM: region ${i} ends at offset 0x${(offset + size).toString(16)}, above 2^53 - 1`);
    }
  }
}
