import { assert, assertEquals, assertThrows } from "@std/assert";
import { FileOperation } from "../../src/ffi/blocking_io.ts";
import { Errno, SyscallError } from "../../src/ffi/errno.ts";
import { closeFd, Fallocate, fileStatus, openFile, OpenFlags } from "../../src/ffi/file.ts";
import type { IoEngine, IoRequest } from "../../src/block/io_engine.ts";
import { leaseEngine } from "../../src/block/io_engine.ts";
import { ThreadEngine } from "../../src/block/thread_engine.ts";
import { EventLoop } from "../../src/event_loop.ts";
import type { AioMode } from "../../src/options/storage.ts";
import { openDescriptors, workersEnded } from "../support/leaks.ts";
import { testNeeding } from "../support/requirements.ts";
import { IO_URING } from "./host_support.ts";

interface Setting {
  readonly engine: IoEngine;
  readonly loop: EventLoop;
  /** Of an empty file. */
  readonly fd: number;
}

const MODES: readonly AioMode[] = ["io_uring", "threads"];

/** Registers a test for engines. @param modes Which. @default {both} */
function engineTest(name: string, body: (setting: Setting) => void, modes: readonly AioMode[] = MODES): void {
  for (const aio of modes) {
    testNeeding(aio === "io_uring" ? [IO_URING] : [], `${aio}: ${name}`, async () => {
      const loop = new EventLoop();
      const { engine, release } = leaseEngine(loop, aio);
      const path = Deno.makeTempFileSync({ dir: "/var/tmp", prefix: "splitvm-engine-" });
      const fd = openFile(path, OpenFlags.O_RDWR);
      Deno.removeSync(path);
      try {
        body({ engine, loop, fd });
      } finally {
        release();
        closeFd(fd);
        loop.close();
        await workersEnded();
      }
    });
  }
}

/** Makes requests at once, and waits for their results. */
function perform({ engine, loop, fd }: Setting, requests: (Partial<IoRequest> & Pick<IoRequest, "operation">)[]) {
  const results = new Array<number | undefined>(requests.length).fill(undefined);
  let open = requests.length;
  let submitting = true;
  requests.forEach((request, i) => {
    const done = (result: number) => {
      assert(!submitting, "completed within submit");
      assertEquals(results[i], undefined, "completed twice");
      results[i] = result;
      open--;
    };
    engine.submit({ fd, offset: 0, length: request.buffer?.length ?? 0, ...request, done });
  });
  submitting = false;
  while (open > 0) loop.turn();
  return results;
}

const { READ, WRITE, SYNC_DATA, ALLOCATE, TRUNCATE, DISCARD, SEEK_DATA, SEEK_HOLE } = FileOperation;

engineTest("results are those of the system calls", (setting) => {
  const data = crypto.getRandomValues(new Uint8Array(5000));
  const into = new Uint8Array(6000);
  assertEquals(perform(setting, [{ operation: WRITE, offset: 8192, buffer: data }]), [5000]);
  assertEquals(perform(setting, [{ operation: READ, offset: 8192, buffer: into }]), [5000]);
  assertEquals(into.subarray(0, 5000), data);
  assertEquals(perform(setting, [{ operation: READ, offset: 2 ** 40, buffer: into }]), [0]);
  assertEquals(perform(setting, [{ operation: SYNC_DATA }]), [0]);
  assertEquals(perform(setting, [{ operation: READ, fd: 1_000_000, buffer: into }]), [-Errno.EBADF]);
});

engineTest("sizes, holes and ranges", (setting) => {
  assertEquals(perform(setting, [{ operation: TRUNCATE, offset: 2 ** 34 }]), [0]);
  assertEquals(fileStatus(setting.fd).size, 2 ** 34);
  assertEquals(perform(setting, [{ operation: WRITE, offset: 2 ** 33, buffer: new Uint8Array(8192).fill(1) }]), [8192]);
  assertEquals(perform(setting, [{ operation: SEEK_DATA, offset: 0 }]), [2 ** 33]);
  assertEquals(perform(setting, [{ operation: SEEK_HOLE, offset: 2 ** 33 }]), [2 ** 33 + 8192]);
  assertEquals(perform(setting, [{ operation: SEEK_DATA, offset: 2 ** 33 + 8192 }]), [-Errno.ENXIO]);
  const mode = Fallocate.PUNCH_HOLE | Fallocate.KEEP_SIZE;
  assertEquals(perform(setting, [{ operation: ALLOCATE, offset: 2 ** 33, length: 4096, mode }]), [0]);
  const into = new Uint8Array(8192);
  perform(setting, [{ operation: READ, offset: 2 ** 33, buffer: into }]);
  assertEquals([into[4095], into[4096]], [0, 1]);
  assertEquals(perform(setting, [{ operation: DISCARD, length: 4096 }]), [-Errno.ENOTTY]);
});

engineTest("any number of requests can be in flight", (setting) => {
  const count = 2000;
  const write = (i: number) => ({ operation: WRITE, offset: 16 * i, buffer: new Uint8Array(16).fill(i) });
  assertEquals(new Set(perform(setting, Array.from({ length: count }, (_, i) => write(i)))), new Set([16]));
  const into = new Uint8Array(16 * count);
  perform(setting, [{ operation: READ, buffer: into }]);
  assertEquals(into, Uint8Array.from({ length: 16 * count }, (_, i) => i >> 4));
});

engineTest("a completion may make the next request, for ever, and no stack grows", ({ engine, loop, fd }) => {
  const buffer = new Uint8Array(16);
  let left = 20_000;
  const next = () => {
    if (left-- > 0) engine.submit({ operation: READ, fd, offset: 0, length: 16, buffer, done: next });
  };
  next();
  while (left > 0) loop.turn();
});

engineTest("buffers that nobody else holds stay where they are", (setting) => {
  const requests = Array.from({ length: 200 }, (_, i) => ({
    operation: WRITE,
    offset: 65536 * i,
    buffer: new Uint8Array(65536).fill(i),
  }));
  perform(setting, requests.splice(0));
  const byte = new Uint8Array(1);
  for (let i = 0; i < 200; i++) {
    perform(setting, [{ operation: READ, offset: 65536 * i + 12345, buffer: byte }]);
    assertEquals(byte[0], i);
  }
});

testNeeding([IO_URING], "files on a loop share an engine, which is closed with the last", () => {
  const before = openDescriptors();
  const loop = new EventLoop();
  const withoutEngine = openDescriptors();
  const first = leaseEngine(loop, "io_uring");
  const withEngine = openDescriptors();
  const second = leaseEngine(loop, undefined);
  const third = leaseEngine(loop, "native");
  assert(first.engine === second.engine && second.engine === third.engine);
  assertEquals(openDescriptors(), withEngine);
  for (const lease of [first, first, second]) lease.release();
  assertEquals(openDescriptors(), withEngine);
  third.release();
  assertEquals(openDescriptors(), withoutEngine);
  loop.close();
  assertEquals(openDescriptors(), before);
});

/** A kernel's answer to the attempt to set up rings. */
const refusing = (errno: number) => (): never => {
  throw new SyscallError("io_uring_setup", errno);
};

Deno.test("where the kernel has no io_uring, threads take its place, unless it was asked for by name", () => {
  const loop = new EventLoop();
  for (const errno of [Errno.ENOSYS, Errno.EPERM, Errno.ENOMEM]) {
    for (const aio of [undefined, "native"] as const) {
      const lease = leaseEngine(loop, aio, refusing(errno));
      assert(lease.engine instanceof ThreadEngine);
      lease.release();
    }
  }
  const said = (errno: number) => (assertThrows(() => leaseEngine(loop, "io_uring", refusing(errno))) as Error).message;
  assertEquals(said(Errno.ENOSYS), "aio=io_uring: this kernel does not have io_uring, or not all of it that is needed");
  assertEquals(said(Errno.EPERM), "aio=io_uring: io_uring is forbidden here (see the sysctl kernel.io_uring_disabled)");
  loop.close();
});

for (
  const { what, startThread, why } of [
    { what: "where no thread starts", startThread: () => {}, why: "it did not begin in time" },
    {
      what: "where the host has no room for a thread",
      startThread: () => {
        throw new SyscallError("pipe2", Errno.EMFILE);
      },
      why: "pipe2: EMFILE",
    },
  ]
) {
  Deno.test(`${what}, requests fail, are never carried out after all, and a line says why`, () => {
    const before = openDescriptors();
    const loop = new EventLoop();
    const lines: string[] = [];
    const engine = new ThreadEngine(loop, { startThread, startDeadline: 1e6, log: (line) => lines.push(line) });
    const results: number[] = [];
    const done = (result: number) => results.push(result);
    const request = { operation: SYNC_DATA, fd: 0, offset: 0, length: 0, done };
    for (let i = 0; i < 300; i++) engine.submit(request);
    assertEquals(results, [], "completed within submit");
    while (results.length < 300) loop.turn();
    engine.submit(request);
    while (results.length < 301) loop.turn();
    assertEquals(new Set(results), new Set([-Errno.EIO]));
    assertEquals(lines, [`Cannot start a thread for disks, which fail from now on: ${why}`]);
    engine.close();
    loop.close();
    assertEquals(openDescriptors(), before);
  });
}

Deno.test("threads that are not needed any more take their descriptors with them", async () => {
  useThreads(); // What is done for the first time may open descriptors that stay.
  await workersEnded();
  const before = openDescriptors().size;
  useThreads();
  await workersEnded();
  assertEquals(openDescriptors().size, before);
});

/** Has every thread of an engine do something. */
function useThreads(): void {
  const loop = new EventLoop();
  const engine = new ThreadEngine(loop);
  let open = 100;
  for (let i = 0; i < 100; i++) {
    const done = (result: number) => {
      assertEquals(result, -Errno.EBADF);
      open--;
    };
    engine.submit({ operation: SYNC_DATA, fd: 1_000_000, offset: 0, length: 0, done });
  }
  while (open > 0) loop.turn();
  engine.close();
  engine.close();
  loop.close();
}

// That of threads is tested with processes that are locked down: a test is slow to start threads.
engineTest("an engine that has started all that it needs goes on as before, and starts nothing more", (setting) => {
  const { engine, fd } = setting;
  engine.prepare(new Set([FileOperation.TRUNCATE]));
  const before = openDescriptors();
  const buffer = new Uint8Array(512).fill(3);
  const write = { operation: FileOperation.WRITE, length: 512, buffer };
  assertEquals(perform(setting, new Array(20).fill(write)), new Array(20).fill(512));
  const seek = (offset: number) => perform(setting, [{ operation: FileOperation.SEEK_DATA, offset }]);
  assertEquals([seek(0), seek(4096)], [[0], [-Errno.ENXIO]]);
  assertEquals(perform(setting, [{ operation: FileOperation.TRUNCATE, offset: 99 }]), [0]);
  assertEquals([fileStatus(fd).size, openDescriptors()], [99, before]);
}, ["io_uring"]);
