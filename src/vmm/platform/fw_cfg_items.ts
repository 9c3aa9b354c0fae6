/**
 * What fw_cfg holds: numbered items, and files that a directory names (QEMU, docs/specs/fw_cfg.rst).
 *
 * @module
 */

/** Key → contents. Lies in shared memory: posting it to another thread copies no contents. */
export type FwCfgItems = ReadonlyMap<number, Uint8Array>;

/** Keys of items that are not files. Those from 0x8000 are the x86 machines' own. */
export const FwCfgKey = {
  SIGNATURE: 0x00,
  ID: 0x01,
  UUID: 0x02,
  RAM_SIZE: 0x03,
  NO_GRAPHIC: 0x04,
  CPU_COUNT: 0x05,
  BOOT_MENU: 0x0e,
  /** One more than the highest APIC ID. */
  MAX_CPUS: 0x0f,
  FILE_DIRECTORY: 0x19,
  FILE_FIRST: 0x20,
  IRQ0_OVERRIDE: 0x8002,
} as const;

/** Bits of the ID item: the register interface and the DMA interface. */
const ID = 0b11;

/** Keys below 0x4000 are generic; files are among them. */
const FILE_LIMIT = 0x4000 - FwCfgKey.FILE_FIRST;
const NAME_SIZE = 56;
const DIRECTORY_ENTRY_SIZE = 64;

/** Collects items; {@linkcode FwCfgBuilder.build} adds signature, ID and the directory. */
export class FwCfgBuilder {
  readonly #items = new Map<number, Uint8Array>();
  readonly #files = new Map<string, Uint8Array>();

  /** Sets the item `key`. */
  item(key: number, data: Uint8Array): this {
    this.#items.set(key, data);
    return this;
  }

  /** Sets the item `key` to a little-endian number of `size` bytes. */
  number(key: number, size: 2 | 4 | 8, value: number): this {
    return this.item(key, littleEndian(size, value));
  }

  /**
   * Adds a file.
   *
   * @throws {RangeError} when the name is empty, longer than 55 bytes or not printable ASCII, or there are too many files.
   * @throws {TypeError} when there is a file of that name.
   */
  file(name: string, data: Uint8Array): this {
    if (!/^[!-~]+$/.test(name) || name.length >= NAME_SIZE) {
      throw new RangeError(`fw_cfg file "${name}": a name is 1 to ${NAME_SIZE - 1} printable ASCII characters`);
    }
    if (this.#files.has(name)) throw new TypeError(`fw_cfg file "${name}" exists already`);
    if (this.#files.size >= FILE_LIMIT) throw new RangeError(`fw_cfg holds at most ${FILE_LIMIT} files`);
    this.#files.set(name, data);
    return this;
  }

  /** Adds a file that is a little-endian number, as SeaBIOS's `etc/` settings are. */
  numberFile(name: string, size: 1 | 2 | 4 | 8, value: number): this {
    return this.file(name, littleEndian(size, value));
  }

  /** Whether there is a file `name`. */
  hasFile(name: string): boolean {
    return this.#files.has(name);
  }

  /** The items, in shared memory. Files get keys by ascending name, so that equal machines have equal keys. */
  build(): FwCfgItems {
    const items = new Map(this.#items);
    items.set(FwCfgKey.SIGNATURE, new TextEncoder().encode("QEMU"));
    items.set(FwCfgKey.ID, littleEndian(4, ID));
    const files = [...this.#files].sort(([a], [b]) => a < b ? -1 : 1);
    items.set(FwCfgKey.FILE_DIRECTORY, directory(files));
    files.forEach(([_, data], index) => items.set(FwCfgKey.FILE_FIRST + index, data));
    return share(items);
  }
}

/**
 * `struct FWCfgFiles`, big-endian: u32 count, then for each file u32 size, u16 key, u16 reserved, and the NUL-padded name of 56
 * bytes.
 */
function directory(files: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const bytes = new Uint8Array(4 + files.length * DIRECTORY_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  files.forEach(([name, data], index) => {
    const at = 4 + index * DIRECTORY_ENTRY_SIZE;
    view.setUint32(at, data.length);
    view.setUint16(at + 4, FwCfgKey.FILE_FIRST + index);
    bytes.set(new TextEncoder().encode(name), at + 8);
  });
  return bytes;
}

function share(items: ReadonlyMap<number, Uint8Array>): FwCfgItems {
  let total = 0;
  for (const data of items.values()) total += data.length;
  const memory = new SharedArrayBuffer(total);
  const shared = new Map<number, Uint8Array>();
  let at = 0;
  for (const [key, data] of items) {
    const copy = new Uint8Array(memory, at, data.length);
    copy.set(data);
    shared.set(key, copy);
    at += data.length;
  }
  return shared;
}

function littleEndian(size: number, value: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = Math.floor(value / 2 ** (8 * i)) % 256;
  return bytes;
}
