import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { FileOperation } from "../../src/ffi/blocking_io.ts";
import { Errno, SyscallError } from "../../src/ffi/errno.ts";
import { isOpenFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { FileIo } from "../../src/block/file_io.ts";
import { leakingNothing } from "../support/leaks.ts";
import { MemoryEngine, type MemoryEngineOptions } from "./memory_engine.ts";

const CONTENTS = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7 + (i >> 8));

interface Setting {
  readonly engine: MemoryEngine;
  readonly io: FileIo;
}

function withIo(options: MemoryEngineOptions, body: (setting: Setting) => void): void {
  const engine = new MemoryEngine(CONTENTS, options);
  const fd = openFile("/dev/null", OpenFlags.O_RDWR);
  const io = new FileIo("disk.img", fd, { engine, release: () => engine.close() });
  body({ engine, io });
  io.close();
  assert(engine.closed);
  assert(!isOpenFd(fd));
}

/** Moves bytes to the end. */
function move({ engine, io }: Setting, write: boolean, offset: number, buffer: Uint8Array, granule = 1) {
  let end: { error: Error | undefined; moved: number } | undefined;
  io.move(write, offset, buffer, granule, (error, moved) => {
    assertEquals(end, undefined, "completed twice");
    end = { error, moved };
  });
  engine.settle();
  assert(end !== undefined, "not completed");
  return end!;
}

Deno.test(
  "a transfer that the kernel carries out in parts, or interrupts, is continued",
  leakingNothing(() => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.integer({ min: 0, max: 900 })), fc.boolean(), (whims, write) => {
        let interruptions = 0;
        const interfere = () => {
          const most = whims.next().value;
          if (most === 0 && interruptions++ < 10) return { result: -Errno.EINTR };
          return { most: most + 1 };
        };
        withIo({ interfere }, (setting) => {
          const buffer = new Uint8Array(5000).fill(0x55);
          assertEquals(move(setting, write, 1000, buffer), { error: undefined, moved: 5000 });
          assertEquals(buffer, setting.engine.contents.subarray(1000, 6000));
        });
      }),
      { numRuns: 50 },
    );
  }),
);

Deno.test("a read ends where the file ends", () => {
  withIo({}, (setting) => {
    const buffer = new Uint8Array(5000);
    assertEquals(move(setting, false, 8000, buffer), { error: undefined, moved: 2000 });
    assertEquals(buffer.subarray(0, 2000), CONTENTS.subarray(8000));
  });
});

Deno.test("a direct read that stops within a block has met the end, and is not continued there", () => {
  withIo({ interfere: () => ({ most: 700 }) }, (setting) => {
    assertEquals(move(setting, false, 0, new Uint8Array(2048), 512).moved, 700);
    assertEquals(setting.engine.log.length, 1);
  });
});

Deno.test("a failure carries the code of the system call and the name of the file", () => {
  for (const errno of [Errno.ENOSPC, Errno.EIO]) {
    withIo({ interfere: () => ({ result: -errno }) }, (setting) => {
      const { error } = move(setting, true, 0, new Uint8Array(512));
      assert(error instanceof SyscallError);
      assertEquals((error as SyscallError).errno, errno);
      assertEquals((error as SyscallError).call, "pwrite(disk.img)");
    });
  }
});

Deno.test("a failure in the middle of a transfer fails it", () => {
  let calls = 0;
  withIo({ interfere: () => calls++ === 0 ? { most: 512 } : { result: -Errno.EIO } }, (setting) => {
    assertEquals((move(setting, true, 0, new Uint8Array(1024)).error as SyscallError).code, "EIO");
  });
});

Deno.test("a kernel that has no resources is asked again, but not for ever", () => {
  withIo({ interfere: () => ({ result: -Errno.EAGAIN }) }, (setting) => {
    assertEquals((move(setting, false, 0, new Uint8Array(512)).error as SyscallError).code, "EAGAIN");
    assert(setting.engine.log.length > 5);
  });
});

Deno.test("a write that moves nothing is an input/output error", () => {
  withIo({ interfere: () => ({ most: 0 }) }, (setting) => {
    assertEquals((move(setting, true, 0, new Uint8Array(512)).error as SyscallError).code, "EIO");
  });
});

Deno.test("a call that is interrupted is made again", () => {
  let calls = 0;
  withIo({ interfere: () => calls++ < 3 ? { result: -Errno.EINTR } : undefined }, ({ engine, io }) => {
    let result = -1;
    io.call({ operation: FileOperation.SYNC_DATA, offset: 0, length: 0 }, (value) => void (result = value));
    engine.settle();
    assertEquals([result, calls], [0, 4]);
  });
});

Deno.test("a descriptor that is closed too early stays open until the last request has ended", () => {
  const engine = new MemoryEngine(CONTENTS);
  const fd = openFile("/dev/null", OpenFlags.O_RDWR);
  const io = new FileIo("disk.img", fd, { engine, release: () => engine.close() });
  let completed = false;
  io.move(true, 0, new Uint8Array(512), 1, () => void (completed = true));
  io.close();
  assert(isOpenFd(fd) && !engine.closed);
  engine.settle();
  assert(completed && !isOpenFd(fd) && engine.closed);
});
