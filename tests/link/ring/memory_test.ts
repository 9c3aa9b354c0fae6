import { assertEquals, assertThrows } from "@std/assert";
import { closeFd, openFile, OpenFlags } from "../../../src/ffi/file.ts";
import { addSeals, createMemoryFile, mapFile, Protection, Seal, sealsOf } from "../../../src/ffi/memory.ts";
import { SyscallError } from "../../../src/ffi/errno.ts";
import { LinkError } from "../../../src/link/link_error.ts";
import {
  createRingMemory,
  createShadowMemory,
  mapRing,
  mapShadow,
  ringMemory,
  type SharedMemory,
} from "../../../src/link/ring/memory.ts";
import { ShadowReader } from "../../../src/link/ring/shadow.ts";
import { Lane, laneAt, ringSize } from "../../../src/link/ring/layout.ts";
import { leakingNothing } from "../../support/leaks.ts";

const GEOMETRY = { lanes: 2, slots: 64 };

function withMemory(make: () => SharedMemory, body: (memory: SharedMemory) => void): () => void {
  return leakingNothing(() => {
    const memory = make();
    try {
      body(memory);
    } finally {
      memory.mapping.unmap();
      closeFd(memory.fd);
    }
  });
}

function withFile(make: () => number, body: (fd: number) => void): () => void {
  return leakingNothing(() => {
    const fd = make();
    try {
      body(fd);
    } finally {
      closeFd(fd);
    }
  });
}

function refusal(attempt: () => unknown): string {
  return (assertThrows(attempt, LinkError) as LinkError).message;
}

Deno.test(
  "both sides of a ring see the same words",
  withMemory(() => createRingMemory(GEOMETRY), ({ fd, mapping }) => {
    const peer = mapRing(fd, GEOMETRY);
    const tail = laneAt(1, GEOMETRY) + Lane.TAIL;
    Atomics.store(ringMemory(mapping).words, tail, 0x7fffffff);
    assertEquals(Atomics.load(ringMemory(peer).words, tail), 0x7fffffff);
    peer.unmap();
  }),
);

Deno.test(
  "nobody can shorten a ring, or forbid others to map it",
  withMemory(() => createRingMemory(GEOMETRY), ({ fd }) => {
    assertEquals(sealsOf(fd), Seal.SEAL | Seal.SHRINK | Seal.GROW);
    assertThrows(() => addSeals(fd, Seal.FUTURE_WRITE), SyscallError, "EPERM");
  }),
);

Deno.test(
  "a shadow is written through the mapping that is there, and through no other",
  withMemory(() => createShadowMemory(4096), ({ fd, mapping }) => {
    assertThrows(() => mapFile(fd, 0, 4096, Protection.READ | Protection.WRITE), SyscallError, "EPERM");
    const peer = mapShadow(fd, 4096);
    mapping.bytes[5] = 0xa5;
    assertEquals(peer.bytes[5], 0xa5);
    peer.unmap();
  }),
);

Deno.test(
  "a shadow is read in all widths where only reading is possible, also by compiled code",
  withMemory(() => createShadowMemory(4096), ({ fd, mapping }) => {
    const ranges = [{ space: 1, offset: 0, length: 256, at: 0x100 }];
    const peer = mapShadow(fd, 4096);
    const reader = new ShadowReader(peer.bytes, ranges);
    mapping.bytes.fill(0x01, 0x108, 0x10c);
    let sum = 0;
    for (let i = 0; i < 100_000; i++) {
      for (const size of [1, 2, 4] as const) sum += reader.read(reader.find(1, 8, size), size);
    }
    assertEquals(sum, 100_000 * (0x01 + 0x0101 + 0x01010101));
    peer.unmap();
  }),
);

Deno.test(
  "a ring that its maker could shorten is refused",
  withFile(() => createMemoryFile("test", ringSize(GEOMETRY), false), (fd) => {
    assertEquals(
      refusal(() => mapRing(fd, GEOMETRY)),
      "ring: the memory file is not sealed against becoming smaller",
    );
  }),
);

Deno.test(
  "a ring that is too small is refused",
  withFile(() => createMemoryFile("test", 4096), (fd) => {
    const line = `ring: the memory file has 4096 bytes, not ${ringSize(GEOMETRY)}`;
    assertEquals(refusal(() => mapRing(fd, GEOMETRY)), line);
  }),
);

Deno.test(
  "memory that is no ring is refused, and not kept",
  withFile(() => createMemoryFile("test", ringSize(GEOMETRY)), (fd) => {
    assertEquals(refusal(() => mapRing(fd, GEOMETRY)), "ring: its magic number is 0, not 1735554675");
  }),
);

Deno.test(
  "a descriptor of something else is refused",
  withFile(() => openFile("/dev/zero", OpenFlags.O_RDWR), (fd) => {
    assertEquals(refusal(() => mapRing(fd, GEOMETRY)), "ring: the descriptor is not one of a memory file");
    assertEquals(refusal(() => mapShadow(fd, 4096)), "shadow: the descriptor is not one of a memory file");
  }),
);
