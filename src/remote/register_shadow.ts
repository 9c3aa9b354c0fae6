/**
 * The shadow of a device's registers, as its host hands it out: one memory file for all that the device asks for.
 *
 * @module
 */
import type { ShadowedRegisters } from "../device/pci_device.ts";
import { closeFd } from "../ffi/file.ts";
import { Space } from "../link/ring/layout.ts";
import { createShadowMemory, type SharedMemory } from "../link/ring/memory.ts";
import { checkShadowLayout, MAX_SHADOW_SIZE, type ShadowLayout, type ShadowRange } from "../link/ring/shadow.ts";

const PAGE_SIZE = 4096;

/** Memory of one device that its peer can read. The file has the largest size that there is; pages that are not used take no memory. */
export class RegisterShadow {
  readonly #ranges: ShadowRange[] = [];
  #memory: SharedMemory | undefined;
  #used = 0;
  #closed = false;

  /**
   * See `DeviceHost.shadow`.
   *
   * @throws {RangeError} when there is no room for it, or a range does not lie in it.
   */
  allocate(size: number, ranges: readonly ShadowedRegisters[]): Uint8Array {
    const at = this.#used;
    if (!Number.isInteger(size) || size <= 0 || size % 4 !== 0 || at + size > MAX_SHADOW_SIZE) {
      throw new RangeError(`A shadow of ${size} bytes cannot be had; ${MAX_SHADOW_SIZE - at} are left`);
    }
    for (const range of ranges) {
      if (!(range.at >= 0 && range.at + range.length <= size)) {
        throw new RangeError(`${range.length} registers at ${range.at} do not lie in a shadow of ${size} bytes`);
      }
      this.#ranges.push({ ...range, space: spaceOf(range.bar), at: at + range.at });
    }
    this.#used += size;
    return this.#shared.mapping.bytes.subarray(at, at + size);
  }

  /** What lies where: whole pages, and at least one, since nothing less can be mapped. */
  get layout(): ShadowLayout {
    return { size: Math.ceil(Math.max(this.#used, 1) / PAGE_SIZE) * PAGE_SIZE, ranges: this.#ranges };
  }

  /** The memory file, for the peer. It is open until {@linkcode close}. */
  get fd(): number {
    return this.#shared.fd;
  }

  /**
   * Makes sure that a peer will take the layout.
   *
   * @param spaces See `checkShadowLayout`.
   * @throws {TypeError} when it will not: a defect of the device.
   */
  check(spaces: readonly number[]): void {
    try {
      checkShadowLayout(this.layout, spaces);
    } catch (cause) {
      throw new TypeError("The device has declared a shadow that it cannot have", { cause });
    }
  }

  /** Takes the memory away: to be called when nothing uses it any more. Calling it again does nothing. */
  close(): void {
    this.#closed = true;
    if (this.#memory === undefined) return;
    closeFd(this.#memory.fd);
    this.#memory.mapping.unmap();
    this.#memory = undefined;
  }

  get #shared(): SharedMemory {
    if (this.#closed) throw new TypeError("A shadow was used after it was closed");
    return this.#memory ??= createShadowMemory(MAX_SHADOW_SIZE);
  }
}

function spaceOf(bar: number | "config"): number {
  return bar === "config" ? Space.CONFIG : Space.BAR0 + bar;
}
