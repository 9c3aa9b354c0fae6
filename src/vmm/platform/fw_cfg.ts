/**
 * QEMU's firmware configuration device, fw_cfg (QEMU, docs/specs/fw_cfg.rst), as the x86 machines have it.
 *
 * | port        | access       | meaning                                                                  |
 * | ----------- | ------------ | ------------------------------------------------------------------------ |
 * | 0x510       | write 16     | selector: which item; the data offset goes to 0                          |
 * | 0x511       | read 8       | data: the item's next byte; 0 beyond its end                             |
 * | 0x514-0x517 | r/w 32       | DMA address, upper half, big-endian                                      |
 * | 0x518-0x51b | r/w 32       | DMA address, lower half, big-endian; a write starts the transfer         |
 *
 * Reading the DMA address gives the signature "QEMU CFG". No item can be written by the guest, which the specification leaves
 * to the host: a DMA write ends with the error bit.
 *
 * @module
 */
import { allOnes } from "../../device/config_space.ts";
import { defineState, type StateRecord, type StateValues } from "../../device/state.ts";
import type { GuestMemory } from "../../device/guest_memory.ts";
import type { FwCfgItems } from "./fw_cfg_items.ts";
import type { BusDevice, PlatformHost } from "./platform.ts";

/** Ports from the selector to the end of the DMA address. */
export const FW_CFG_PORT_COUNT = 12;

/** Offsets from the first port. */
const Register = { SELECTOR: 0, DATA: 1, DMA_HIGH: 4, DMA_LOW: 8 } as const;

/** Selector bit 14 asks for write access, which nothing has; bit 15 (architecture specific) is part of the key. */
const KEY_MASK = 0xbfff;

/** FWCfgDmaAccess.control. */
const Control = { ERROR: 0x01, READ: 0x02, SKIP: 0x04, SELECT: 0x08, WRITE: 0x10, KEY_SHIFT: 16 } as const;

/** struct FWCfgDmaAccess, all fields big-endian: u32 control, u32 length, u64 address. */
const DmaAccess = { CONTROL: 0, LENGTH: 4, ADDRESS_HIGH: 8, ADDRESS_LOW: 12, SIZE: 16 } as const;

/** "QEMU CFG", the halves as a little-endian port read sees their big-endian bytes. */
const SIGNATURE_HIGH = 0x554d_4551;
const SIGNATURE_LOW = 0x4746_4320;

const fields = { key: "u16", offset: "u32", dmaHigh: "u32" } as const;

/** The selected item, the data offset, and the half of a DMA address that has been written. */
export const FwCfgState = defineState("fw-cfg", 1, fields);

/** A record of {@linkcode FwCfgState}. */
export type FwCfgStateRecord = StateValues<typeof fields> & StateRecord;

/** What a {@linkcode FwCfg} is made of. */
export interface FwCfgOptions {
  readonly state: FwCfgStateRecord;
  readonly host: PlatformHost;
  readonly memory: GuestMemory;
  /** What the guest can read; see `FwCfgBuilder`. */
  readonly items: FwCfgItems;
}

const NOTHING = new Uint8Array(0);

/** The fw_cfg ports. */
export class FwCfg implements BusDevice {
  readonly #state: FwCfgStateRecord;
  readonly #host: PlatformHost;
  readonly #memory: GuestMemory;
  readonly #items: FwCfgItems;

  constructor({ state, host, memory, items }: FwCfgOptions) {
    this.#state = state;
    this.#host = host;
    this.#memory = memory;
    this.#items = items;
  }

  reset(): void {
    this.#select(0);
    this.#state.dmaHigh = 0;
  }

  read(offset: number, size: number): number {
    if (offset === Register.DATA && size === 1) return this.#readData();
    if (offset === Register.DMA_HIGH && size === 4) return SIGNATURE_HIGH;
    if (offset === Register.DMA_LOW && size === 4) return SIGNATURE_LOW;
    return allOnes(size);
  }

  write(offset: number, size: number, value: number): void {
    if (offset === Register.SELECTOR && size === 2) this.#select(value);
    else if (offset === Register.DMA_HIGH && size === 4) this.#state.dmaHigh = swap32(value);
    else if (offset === Register.DMA_LOW && size === 4) this.#startDma(swap32(value));
  }

  #item(): Uint8Array {
    return this.#items.get(this.#state.key) ?? NOTHING;
  }

  #select(key: number): void {
    this.#state.key = key & KEY_MASK;
    this.#state.offset = 0;
  }

  #readData(): number {
    const item = this.#item();
    return this.#state.offset < item.length ? item[this.#state.offset++] : 0;
  }

  #startDma(low: number): void {
    const address = this.#state.dmaHigh * 2 ** 32 + low;
    this.#state.dmaHigh = 0;
    const access = new Uint8Array(DmaAccess.SIZE);
    if (!this.#memory.read(address, access)) {
      this.#host.warnOnce("fw_cfg: the address of a DMA transfer's description is not in RAM");
      return;
    }
    const view = new DataView(access.buffer);
    const failed = !this.#transfer(
      view.getUint32(DmaAccess.CONTROL),
      view.getUint32(DmaAccess.LENGTH),
      view.getUint32(DmaAccess.ADDRESS_HIGH) * 2 ** 32 + view.getUint32(DmaAccess.ADDRESS_LOW),
    );
    view.setUint32(DmaAccess.CONTROL, failed ? Control.ERROR : 0);
    this.#memory.write(address + DmaAccess.CONTROL, access.subarray(DmaAccess.CONTROL, DmaAccess.LENGTH));
  }

  /** Read goes before write, and write before skip. Whether it succeeded. */
  #transfer(control: number, length: number, address: number): boolean {
    if (control & Control.SELECT) this.#select(control >>> Control.KEY_SHIFT);
    if (control & Control.READ) return this.#readTo(address, length);
    if (control & Control.WRITE) {
      this.#host.warnOnce("fw_cfg: the guest tried to write an item");
      return false;
    }
    if (control & Control.SKIP) this.#advance(length);
    return true;
  }

  /** Bytes beyond the item's end read as zero. Nothing is written unless all of the target is RAM. */
  #readTo(address: number, length: number): boolean {
    if (length === 0) return true;
    if (!this.#memory.contains(address, length)) {
      this.#host.warnOnce("fw_cfg: a DMA transfer reaches outside RAM");
      return false;
    }
    const { offset } = this.#state;
    const part = this.#item().subarray(offset, offset + length);
    this.#memory.write(address, part);
    this.#clear(address + part.length, length - part.length);
    this.#advance(length);
    return true;
  }

  /** Fills with zeros in place: a guest may ask for gigabytes of them, and they cost no memory of ours. */
  #clear(address: number, length: number): void {
    for (const { gpa, bytes } of this.#memory.regions) {
      const start = Math.max(address, gpa);
      const end = Math.min(address + length, gpa + bytes.length);
      if (start < end) bytes.fill(0, start - gpa, end - gpa);
    }
  }

  #advance(length: number): void {
    this.#state.offset = Math.min(this.#state.offset + length, this.#item().length);
  }
}

function swap32(value: number): number {
  return (value >>> 24 | (value >>> 8 & 0xff00) | (value & 0xff00) << 8 | value << 24) >>> 0;
}
