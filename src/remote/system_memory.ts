/**
 * The guest's RAM in a device process: what SYNC_SYSMEM announced, mapped.
 *
 * A peer is not trusted with more than its own guest's life. A region that does not lie in its file as a whole is
 * refused, since touching it would end this process by SIGBUS. A peer that shortens the file afterwards can still do
 * that to this process, and so to whatever else it serves; memory files that are sealed against it (QEMU's memory-backend-memfd, and splitvm's) cannot
 * be shortened.
 *
 * @module
 */
import { GuestMemory } from "../device/guest_memory.ts";
import { fileStatus, FileType } from "../ffi/file.ts";
import { mapFile, type Mapping } from "../ffi/memory.ts";
import { closeAll } from "../ffi/socket.ts";
import { LinkError } from "../link/link_error.ts";
import type { SystemMemoryRegion } from "../link/message.ts";

const PAGE_SIZE = 4096;

/** A mapped part of a file; the mapping keeps the file, and so its inode number, in use. */
interface MappedPart {
  readonly device: bigint;
  readonly inode: bigint;
  readonly offset: number;
  readonly mapping: Mapping;
}

/** Guest RAM that follows the peer's announcements. */
export class SystemMemory {
  /** What devices reach. Views of it do not outlive the next {@linkcode sync}. */
  readonly memory: GuestMemory = new GuestMemory();
  #parts: readonly MappedPart[] = [];

  /**
   * Replaces all of RAM by these regions. A part of a file that was mapped before and is announced again stays mapped:
   * a guest that moves a BAR makes its VMM announce all of RAM again.
   *
   * @param descriptors The file of each region; closed on return, whatever happens.
   * @throws {LinkError} when a region cannot be had; RAM is then as it was.
   */
  sync(regions: readonly SystemMemoryRegion[], descriptors: readonly number[]): void {
    const parts: MappedPart[] = [];
    try {
      checkDisjoint(regions);
      regions.forEach((region, i) => parts.push(this.#map(i, region, descriptors[i])));
    } catch (error) {
      unmapAllBut(this.#parts, parts);
      throw error;
    } finally {
      closeAll(descriptors);
    }
    this.memory.replace(regions.map(({ gpa }, i) => ({ gpa, bytes: parts[i].mapping.bytes })));
    unmapAllBut(parts, this.#parts);
    this.#parts = parts;
  }

  /** Unmaps everything; there is no RAM then. */
  close(): void {
    this.memory.replace([]);
    unmapAllBut([], this.#parts);
    this.#parts = [];
  }

  #map(index: number, { size, offset }: SystemMemoryRegion, fd: number): MappedPart {
    const problem = (what: string, cause?: unknown) =>
      new LinkError(`SYNC_SYSMEM: region ${index} ${what}`, "protocol", { cause });
    if (offset % PAGE_SIZE !== 0) throw problem(`starts at offset 0x${offset.toString(16)}, not at a page`);
    const file = fileStatus(fd);
    if ((file.mode & FileType.MASK) !== FileType.REGULAR) throw problem("is not in a memory file");
    if (offset + size > file.size) {
      throw problem(`ends at offset 0x${(offset + size).toString(16)}, beyond its file's 0x${file.size.toString(16)}`);
    }
    const known = this.#parts.find((part) =>
      part.inode === file.inode && part.device === file.device && part.offset === offset &&
      part.mapping.bytes.length === size
    );
    if (known !== undefined) return known;
    try {
      return { device: file.device, inode: file.inode, offset, mapping: mapFile(fd, offset, size) };
    } catch (error) {
      throw problem("cannot be mapped", error);
    }
  }
}

function checkDisjoint(regions: readonly SystemMemoryRegion[]): void {
  const sorted = regions.toSorted((a, b) => a.gpa - b.gpa);
  for (let i = 1; i < sorted.length; i++) {
    const { gpa, size } = sorted[i - 1];
    if (gpa + size > sorted[i].gpa) {
      const [a, b] = [regions.indexOf(sorted[i - 1]), regions.indexOf(sorted[i])].sort();
      throw new LinkError(`SYNC_SYSMEM: regions ${a} and ${b} overlap`);
    }
  }
}

function unmapAllBut(kept: readonly MappedPart[], parts: readonly MappedPart[]): void {
  for (const part of parts) if (!kept.includes(part)) part.mapping.unmap();
}
