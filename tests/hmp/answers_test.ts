import { assertEquals } from "@std/assert";
import {
  blockLines,
  chardevLines,
  cpuLines,
  deviceProcessLines,
  kvmLines,
  memorySizeLines,
  nameLines,
  statusLines,
  uuidLines,
} from "../../src/hmp/answers.ts";

/** A drive as `query-block` describes one. */
function drive(device: string, inserted: Record<string, unknown> = {}, rest: Record<string, unknown> = {}) {
  return {
    ...{ device, type: "unknown", removable: false, locked: false },
    inserted: {
      ...{ file: "a.img", ro: false, drv: "raw", backing_file_depth: 0, encrypted: false, detect_zeroes: "off" },
      image: { filename: "a.img", format: "raw", "virtual-size": 1048576 },
      cache: { writeback: true, direct: false, "no-flush": false },
      ...inserted,
    },
    ...rest,
  };
}

Deno.test("a machine that runs is running, and one that was stopped paused", () => {
  assertEquals(statusLines({ running: true, singlestep: false, status: "running" }), ["VM status: running"]);
  assertEquals(statusLines({ running: false, singlestep: false, status: "paused" }), ["VM status: paused"]);
});

Deno.test("a machine that stands still for another reason is told with it", () => {
  assertEquals(statusLines({ running: false, status: "prelaunch" }), ["VM status: paused (prelaunch)"]);
  assertEquals(statusLines({ running: false, status: "io-error" }), ["VM status: paused (io-error)"]);
});

Deno.test("a machine without a name has no line", () => {
  assertEquals([nameLines({}), nameLines({ name: "web" })], [[], ["web"]]);
});

Deno.test("the UUID stands alone", () => {
  const uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
  assertEquals(uuidLines({ UUID: uuid }), [uuid]);
});

Deno.test("KVM is enabled", () => {
  assertEquals(kvmLines({ enabled: true, present: true }), ["kvm support: enabled"]);
});

Deno.test("vCPUs are listed with their threads, the first as the current one", () => {
  const cpus = [{ "cpu-index": 0, "thread-id": 71 }, { "cpu-index": 1, "thread-id": 72 }];
  assertEquals(cpuLines(cpus), ["* CPU #0: thread_id=71", "  CPU #1: thread_id=72"]);
});

Deno.test("character devices are listed with what they are connected to", () => {
  const chardevs = [{ label: "serial0", filename: "stdio", "frontend-open": true }];
  assertEquals(chardevLines(chardevs), ["serial0: filename=stdio"]);
});

Deno.test("a device process is told with how it is reached, and how fast it answers", () => {
  const figures = { interval: 1000, sent: 4, answered: 3, last: 60, mean: 70, max: 90 };
  const own = { device: "lsi0", state: "running", pid: 71, sandboxed: true, accelerated: true, deadline: 10000 };
  assertEquals(deviceProcessLines([{ ...own, heartbeat: figures }]), [
    "lsi0: running, process 71, sandboxed, shared memory, deadline 10000 ms",
    "    Heartbeat: every 1000 ms, 3 of 4 answered; last 60 us, mean 70 us, max 90 us",
  ]);
  assertEquals(deviceProcessLines([{ ...own, sandboxed: false, heartbeat: { interval: 20, sent: 1, answered: 0 } }]), [
    "lsi0: running, process 71, not sandboxed, shared memory, deadline 10000 ms",
    "    Heartbeat: every 20 ms, 0 of 1 answered",
  ]);
});

Deno.test("a device process of somebody else's, without a heartbeat, has one line", () => {
  assertEquals(deviceProcessLines([{ device: "p", state: "failed", accelerated: false, deadline: 100 }]), [
    "p: failed, messages, deadline 100 ms",
  ]);
});

Deno.test("memory is told in bytes", () => {
  const expected = ["base memory: 67108864", "plugged memory: 0"];
  assertEquals(memorySizeLines({ "base-memory": 67108864, "plugged-memory": 0 }), expected);
});

Deno.test("a drive has its image, its device and its cache mode", () => {
  assertEquals(blockLines([drive("d0", {}, { qdev: "disk0" })], undefined, false), [
    "d0: a.img (raw)",
    "    Attached to:      disk0",
    "    Cache mode:       writeback",
  ]);
});

Deno.test("what is unusual about a drive has lines of its own", () => {
  const inserted = {
    ...{ file: "b.qcow2", drv: "qcow2", ro: true, detect_zeroes: "unmap", backing_file_depth: 2 },
    cache: { writeback: false, direct: true, "no-flush": true },
  };
  assertEquals(blockLines([drive("d0", inserted, { "io-status": "nospace" })], undefined, false), [
    "d0: b.qcow2 (qcow2, read-only)",
    "    I/O status:       nospace",
    "    Cache mode:       writethrough, direct, ignore flushes",
    "    Backing chain:    2 deep",
    "    Detect zeroes:    unmap",
  ]);
});

Deno.test("a drive whose process has not told of its image is listed without", () => {
  const { inserted: _, ...rest } = drive("d0", {}, { qdev: "disk0", "io-status": "ok" });
  assertEquals(blockLines([rest], undefined, true), [
    "d0: [its device process has not told]",
    "    Attached to:      disk0",
  ]);
});

Deno.test("with details, the image's size is told, too", () => {
  assertEquals(blockLines([drive("d0")], undefined, true), [
    "d0: a.img (raw)",
    "    Cache mode:       writeback",
    "",
    "Images:",
    "image: a.img",
    "file format: raw",
    "virtual size: 1 MiB (1048576 bytes)",
  ]);
});

Deno.test("drives are set apart by an empty line, and one can be asked for alone", () => {
  const drives = [drive("d0"), drive("d1")];
  const [first, second] = ["d0", "d1"].map((id) => blockLines(drives, id, false));
  assertEquals(blockLines(drives, undefined, false), [...first, "", ...second]);
  assertEquals(second[0], "d1: a.img (raw)");
});

Deno.test("a drive that is not there is told", () => {
  assertEquals(blockLines([drive("d0")], "d7", false), ["there is no drive 'd7'"]);
});
