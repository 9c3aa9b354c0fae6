/** What an open file makes of the host's answers. */
import { assertEquals } from "@std/assert";
import { FileOperation } from "../../src/ffi/blocking_io.ts";
import { Errno, type SyscallError } from "../../src/ffi/errno.ts";
import { openFile, OpenFlags } from "../../src/ffi/file.ts";
import { BufferedIo } from "../../src/block/buffered_io.ts";
import { EngineFile } from "../../src/block/engine_file.ts";
import { FileIo } from "../../src/block/file_io.ts";
import { MemoryEngine } from "./memory_engine.ts";

/** Synchronises a file three times, of which the host fails the first to carry out. @returns the errors' codes. */
function syncThrice(cached: boolean): (string | undefined)[] {
  let syncs = 0;
  const interfere = ({ operation }: { operation: number }) =>
    operation === FileOperation.SYNC_DATA && syncs++ === 0 ? { result: -Errno.EIO } : undefined;
  const engine = new MemoryEngine(new Uint8Array(4096), { interfere });
  const file = new EngineFile({
    kind: "file",
    readOnly: false,
    size: 4096,
    granularity: 1,
    ignoreSync: false,
    cached,
    io: new FileIo("disk.img", openFile("/dev/null", OpenFlags.O_RDWR), { engine, release() {} }),
    bytes: (io, size) => new BufferedIo(io, size),
  });
  const codes: (string | undefined)[] = [];
  for (let i = 0; i < 3; i++) {
    file.sync((error) => codes.push((error as SyscallError | undefined)?.code));
    engine.settle();
  }
  file.close();
  return codes;
}

Deno.test("once the page cache has lost data, no flush succeeds any more", () => {
  assertEquals(syncThrice(true), ["EIO", "EIO", "EIO"]);
});

Deno.test("around the page cache, a flush that failed can succeed the next time", () => {
  assertEquals(syncThrice(false), ["EIO", undefined, undefined]);
});
