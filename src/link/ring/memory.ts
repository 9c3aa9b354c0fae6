/**
 * A ring's memory and a shadow's: files in memory that a process makes for its peer, and that the peer maps only once it has made sure that
 * touching them can do it no harm.
 *
 * @module
 */
import { closeFd, fileStatus, fileSystemType } from "../../ffi/file.ts";
import { addSeals, createMemoryFile, mapFile, type Mapping, Protection, Seal, sealsOf } from "../../ffi/memory.ts";
import { LinkError } from "../link_error.ts";
import { checkHeader, initializeRing, type RingGeometry, type RingMemory, ringSize } from "./layout.ts";

/** A memory file and this process's mapping of it. */
export interface SharedMemory {
  /** For the peer; the mapping does not need it. */
  readonly fd: number;
  readonly mapping: Mapping;
}

/** The mapping of a ring as words. */
export function ringMemory({ bytes, address }: Pick<Mapping, "bytes" | "address">): RingMemory {
  return { words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2), address };
}

/** Makes the memory of an empty ring. No one can change its size, or forbid somebody to map it. */
export function createRingMemory(geometry: RingGeometry): SharedMemory {
  const ring = createSharedMemory("splitvm-ring", ringSize(geometry), Seal.SEAL);
  initializeRing(ringMemory(ring.mapping).words, geometry);
  return ring;
}

/** Makes the memory of a shadow, of whole pages. Nobody else can write to it. */
export function createShadowMemory(size: number): SharedMemory {
  return createSharedMemory("splitvm-shadow", size, Seal.FUTURE_WRITE | Seal.SEAL);
}

/**
 * Maps a ring that the peer has made.
 *
 * @param fd Stays the caller's.
 * @throws {LinkError} when it is not a ring of this geometry, or could be taken from under the mapping.
 */
export function mapRing(fd: number, geometry: RingGeometry): Mapping {
  const mapping = mapPeerMemory("ring", fd, ringSize(geometry), Protection.READ | Protection.WRITE);
  try {
    checkHeader(ringMemory(mapping).words, geometry);
  } catch (error) {
    mapping.unmap();
    throw error;
  }
  return mapping;
}

/** Maps a shadow that the peer has made; only reading is possible. See {@linkcode mapRing}. */
export function mapShadow(fd: number, size: number): Mapping {
  return mapPeerMemory("shadow", fd, size, Protection.READ);
}

function createSharedMemory(name: string, size: number, seals: number): SharedMemory {
  const fd = createMemoryFile(name, size);
  let mapping: Mapping | undefined;
  try {
    mapping = mapFile(fd, 0, size);
    // After the mapping, which FUTURE_WRITE would forbid.
    addSeals(fd, seals);
    return { fd, mapping };
  } catch (error) {
    mapping?.unmap();
    closeFd(fd);
    throw error;
  }
}

/**
 * Touching a page behind the end of a file ends a process by SIGBUS, and so does one of a file of huge pages when there are none left. So
 * the file has to be sealed against becoming shorter, and of ordinary pages.
 */
function mapPeerMemory(what: string, fd: number, size: number, protection: number): Mapping {
  const seals = attempt(`${what}: the descriptor is not one of a memory file`, () => sealsOf(fd));
  if ((seals & Seal.SHRINK) === 0) {
    throw new LinkError(`${what}: the memory file is not sealed against becoming smaller`);
  }
  if (fileSystemType(fd) !== TMPFS_MAGIC) throw new LinkError(`${what}: the memory file is made of huge pages`);
  const found = fileStatus(fd).size;
  if (found < size) throw new LinkError(`${what}: the memory file has ${found} bytes, not ${size}`);
  return attempt(`${what}: the memory file cannot be mapped`, () => mapFile(fd, 0, size, protection));
}

/** Where memory files of ordinary pages are (linux/magic.h). */
const TMPFS_MAGIC = 0x01021994;

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new LinkError(what, "protocol", { cause });
  }
}
