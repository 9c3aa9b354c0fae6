import { assertEquals } from "@std/assert";
import { closeFd, createPipe, readFd, redirectFd, setNonblocking, writeFd } from "../../../src/ffi/file.ts";
import { closeAll, createSocketPair } from "../../../src/ffi/socket.ts";
import { openPseudoTerminal } from "../../../src/ffi/terminal.ts";
import { Output, Timestamps, TIMESTAMPS_SIZE } from "../../../src/vmm/console/output.ts";
import { openSlave } from "../../support/terminal.ts";

/** A pipe for a test. */
function withPipe(body: (reader: number, writer: number) => void): void {
  const ends = createPipe();
  try {
    body(...ends);
  } finally {
    closeAll(ends);
  }
}

/** What is there to read. @param least Waits for so many bytes: the kernel passes them on to a terminal when it finds time. @default {1} */
function contents(fd: number, least = 1): string {
  const piece = new Uint8Array(4096);
  let length = 0;
  for (let step = 1; length < least && step > 0; length += step) step = readFd(fd, piece.subarray(length));
  return new TextDecoder().decode(piece.subarray(0, length));
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

/** Prints characters one by one, as a guest does. */
function type(output: Output, text: string): void {
  for (const byte of new TextEncoder().encode(text)) output.put(byte);
}

Deno.test("bytes go to the descriptor as they come", () => {
  withPipe((reader, fd) => {
    const output = new Output({ fd });
    [0x68, 0x69, 0xff].forEach((byte) => output.put(byte));
    const piece = new Uint8Array(16);
    assertEquals([...piece.subarray(0, readFd(reader, piece))], [0x68, 0x69, 0xff]);
  });
});

Deno.test("text goes to the descriptor whole, however long", () => {
  withPipe((reader, fd) => {
    const text = "0123456789".repeat(100);
    new Output({ fd }).print(text);
    assertEquals(contents(reader), text);
  });
});

Deno.test("a device without a descriptor drops what is written", () => {
  const output = new Output({ fd: undefined });
  output.put(0x41);
  output.print("text");
});

Deno.test("output that nobody reads is dropped, also on a descriptor that blocks, and goes on when somebody does", () => {
  withPipe((reader, fd) => {
    const output = new Output({ fd, patience: 1 });
    const filled = fill(fd);
    type(output, "A".repeat(1000));
    drain(reader, filled);
    output.put(0x42);
    assertEquals(contents(reader), "B");
  });
});

Deno.test("output to somebody who has gone away is dropped, and reaches whoever comes next", () => {
  const [fd, far] = createSocketPair();
  const [next, theirs] = createSocketPair();
  closeFd(far);
  const output = new Output({ fd });
  type(output, "lost");
  redirectFd(next, fd);
  type(output, "kept");
  assertEquals(contents(theirs), "kept");
  closeAll([fd, next, theirs]);
});

Deno.test("a pseudo-terminal keeps nothing for whoever opens it later", () => {
  const { master, path } = openPseudoTerminal();
  const output = new Output({ fd: master });
  type(output, "lost");
  const slave = openSlave(path);
  type(output, "kept");
  assertEquals(contents(slave, 4), "kept");
  closeAll([slave, master]);
});

Deno.test("timestamps begin each line while they are on, and count from then", () => {
  const timestamps = new Timestamps(new SharedArrayBuffer(TIMESTAMPS_SIZE));
  let now = 5e9;
  const print = (text: string) =>
    [...text].map((character) => timestamps.before(character.charCodeAt(0), () => now) + character).join("");
  assertEquals(print("a\nb"), "a\nb");
  timestamps.toggle(now);
  assertEquals(print("c\n"), "c\n");
  now += 3_723_004e6;
  assertEquals(print("d\ne\n\n"), "[01:02:03.004] d\n[01:02:03.004] e\n[01:02:03.004] \n");
  timestamps.toggle(now);
  assertEquals(print("f\n"), "f\n");
});
