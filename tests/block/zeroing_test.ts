import { assert, assertEquals } from "@std/assert";
import { FileOperation } from "../../src/ffi/blocking_io.ts";
import { Errno, type SyscallError } from "../../src/ffi/errno.ts";
import { Fallocate, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { BufferedIo } from "../../src/block/buffered_io.ts";
import { EngineFile } from "../../src/block/engine_file.ts";
import { FileIo } from "../../src/block/file_io.ts";
import type { HostFile } from "../../src/block/host_file.ts";
import type { IoRequest } from "../../src/block/io_engine.ts";
import { MemoryEngine } from "./memory_engine.ts";

const { WRITE, ALLOCATE, DISCARD, ZERO_OUT } = FileOperation;
const SIZE = 3 * 1024 * 1024;
const HOLE = Fallocate.PUNCH_HOLE | Fallocate.KEEP_SIZE;
const ZERO = Fallocate.ZERO_RANGE | Fallocate.KEEP_SIZE;

interface Setting {
  readonly engine: MemoryEngine;
  readonly file: HostFile;
  /** What was asked of the host since the last look: [operation, mode, offset, length]. */
  asked(): unknown[];
}

/** A file or device of 3 MiB of ones whose host answers as `answer` says: `undefined` is success, where the operation is known. */
function withTarget(
  kind: HostFile["kind"],
  answer: (request: IoRequest) => number | undefined,
  body: (setting: Setting) => void,
): void {
  const interfere = (request: IoRequest) => {
    const result = answer(request);
    return result === undefined ? undefined : { result };
  };
  const engine = new MemoryEngine(new Uint8Array(SIZE).fill(1), { interfere });
  const fd = openFile("/dev/full", OpenFlags.O_RDWR);
  const file = new EngineFile({
    kind,
    readOnly: false,
    size: SIZE,
    granularity: kind === "device" ? 512 : 1,
    ignoreSync: false,
    cached: true,
    io: new FileIo("disk.img", fd, { engine, release() {} }),
    bytes: (io, size) => new BufferedIo(io, size),
  });
  const asked = () =>
    engine.log.splice(0).map(({ operation, mode, offset, length }) =>
      operation === WRITE ? [operation, offset, length] : [operation, mode, offset, length]
    );
  body({ engine, file, asked });
  file.close();
}

/** Waits for a request; throws its error. */
function ends(engine: MemoryEngine, start: (done: (error?: Error) => void) => void): void {
  let end: { error?: Error } | undefined;
  start((error) => void (end = { error }));
  engine.settle();
  assert(end !== undefined, "not completed");
  if (end!.error !== undefined) throw end!.error;
}

const unsupported = (operation: number, mode?: number) => (request: IoRequest) =>
  request.operation === operation && (mode === undefined || request.mode === mode) ? -Errno.EOPNOTSUPP : undefined;

Deno.test("a file is zeroed by the file system, with or without its space", () => {
  withTarget("file", () => undefined, ({ engine, file, asked }) => {
    ends(engine, (done) => file.writeZeroes(100, 1000, true, done));
    ends(engine, (done) => file.writeZeroes(100, 1000, false, done));
    ends(engine, (done) => file.discard(5, 7, done));
    assertEquals(asked(), [
      [ALLOCATE, HOLE, 100, 1000],
      [ALLOCATE, ZERO, 100, 1000],
      [ALLOCATE, HOLE, 5, 7],
    ]);
  });
});

Deno.test("a file is not zeroed beyond its end, and does not grow", () => {
  withTarget("file", unsupported(ALLOCATE), ({ engine, file, asked }) => {
    ends(engine, (done) => file.writeZeroes(SIZE - 10, 1000, false, done));
    ends(engine, (done) => file.writeZeroes(SIZE + 10, 1000, false, done));
    ends(engine, (done) => file.discard(SIZE, 1000, done));
    assertEquals(asked(), [[ALLOCATE, ZERO, SIZE - 10, 10], [WRITE, SIZE - 10, 10]]);
    assertEquals(engine.contents.length, SIZE);
  });
});

Deno.test("a file system that cannot zero has zeroes written, a few at a time, and is not asked again", () => {
  withTarget("file", unsupported(ALLOCATE), ({ engine, file, asked }) => {
    const before = engine.contents.slice();
    let most = 0;
    let ended = false;
    file.writeZeroes(333, SIZE - 1000, true, () => void (ended = true));
    while (engine.inFlight > 0) {
      most = Math.max(most, engine.inFlight);
      engine.step();
    }
    assert(ended);
    assertEquals(engine.contents, before.fill(0, 333, 333 + SIZE - 1000));
    assertEquals(most, 4);
    assertEquals(engine.log.filter(({ operation }) => operation === ALLOCATE).length, 2);
    asked();
    ends(engine, (done) => file.writeZeroes(0, 100, true, done));
    ends(engine, (done) => file.discard(0, 100, done));
    assertEquals(asked(), [[WRITE, 0, 100]]);
  });
});

Deno.test("a file system that only punches holes does so where space may go, and writes otherwise", () => {
  withTarget("file", unsupported(ALLOCATE, ZERO), ({ engine, file, asked }) => {
    ends(engine, (done) => file.writeZeroes(0, 100, true, done));
    ends(engine, (done) => file.writeZeroes(0, 100, false, done));
    ends(engine, (done) => file.writeZeroes(0, 100, false, done));
    assertEquals(asked(), [[ALLOCATE, HOLE, 0, 100], [ALLOCATE, ZERO, 0, 100], [WRITE, 0, 100], [WRITE, 0, 100]]);
  });
});

Deno.test("a device discards and zeroes whole sectors; the rest is written", () => {
  withTarget("device", (request) => request.operation === DISCARD ? 0 : undefined, ({ engine, file, asked }) => {
    ends(engine, (done) => file.discard(100, 2000, done));
    ends(engine, (done) => file.discard(100, 800, done));
    ends(engine, (done) => file.writeZeroes(100, 2000, false, done));
    assertEquals(asked(), [
      [DISCARD, undefined, 512, 1536],
      [ALLOCATE, ZERO, 512, 1536],
      [WRITE, 100, 412],
      [WRITE, 2048, 52],
    ]);
    assertEquals(engine.contents.indexOf(0), 100);
    assertEquals(engine.contents.lastIndexOf(0), 2099);
  });
});

Deno.test("a device whose driver has no fallocate is asked by BLKZEROOUT, then written", () => {
  withTarget("device", unsupported(ALLOCATE), ({ engine, file, asked }) => {
    ends(engine, (done) => file.writeZeroes(0, 512, false, done));
    assertEquals(asked(), [[ALLOCATE, ZERO, 0, 512], [ZERO_OUT, undefined, 0, 512], [WRITE, 0, 512]]);
    ends(engine, (done) => file.discard(0, 512, done));
    assertEquals(asked(), [[DISCARD, undefined, 0, 512]]);
    ends(engine, (done) => file.discard(0, 512, done));
    assertEquals(asked(), []);
  });
});

Deno.test("a range that the host declines once is written; others are still asked for", () => {
  withTarget("file", ({ operation, offset }) => operation === ALLOCATE && offset === 5 ? -Errno.EINVAL : undefined, (
    { engine, file, asked },
  ) => {
    ends(engine, (done) => file.writeZeroes(5, 10, false, done));
    ends(engine, (done) => file.writeZeroes(50, 10, false, done));
    assertEquals(asked(), [[ALLOCATE, ZERO, 5, 10], [WRITE, 5, 10], [ALLOCATE, ZERO, 50, 10]]);
  });
});

Deno.test("no space left is a failure, not a want of support", () => {
  withTarget("file", ({ operation }) => operation === ALLOCATE ? -Errno.ENOSPC : undefined, ({ engine, file }) => {
    const codes: string[] = [];
    for (const start of [file.writeZeroes.bind(file, 0, 512, false), file.discard.bind(file, 0, 512)]) {
      start((error?: Error) => codes.push((error as SyscallError).code));
      engine.settle();
    }
    assertEquals(codes, ["ENOSPC", "ENOSPC"]);
  });
});

Deno.test("a failure of one of several writes of zeroes fails the request, once all have ended", () => {
  let writes = 0;
  withTarget(
    "file",
    ({ operation }) => operation === ALLOCATE ? -Errno.EOPNOTSUPP : writes++ === 1 ? -Errno.EIO : undefined,
    (
      { engine, file },
    ) => {
      let code = "";
      file.writeZeroes(0, SIZE, false, (error) => {
        code = (error as SyscallError).code;
        assertEquals(engine.inFlight, 0);
      });
      engine.settle();
      assertEquals(code, "EIO");
      assertEquals(writes, 4);
    },
  );
});
