/**
 * Files and devices of this host, by every engine, through the page cache and around it.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import type { SyscallError } from "../../src/ffi/errno.ts";
import { closeFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { createMemoryFile, lastingAddress } from "../../src/ffi/memory.ts";
import { alignedBuffer } from "../../src/block/aligned_buffers.ts";
import type { Extent } from "../../src/block/block_device.ts";
import { runToEnd, type Wait, waitFor } from "../../src/block/coroutine.ts";
import type { HostFile } from "../../src/block/host_file.ts";
import { createHostFile, type HostFileOptions, openHostFile } from "../../src/block/open_host_file.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { openDescriptors, workersEnded } from "../support/leaks.ts";
import { findProgram, type Requirement, testNeeding } from "../support/requirements.ts";
import { IO_URING } from "./host_support.ts";

const loop = new EventLoop();

type Options = Omit<HostFileOptions, "loop">;

/** The ways to reach a file. */
const WAYS: readonly (Options & { readonly needs: readonly Requirement[] })[] = [
  { aio: "io_uring", cache: "writeback", needs: [IO_URING] },
  { aio: "io_uring", cache: "none", needs: [IO_URING] },
  { aio: "threads", cache: "writeback", needs: [] },
  { aio: "threads", cache: "none", needs: [] },
];

/** Where O_DIRECT works. */
const FOLDER = "/var/tmp";

function withPath(body: (path: string) => void): void {
  const path = Deno.makeTempFileSync({ dir: FOLDER, prefix: "splitvm-host-" });
  try {
    body(path);
  } finally {
    Deno.removeSync(path);
  }
}

function withFile(contents: Uint8Array, options: Options, body: (file: HostFile, path: string) => void): void {
  withPath((path) => {
    Deno.writeFileSync(path, contents);
    const file = openHostFile(path, { loop, ...options });
    try {
      body(file, path);
    } finally {
      file.close();
    }
  });
}

/** Runs a body that may start threads. */
async function endingWorkers(body: () => void): Promise<void> {
  try {
    body();
  } finally {
    await workersEnded();
  }
}

/** Registers a test for every way to reach a file of `size` bytes. */
function fileTest(name: string, size: number, body: (file: HostFile, path: string) => void): void {
  for (const { needs, ...options } of WAYS) {
    const title = `host file, aio=${options.aio}, cache=${options.cache}: ${name}`;
    testNeeding(needs, title, () => endingWorkers(() => withFile(pattern(size, 0), options, body)));
  }
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 5 + seed * 17 + 1) & 0xff);
}

function ends(start: Wait): void {
  runToEnd(loop, waitFor(start));
}

function read(file: HostFile, offset: number, length: number): Uint8Array {
  const into = new Uint8Array(length).fill(0xee);
  ends((done) => file.read(offset, into, done));
  return into;
}

fileTest("what is written is read back, at any offset and from any address", 0, (file, path) => {
  const data = pattern(100_003, 1);
  ends((done) => file.write(777, data, done));
  assertEquals(file.size, 100_780);
  assertEquals(read(file, 777, data.length), data);
  assertEquals(read(file, 0, 777), new Uint8Array(777));
  ends((done) => file.sync(done));
  assertEquals(Deno.readFileSync(path).subarray(777), data);
});

fileTest("beyond the end is nothing but zeroes", 5000, (file) => {
  assertEquals(read(file, 4990, 40), Uint8Array.from([...pattern(5000, 0).subarray(4990), ...Array(30).fill(0)]));
  assertEquals(read(file, 1_000_000, 4096), new Uint8Array(4096));
});

fileTest("a write that ends nowhere near a block's end leaves the file that long", 1000, (file, path) => {
  ends((done) => file.write(995, pattern(10, 1), done));
  assertEquals([file.size, Deno.statSync(path).size], [1005, 1005]);
  ends((done) => file.write(3, pattern(10, 1), done));
  assertEquals([file.size, Deno.statSync(path).size], [1005, 1005]);
});

fileTest("the size can be set, and what is new is zeroes", 5000, (file, path) => {
  ends((done) => file.truncate(100, done));
  ends((done) => file.truncate(9000, done));
  assertEquals([file.size, Deno.statSync(path).size], [9000, 9000]);
  const model = new Uint8Array(9000);
  model.set(pattern(100, 0));
  assertEquals(read(file, 0, 9000), model);
});

fileTest("a discarded or unmapped range gives its space back and reads as zeroes", 2 ** 20, (file, path) => {
  ends((done) => file.sync(done));
  const before = Deno.statSync(path).blocks!;
  ends((done) => file.discard(65536, 262144, done));
  ends((done) => file.writeZeroes(524288, 262144, true, done));
  assert(Deno.statSync(path).blocks! <= before - 524288 / 512);
  const model = pattern(2 ** 20, 0);
  model.fill(0, 65536, 65536 + 262144).fill(0, 524288, 524288 + 262144);
  assertEquals(read(file, 0, 2 ** 20), model);
});

fileTest("holes and data can be told apart", 0, (file) => {
  ends((done) => file.truncate(2 ** 30, done));
  ends((done) => file.write(2 ** 29, pattern(65536, 1), done));
  const status = (offset: number, length: number): Extent => {
    let found: Extent | undefined;
    ends((done) =>
      file.status!(offset, length, (error, extent) => {
        found = extent;
        done(error);
      })
    );
    return found!;
  };
  assertEquals(status(0, 2 ** 30), { length: 2 ** 29, zero: true });
  assertEquals(status(4096, 4096), { length: 4096, zero: true });
  assertEquals(status(2 ** 29, 2 ** 29), { length: 65536, zero: false });
  assertEquals(status(2 ** 29 + 65536, 2 ** 20), { length: 2 ** 20, zero: true });
});

fileTest("a request that is forgotten is carried out before the file is closed", 4096, (file, path) => {
  let completed = false;
  file.write(100, pattern(1000, 7), (error) => {
    assertEquals(error, undefined);
    completed = true;
  });
  file.close();
  while (!completed) loop.turn();
  assertEquals(Deno.readFileSync(path).subarray(100, 1100), pattern(1000, 7));
});

/** A request of a random workload. Each has a stripe of its own among those in flight, so that its outcome is known. */
interface Step {
  readonly kind: "write" | "read" | "zero" | "unmap" | "discard";
  readonly start: number;
  readonly length: number;
  readonly aligned: boolean;
}

const STRIPE = 5000;
const STRIPES = 16;

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("write", "write", "read", "zero", "unmap", "discard"),
  start: fc.nat(STRIPE - 1),
  length: fc.integer({ min: 1, max: STRIPE }),
  aligned: fc.boolean(),
});

/** Carries out rounds of requests, all those of a round at once, and keeps account of what they lead to. */
function work(file: HostFile, rounds: Step[][], model: Uint8Array): void {
  for (const [round, steps] of rounds.entries()) {
    let open = steps.length;
    const done = (error?: Error) => {
      assertEquals(error, undefined);
      open--;
    };
    steps.forEach((step, stripe) => {
      const offset = stripe * STRIPE + step.start;
      startStep(file, step, offset, Math.min(step.length, STRIPE - step.start), round, model, done);
    });
    while (open > 0) loop.turn();
  }
}

function startStep(
  file: HostFile,
  { kind, aligned }: Step,
  offset: number,
  length: number,
  seed: number,
  model: Uint8Array,
  done: (error?: Error) => void,
): void {
  const buffer = aligned ? alignedBuffer(length) : new Uint8Array(length);
  if (kind === "read") {
    const expected = model.slice(offset, offset + length);
    file.read(offset, buffer, (error) => {
      assertEquals(buffer, expected);
      done(error);
    });
  } else if (kind === "write") {
    buffer.set(pattern(length, seed + 3));
    model.set(buffer, offset);
    file.write(offset, buffer, done);
  } else {
    model.fill(0, offset, offset + length);
    if (kind === "discard") file.discard(offset, length, done);
    else file.writeZeroes(offset, length, kind === "unmap", done);
  }
}

const workload = fc.array(fc.array(step, { minLength: 1, maxLength: STRIPES }), { minLength: 1, maxLength: 6 });

for (const { needs, ...options } of WAYS) {
  const title = `host file, aio=${options.aio}, cache=${options.cache}: any workload with many requests in flight`;
  testNeeding(needs, title, () => {
    withFile(new Uint8Array(), options, (file) => {
      fc.assert(
        fc.property(workload, fc.nat(STRIPE * STRIPES), (rounds, size) => {
          ends((done) => file.truncate(0, done));
          ends((done) => file.truncate(size, done));
          const model = new Uint8Array(STRIPE * STRIPES);
          work(file, rounds, model);
          assertEquals(read(file, 0, model.length), model);
        }),
        { numRuns: 60 },
      );
    });
  });
}

Deno.test("host file: cached data arrive within the call", () => {
  withFile(pattern(65536, 0), { cache: "writeback" }, (file) => {
    const into = new Uint8Array(4096);
    let completed = 0;
    for (let i = 0; i < 16; i++) file.read(4096 * i, into, () => completed++);
    assertEquals(completed, 16);
    assertEquals(into, pattern(65536, 0).subarray(61440));
  });
});

Deno.test("host file: direct transfers between aligned buffers and aligned offsets go without a copy", () => {
  withFile(pattern(65536, 0), { cache: "none" }, (file) => {
    assert(file.alignment >= 512 && file.alignment <= 4096);
    const buffer = alignedBuffer(8192);
    assertEquals(lastingAddress(buffer) % file.alignment, 0);
    ends((done) => file.read(4096, buffer, done));
    assertEquals(buffer, pattern(65536, 0).subarray(4096, 12288));
  });
});

Deno.test("host file: closing gives every descriptor back, once", () => {
  withPath((path) => {
    const before = openDescriptors();
    for (const cache of ["writeback", "none"] as const) {
      const file = openHostFile(path, { loop, cache });
      ends((done) => file.sync(done));
      file.close();
      file.close();
      assertEquals(openDescriptors(), before);
    }
  });
});

Deno.test("host file: one that is made is empty, and what was in it before is gone", () => {
  withPath((path) => {
    Deno.writeFileSync(path, pattern(10_000, 0));
    const file = createHostFile(path, { loop });
    assertEquals([file.size, Deno.statSync(path).size], [0, 0]);
    file.close();
    Deno.removeSync(path);
    createHostFile(path, { loop }).close();
    assertEquals(Deno.statSync(path).size, 0);
  });
});

Deno.test("host file: one that is in use is not emptied", () => {
  withFile(pattern(10_000, 0), { readOnly: true }, (_, path) => {
    const error = assertThrows(() => createHostFile(path, { loop }), Error) as Error;
    assertEquals(error.message, `Cannot open ${path}: it is in use already, by this or another program`);
    assertEquals(Deno.readFileSync(path), pattern(10_000, 0));
  });
});

Deno.test("host file: one with offsets that are too large to count is refused", () => {
  const size = 2 ** 53 - 4096;
  const fd = createMemoryFile("huge", size, false);
  const error = assertThrows(() => openHostFile(fd, { loop }), Error) as Error;
  assertEquals(error.message, `Cannot open descriptor ${fd}: its size of ${size} bytes is beyond 8 PiB`);
  closeFd(fd);
});

Deno.test("host file: a place where none can be made is named", () => {
  const error = assertThrows(() => createHostFile("/var/tmp/absent/x", { loop }), Error) as Error;
  assertEquals(error.message, "Cannot create /var/tmp/absent/x: there is no such file");
});

/** Mounts a small file system in memory for as long as `body` runs. */
function withSmallFileSystem(body: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "splitvm-full-" });
  try {
    command("mount", "-t", "tmpfs", "-o", "size=64k", "splitvm-test", folder);
    try {
      body(folder);
    } finally {
      command("umount", folder);
    }
  } finally {
    Deno.removeSync(folder);
  }
}

const MOUNT: Requirement = {
  name: "mount",
  remedy: "install Debian's mount, and run the tests as root",
  isMet() {
    try {
      withSmallFileSystem(() => {});
      return true;
    } catch {
      return false;
    }
  },
};

const LOOP: Requirement = {
  name: "/dev/loop-control",
  remedy: "install Debian's mount, load the kernel's module loop, and run the tests as root",
  isMet() {
    if (findProgram("losetup") === undefined) return false;
    try {
      closeFd(openFile("/dev/loop-control", OpenFlags.O_RDWR));
      return true;
    } catch {
      return false;
    }
  },
};

function command(name: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(findProgram(name)!, { args }).outputSync();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`${name} ${args.join(" ")}: ${text(stderr)}`);
  return text(stdout);
}

for (const { needs, ...options } of WAYS) {
  const way = `aio=${options.aio}, cache=${options.cache}`;

  testNeeding([...needs, LOOP], `host device, ${way}: any workload`, () =>
    endingWorkers(() =>
      withPath((path) => {
        const size = 1024 * Math.ceil(STRIPE * STRIPES / 1024);
        Deno.truncateSync(path, size);
        const device = command("losetup", "--find", "--show", path);
        try {
          const file = openHostFile(device, { loop, ...options });
          assertEquals([file.kind, file.size], ["device", size]);
          fc.assert(
            fc.property(workload, (rounds) => {
              ends((done) => file.writeZeroes(0, size, false, done));
              const model = new Uint8Array(STRIPE * STRIPES);
              // What a device reads as after a discard is its own affair.
              work(file, rounds.map((steps) => steps.filter(({ kind }) => kind !== "discard")), model);
              assertEquals(read(file, 0, model.length), model);
            }),
            { numRuns: 20 },
          );
          ends((done) => file.discard(100, size - 200, done));
          file.close();
        } finally {
          command("losetup", "--detach", device);
        }
      })
    ));
}

for (const aio of ["io_uring", "threads"] as const) {
  const needs = [MOUNT, ...(aio === "io_uring" ? [IO_URING] : [])];
  testNeeding(
    needs,
    `host file, aio=${aio}: a full file system fails writes with ENOSPC, and works again with space`,
    () =>
      endingWorkers(() =>
        withSmallFileSystem((folder) => {
          const file = openHostFile(writeEmpty(`${folder}/disk`), { loop, aio });
          let code = "";
          file.write(0, new Uint8Array(200_000), (error) => void (code = (error as SyscallError).code));
          while (code === "") loop.turn();
          assertEquals(code, "ENOSPC");
          ends((done) => file.truncate(0, done));
          ends((done) => file.write(0, pattern(10_000, 1), done));
          assertEquals(read(file, 0, 10_000), pattern(10_000, 1));
          // tmpfs has no FALLOC_FL_ZERO_RANGE.
          ends((done) => file.writeZeroes(100, 5000, false, done));
          assertEquals(read(file, 100, 5000), new Uint8Array(5000));
          file.close();
        })
      ),
  );
}

function writeEmpty(path: string): string {
  closeFd(openFile(path, OpenFlags.O_RDWR | OpenFlags.O_CREAT));
  return path;
}

Deno.test("host file: a file system without O_DIRECT is told of", () => {
  const fd = openFile("/proc/version", OpenFlags.O_RDONLY);
  const error = assertThrows(() => openHostFile(fd, { loop, readOnly: true, cache: "none" }), Error) as Error;
  closeFd(fd);
  const why = "its file system does not support O_DIRECT, which cache=none and cache=directsync need";
  assertEquals(error.message, `Cannot open descriptor ${fd}: ${why}`);
});
