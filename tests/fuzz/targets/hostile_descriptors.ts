/**
 * Descriptors of all kinds, for a peer to send along with its messages: what is meant, and what is not.
 *
 * @module
 */
import { createDoorbell } from "../../../src/ffi/doorbell.ts";
import { createEventFd, createTimerFd } from "../../../src/ffi/event.ts";
import { createPipe, openFile, OpenFlags } from "../../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../../src/ffi/memory.ts";
import { createSocketPair } from "../../../src/ffi/socket.ts";
import { createRingMemory, createShadowMemory, type SharedMemory } from "../../../src/link/ring/memory.ts";
import type { RingGeometry } from "../../../src/link/ring/layout.ts";
import { GEOMETRY } from "../../link/ring/scribbles.ts";
import type { ByteReader } from "../engine/byte_reader.ts";

/** Which descriptor, as a byte of an input says it. */
export const DescriptorKind = {
  RAM: 0,
  SMALL_FILE: 1,
  READ_ONLY_FILE: 2,
  EVENT: 3,
  OTHER_EVENT: 4,
  TIMER: 5,
  PIPE: 6,
  SOCKET: 7,
  FOLDER: 8,
  NULL: 9,
  RING: 10,
  DOORBELL: 11,
  SHADOW: 12,
  COUNT: 13,
} as const;

/** Size of the file that is guest RAM. */
export const RAM_FILE_SIZE = 0x10000;

/** The ring's shape, if it is to be one. */
export const RING_GEOMETRY: RingGeometry = GEOMETRY;

/** Size of the shadow. */
export const SHADOW_SIZE = 4096;

/** Most descriptors of a message; 7 are allowed. */
const MOST = 9;

/** They stay open as long as the process lives: a message has its peer get another one for the same thing. */
export class HostileDescriptors {
  readonly ring: SharedMemory = createRingMemory(RING_GEOMETRY);
  /** The file that is guest RAM, as this side sees it. */
  readonly ram: Int32Array<ArrayBuffer>;
  readonly #fds: readonly number[];

  constructor() {
    const ram = createMemoryFile("fuzz-ram", RAM_FILE_SIZE);
    const { bytes } = mapFile(ram, 0, RAM_FILE_SIZE);
    this.ram = new Int32Array(bytes.buffer, bytes.byteOffset, RAM_FILE_SIZE / 4);
    const readOnly = openFile(`/proc/self/fd/${ram}`, OpenFlags.O_RDONLY);
    this.#fds = [
      ...[
        ram,
        createMemoryFile("fuzz-small", 4096, false),
        readOnly,
        createEventFd(),
        createEventFd(),
        createTimerFd(),
      ],
      ...[
        createPipe()[1],
        createSocketPair()[0],
        openFile("/", OpenFlags.O_RDONLY),
        openFile("/dev/null", OpenFlags.O_RDWR),
      ],
      ...[this.ring.fd, createDoorbell()[1], createShadowMemory(SHADOW_SIZE).fd],
    ];
  }

  /** Those that an input names: a count, and a kind for each. */
  take(input: ByteReader): number[] {
    const count = input.u8() % (MOST + 1);
    return Array.from({ length: count }, () => this.#fds[input.u8() % DescriptorKind.COUNT]);
  }
}
