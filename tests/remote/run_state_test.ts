import { assertEquals } from "@std/assert";
import { Errno, SyscallError } from "../../src/ffi/errno.ts";
import type { BlockDevice } from "../../src/block/block_device.ts";
import type { ScsiDiskConfig } from "../../src/options/storage.ts";
import type { BlockIoError } from "../../src/qmp/block_info.ts";
import { RunState } from "../../src/remote/run_state.ts";

/** A run state with one drive. */
function build(policies: Partial<ScsiDiskConfig> = {}) {
  const clock = { time: 0, now: () => clock.time };
  const state = new RunState(clock);
  const told: BlockIoError[] = [];
  const changes: string[] = [];
  state.onBlockError = (error) => void told.push(error);
  state.onChange = (status) => void changes.push(status);
  const disk = {
    ...{ id: "hd0", readErrors: "report", writeErrors: "enospc", ...policies },
    drive: { id: "d0", file: "a.img", cache: "writeback" },
  } as unknown as ScsiDiskConfig;
  const drive = { size: 65536, readOnly: false, writeCache: true } as BlockDevice;
  const errors = state.addDrive({ disk, drive, format: "raw", backingDepth: 0 });
  return { clock, state, told, changes, errors, ioStatus: () => state.blockInfo()[0]["io-status"] };
}

const NO_SPACE = new Error("write failed", { cause: new SyscallError("pwrite", Errno.ENOSPC) });
const IO_ERROR = new Error("read failed", { cause: new SyscallError("pread", Errno.EIO) });

Deno.test("a request that is held stops the process until it is told to go on, and is tried again once", () => {
  const { state, changes, errors, told, ioStatus } = build();
  let tries = 0;
  errors.report({ operation: "flush", action: "stop", error: NO_SPACE });
  errors.hold(() => tries++);
  assertEquals([state.status, ioStatus(), tries], ["io-error", "nospace", 0]);
  assertEquals(told, [{ device: "d0", operation: "write", action: "stop", nospace: true, reason: "pwrite: ENOSPC" }]);
  state.resume();
  state.resume();
  assertEquals([state.status, ioStatus(), tries, changes], ["running", "ok", 1, ["io-error", "running"]]);
});

Deno.test("a request that fails again is held again", () => {
  const { state, errors } = build();
  let tries = 0;
  const attempt = () => {
    if (++tries < 3) errors.hold(attempt);
  };
  errors.hold(attempt);
  state.resume();
  assertEquals([state.status, tries], ["io-error", 1]);
  state.resume();
  state.resume();
  assertEquals([state.status, tries], ["running", 3]);
});

Deno.test("requests that are cancelled are not tried again, also by each other's retries", () => {
  const { state, errors } = build();
  const tried: string[] = [];
  const first = errors.hold(() => void tried.push("first"));
  first.cancel();
  first.cancel();
  assertEquals(state.status, "running");
  errors.hold(() => {
    tried.push("second");
    third.cancel();
  });
  const third = errors.hold(() => void tried.push("third"));
  state.resume();
  assertEquals([tried, state.status], [["second"], "running"]);
});

Deno.test("errors that stop nothing are told once a second, those that stop always", () => {
  const { clock, errors, told, ioStatus } = build({ readErrors: "stop" });
  const report = (action: "report" | "stop") => errors.report({ operation: "read", action, error: IO_ERROR });
  report("report");
  report("report");
  assertEquals([told.length, ioStatus()], [1, "ok"]);
  report("stop");
  report("stop");
  assertEquals([told.length, ioStatus()], [3, "failed"]);
  clock.time += 1e9;
  report("report");
  assertEquals(told.length, 4);
});

Deno.test("a drive that cannot stop the machine has no io-status", () => {
  assertEquals(build({ writeErrors: "report" }).ioStatus(), undefined);
});

Deno.test("a drive that is closed is not described any more", () => {
  const { state } = build();
  state.removeDrive("d0");
  assertEquals(state.blockInfo(), []);
});
