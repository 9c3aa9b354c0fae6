import { assertEquals, assertThrows } from "@std/assert";
import { checked } from "../../src/ffi/errno.ts";
import { closeFd, OpenFlags, readFd, setNonblocking, writeFd } from "../../src/ffi/file.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { syscalls } from "../../src/ffi/syscall.ts";
import { openOutput, sinkTo } from "../../src/vmm/character_sink.ts";

/** A pipe for a test. */
function withPipe(body: (reader: number, writer: number) => void): void {
  const ends = new Int32Array(2);
  checked("pipe2", syscalls().pipe2(ends, OpenFlags.O_CLOEXEC));
  try {
    body(ends[0], ends[1]);
  } finally {
    ends.forEach(closeFd);
  }
}

/** Fills a pipe or socket. @returns the number of bytes that it took. */
function fill(fd: number): number {
  setNonblocking(fd, true);
  let filled = 0;
  for (let step; (step = writeFd(fd, new Uint8Array(4096).fill(0x2e))) > 0;) filled += step;
  setNonblocking(fd, false);
  return filled;
}

function drain(fd: number, length: number): void {
  const piece = new Uint8Array(4096);
  for (let left = length; left > 0;) left -= readFd(fd, piece.subarray(0, Math.min(left, piece.length)));
}

Deno.test("bytes go to the descriptor as they come", () => {
  withPipe((reader, writer) => {
    const sink = sinkTo(writer);
    [0x68, 0x69, 0xff].forEach(sink);
    const piece = new Uint8Array(16);
    assertEquals([...piece.subarray(0, readFd(reader, piece))], [0x68, 0x69, 0xff]);
  });
});

Deno.test("a console without a descriptor drops what is written", () => {
  sinkTo(undefined)(0x41);
});

Deno.test("output that nobody reads is dropped, also on a descriptor that blocks, and goes on when somebody does", () => {
  withPipe((reader, writer) => {
    const sink = sinkTo(writer, 1);
    const filled = fill(writer);
    for (let i = 0; i < 1000; i++) sink(0x41);
    drain(reader, filled);
    sink(0x42);
    const piece = new Uint8Array(16);
    assertEquals([...piece.subarray(0, readFd(reader, piece))], [0x42]);
  });
});

Deno.test("output to somebody who has gone away is dropped", () => {
  const [near, far] = createSocketPair();
  closeFd(far);
  const sink = sinkTo(near);
  sink(0x41);
  sink(0x42);
  closeFd(near);
});

Deno.test("backends open to what they stand for", () => {
  assertEquals(openOutput({ kind: "null" }), undefined);
  assertEquals(openOutput({ kind: "stdio" }), 1);
});

Deno.test("a file backend begins anew each time", () => {
  const path = Deno.makeTempFileSync({ prefix: "splitvm-test-" });
  try {
    for (const text of ["first", "2nd"]) {
      const fd = openOutput({ kind: "file", path })!;
      new TextEncoder().encode(text).forEach(sinkTo(fd));
      closeFd(fd);
      assertEquals(Deno.readTextFileSync(path), text);
    }
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("a file that cannot be made is named", () => {
  assertThrows(() => openOutput({ kind: "file", path: "/nonexistent/log" }), Error, "output to /nonexistent/log");
});
