import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { createEventFd, drainEventFd, pollFd, Ready } from "../../src/ffi/event.ts";
import { Errno } from "../../src/ffi/errno.ts";
import { setDirectIo } from "../../src/ffi/direct_io.ts";
import { closeFd, Fallocate, fileStatus, openFile, OpenFlags, syncData, writeFd } from "../../src/ffi/file.ts";
import { IoUring, RingOperation } from "../../src/ffi/io_uring.ts";
import { lastingAddress } from "../../src/ffi/memory.ts";
import { leakingNothing } from "../support/leaks.ts";
import { testNeeding } from "../support/requirements.ts";
import { IO_URING } from "../block/host_support.ts";

/** What direct I/O is aligned to here. */
const BLOCK = 4096;

interface Setting {
  readonly ring: IoUring;
  readonly fd: number;
  readonly signal: number;
}

/** Registers a test with rings of 4 requests and 8 completions, and an empty file. */
function ringTest(name: string, body: (setting: Setting) => void): void {
  const run = leakingNothing(() => {
    const path = Deno.makeTempFileSync({ dir: "/var/tmp", prefix: "splitvm-ring-" });
    const fd = openFile(path, OpenFlags.O_RDWR);
    Deno.removeSync(path);
    const ring = IoUring.open(4, 8);
    const signal = createEventFd();
    ring.signal(signal);
    try {
      body({ ring, fd, signal });
    } finally {
      ring.close();
      closeFd(signal);
      closeFd(fd);
    }
  });
  testNeeding([IO_URING], `io_uring: ${name}`, run);
}

/** Submits, and waits for `count` completions: tag → result. */
function complete({ ring, signal }: Setting, count: number): Map<number, number> {
  const results = new Map<number, number>();
  while (ring.submit() !== "done");
  for (;;) {
    ring.reap((tag, result) => results.set(tag, result));
    if (results.size >= count) return results;
    assertNotEquals(pollFd(signal, Ready.IN, 60_000), 0, "nothing completes");
    drainEventFd(signal);
  }
}

ringTest("what is written is read back", (setting) => {
  const { ring, fd } = setting;
  const data = crypto.getRandomValues(new Uint8Array(5000));
  assert(ring.write(7, fd, 3, lastingAddress(data), data.length));
  assertEquals(complete(setting, 1), new Map([[7, 5000]]));
  const into = new Uint8Array(6000);
  ring.read(8, fd, 3, lastingAddress(into), into.length);
  assertEquals(complete(setting, 1), new Map([[8, 5000]]));
  assertEquals(into.subarray(0, 5000), data);
});

ringTest("offsets beyond 32 bits arrive whole", (setting) => {
  const { ring, fd } = setting;
  const offset = 3 * 2 ** 32 + 17;
  const byte = Uint8Array.of(5);
  ring.write(1, fd, offset, lastingAddress(byte), byte.length);
  assertEquals(complete(setting, 1).get(1), byte.length);
  assertEquals(fileStatus(fd).size, offset + 1);
});

ringTest("errors are those of the system calls", (setting) => {
  const { ring } = setting;
  const into = new Uint8Array(8);
  ring.read(1, 1_000_000, 0, lastingAddress(into), 8);
  ring.read(2, setting.fd, 0, 4096, 8);
  ring.allocate(3, setting.fd, Fallocate.PUNCH_HOLE, 0, 4096); // not without KEEP_SIZE
  const results = complete(setting, 3);
  assertEquals(results.get(1), -Errno.EBADF);
  assertEquals(results.get(3), -Errno.EOPNOTSUPP);
  assertEquals(results.get(2), 0, "nothing is moved at the end of a file, wherever to");
});

ringTest("fallocate, fdatasync and, where the kernel has it, ftruncate", (setting) => {
  const { ring, fd } = setting;
  ring.allocate(1, fd, 0, 4096, 8192);
  assertEquals(complete(setting, 1).get(1), 0);
  assertEquals(fileStatus(fd).size, 12288);
  ring.syncData(2, fd);
  assertEquals(complete(setting, 1).get(2), 0);
  if (!ring.supports(RingOperation.FTRUNCATE)) return;
  ring.truncate(3, fd, 5 * 2 ** 32);
  assertEquals(complete(setting, 1).get(3), 0);
  assertEquals(fileStatus(fd).size, 5 * 2 ** 32);
});

ringTest("a full ring takes nothing more until it is submitted", (setting) => {
  const { ring } = setting;
  for (let tag = 0; tag < 4; tag++) assert(ring.nothing(tag));
  assert(!ring.nothing(4));
  assertEquals(ring.pending, 4);
  assertEquals(ring.submit(), "done");
  assertEquals(ring.pending, 0);
  assert(ring.nothing(4));
  assertEquals([...complete(setting, 5).keys()].toSorted(), [0, 1, 2, 3, 4]);
});

ringTest("completions that the ring has no room for are not lost", (setting) => {
  const { ring } = setting;
  const tags = Array.from({ length: 40 }, (_, i) => i);
  const seen: number[] = [];
  for (const tag of tags) {
    while (!ring.nothing(tag)) {
      if (ring.submit() === "later") ring.reap((tag) => seen.push(tag)); // a kernel may refuse more meanwhile
    }
  }
  while (seen.length < tags.length) {
    ring.submit();
    ring.reap((tag) => seen.push(tag));
  }
  assertEquals(seen.toSorted((a, b) => a - b), tags);
});

ringTest("a completion may prepare the next request", (setting) => {
  const { ring } = setting;
  let left = 1000;
  ring.nothing(0);
  while (left > 0) {
    ring.submit();
    ring.reap(() => {
      if (--left > 0) assert(ring.nothing(0));
    });
  }
  assertEquals(ring.reap(() => assert(false)), 0);
});

ringTest("no completion stays without a signal, however it meets those who look for it", (setting) => {
  const { ring, fd } = setting;
  const data = crypto.getRandomValues(new Uint8Array(2 * BLOCK));
  writeFd(fd, data);
  syncData(fd);
  setDirectIo(fd, true);
  const room = new Uint8Array(3 * BLOCK);
  const address = Math.ceil(lastingAddress(room) / BLOCK) * BLOCK;
  // Two at a time, so that one comes while the other is taken.
  for (let i = 0; i < 1500; i++) {
    for (const tag of [0, 1]) ring.read(tag, fd, tag * BLOCK, address + tag * BLOCK, BLOCK);
    assertEquals(complete(setting, 2), new Map([[0, BLOCK], [1, BLOCK]]));
  }
  // Named here, it is there until here: the kernel writes to it all the while.
  const start = address - lastingAddress(room);
  assertEquals(room.subarray(start, start + data.length), data);
});

ringTest("a ring does nothing that is not used here, whoever has it", (setting) => {
  const { ring, fd } = setting;
  const { READ } = RingOperation;
  const IORING_OP_OPENAT = 18;
  const table: Record<string, number> = RingOperation;
  try {
    // The requests of a process that somebody else has taken over.
    table.READ = IORING_OP_OPENAT;
    ring.read(1, fd, 0, lastingAddress(new Uint8Array(16)), 0);
    assertEquals(complete(setting, 1), new Map([[1, -Errno.EACCES]]));
  } finally {
    table.READ = READ;
  }
});
