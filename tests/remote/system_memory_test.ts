import { assert, assertEquals, assertThrows } from "@std/assert";
import { createEventFd } from "../../src/ffi/event.ts";
import { closeFd, duplicateFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../src/ffi/memory.ts";
import { LinkError } from "../../src/link/link_error.ts";
import type { SystemMemoryRegion } from "../../src/link/message.ts";
import { SystemMemory } from "../../src/remote/system_memory.ts";
import { leakingNothing } from "../support/leaks.ts";

const MIB = 0x100000;

/** A memory file whose every byte holds the number of its page, and the bytes themselves. */
function withMemory(body: (memory: SystemMemory, file: number, bytes: Uint8Array) => void): () => void {
  return leakingNothing(() => {
    const file = createMemoryFile("test", MIB);
    const mapping = mapFile(file, 0, MIB);
    for (let page = 0; page < MIB / 4096; page++) mapping.bytes.fill(page, page * 4096, (page + 1) * 4096);
    const memory = new SystemMemory();
    try {
      body(memory, file, mapping.bytes);
    } finally {
      memory.close();
      mapping.unmap();
      closeFd(file);
    }
  });
}

function region(gpa: number, size: number, offset = 0): SystemMemoryRegion {
  return { gpa, size, offset };
}

function read(memory: SystemMemory, address: number): number | undefined {
  const byte = new Uint8Array(1);
  return memory.memory.read(address, byte) ? byte[0] : undefined;
}

/** Announces regions of one file; each descriptor is a duplicate, as if it had been received. */
function sync(memory: SystemMemory, file: number, ...regions: SystemMemoryRegion[]): void {
  memory.sync(regions, regions.map(() => duplicateFd(file)));
}

function refused(memory: SystemMemory, file: number, why: string, ...regions: SystemMemoryRegion[]): void {
  const error = assertThrows(() => sync(memory, file, ...regions), LinkError) as LinkError;
  assertEquals(error.message, why);
}

Deno.test(
  "regions show their part of their file at their address",
  withMemory((memory, file, bytes) => {
    sync(memory, file, region(0, 0xa000), region(0x10_0000, 0x1000, 0xf000), region(0x1_0000_0000, 0x2000, 0x20000));
    assertEquals([0x9fff, 0x10_0000, 0x1_0000_1000].map((at) => read(memory, at)), [9, 0xf, 0x21]);
    assertEquals([0xa000, 0xf_ffff, 0x10_1000, 0x1_0000_2000].map((at) => read(memory, at)), Array(4).fill(undefined));
    assert(memory.memory.write(0x1_0000_0000, Uint8Array.of(0xcd)));
    assertEquals(bytes[0x20000], 0xcd);
  }),
);

Deno.test(
  "a transfer may cross from one region into the next",
  withMemory((memory, file) => {
    sync(memory, file, region(0x1000, 0x1000, 0x5000), region(0x2000, 0x1000, 0x9000));
    const bytes = new Uint8Array(2);
    assert(memory.memory.read(0x1fff, bytes));
    assertEquals([...bytes], [5, 9]);
  }),
);

Deno.test(
  "an announcement replaces all of RAM",
  withMemory((memory, file) => {
    sync(memory, file, region(0, 0x1000), region(0x8000, 0x1000, 0x3000));
    sync(memory, file, region(0x8000, 0x1000, 0x4000));
    assertEquals([read(memory, 0), read(memory, 0x8000)], [undefined, 4]);
  }),
);

Deno.test(
  "a part that is announced again keeps its mapping, wherever it is",
  withMemory((memory, file) => {
    sync(memory, file, region(0, 0x2000, 0x1000));
    const bytes = memory.memory.regions[0].bytes;
    sync(memory, file, region(0x4000, 0x2000, 0x1000), region(0x8000, 0x1000, 0x3000));
    assert(memory.memory.regions[0].bytes === bytes);
    assertEquals([read(memory, 0x4000), read(memory, 0x8000)], [1, 3]);
    sync(memory, file, region(0x4000, 0x1000, 0x1000));
    assert(memory.memory.regions[0].bytes !== bytes);
  }),
);

Deno.test(
  "one part of a file may be at two addresses",
  withMemory((memory, file) => {
    for (let i = 0; i < 2; i++) {
      sync(memory, file, region(0, 0x1000, 0x7000), region(0x1000, 0x1000, 0x7000));
      assertEquals([read(memory, 0), read(memory, 0x1000)], [7, 7]);
    }
  }),
);

Deno.test(
  "a region that cannot be had leaves all of RAM as it was",
  withMemory((memory, file) => {
    sync(memory, file, region(0, 0x1000, 0x6000));
    const good = region(0x10000, 0x1000);
    refused(memory, file, "SYNC_SYSMEM: regions 0 and 1 overlap", region(0, 0x2000), region(0x1000, 0x1000));
    refused(memory, file, "SYNC_SYSMEM: regions 0 and 2 overlap", region(0x2000, 0x1000), good, region(0x1000, 0x1001));
    refused(
      memory,
      file,
      "SYNC_SYSMEM: region 1 starts at offset 0x800, not at a page",
      good,
      region(0, 0x1000, 0x800),
    );
    refused(
      memory,
      file,
      "SYNC_SYSMEM: region 1 ends at offset 0x101000, beyond its file's 0x100000",
      good,
      region(0, 0x2000, 0xff000),
    );
    assertEquals([read(memory, 0), read(memory, 0x10000)], [6, undefined]);
  }),
);

Deno.test(
  "what is no memory file, or cannot be written, is refused",
  withMemory((memory, file) => {
    const eventFd = createEventFd();
    refused(memory, eventFd, "SYNC_SYSMEM: region 0 is not in a memory file", region(0, 0x1000));
    closeFd(eventFd);
    const readOnly = openFile(`/proc/self/fd/${file}`, OpenFlags.O_RDONLY);
    refused(memory, readOnly, "SYNC_SYSMEM: region 0 cannot be mapped", region(0, 0x1000));
    closeFd(readOnly);
  }),
);

Deno.test(
  "after close there is no RAM",
  withMemory((memory, file) => {
    sync(memory, file, region(0, 0x1000));
    memory.close();
    assertEquals(read(memory, 0), undefined);
  }),
);
