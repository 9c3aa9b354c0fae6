import { assertEquals } from "@std/assert";
import { closeFd, createPipe, openFile, OpenFlags, readFd, setNonblocking, writeFd } from "../../src/ffi/file.ts";
import { PatientWriter } from "../../src/ffi/patient_writer.ts";
import { closeAll } from "../../src/ffi/socket.ts";

const LINE = new TextEncoder().encode("a line\n");

function withPipe(body: (reader: number, writer: number) => void): void {
  const ends = createPipe();
  try {
    body(...ends);
  } finally {
    closeAll(ends);
  }
}

/** Fills a pipe. @returns the number of bytes that it took. */
function fill(fd: number): number {
  setNonblocking(fd, true);
  let filled = 0;
  for (let step; (step = writeFd(fd, new Uint8Array(4096))) > 0;) filled += step;
  setNonblocking(fd, false);
  return filled;
}

function drain(fd: number, length: number): void {
  for (let left = length; left > 0;) left -= readFd(fd, new Uint8Array(Math.min(left, 65536)));
}

function contents(fd: number): string {
  const piece = new Uint8Array(65536);
  return new TextDecoder().decode(piece.subarray(0, readFd(fd, piece)));
}

function write(fd: number, bytes: Uint8Array<ArrayBuffer> = LINE): void {
  new PatientWriter({ fd, piece: 4096, patience: 1 }).write(bytes);
}

Deno.test("bytes that are taken arrive whole, in however many pieces", () => {
  withPipe((reader, fd) => {
    const text = "0123456789".repeat(1000);
    write(fd, new TextEncoder().encode(text));
    assertEquals(contents(reader), text);
  });
});

for (const nonblocking of [false, true]) {
  Deno.test(`a full pipe that ${nonblocking ? "does not block" : "blocks"} loses what is written, and takes the next`, () => {
    withPipe((reader, fd) => {
      const filled = fill(fd);
      setNonblocking(fd, nonblocking);
      const writer = new PatientWriter({ fd, piece: 4096, patience: 1 });
      writer.write(LINE);
      writer.write(LINE);
      drain(reader, filled);
      writer.write(new TextEncoder().encode("the next"));
      assertEquals(contents(reader), "the next");
    });
  });
}

for (const device of ["/dev/full", "/dev/null"]) {
  Deno.test(`${device} is written to without an error`, () => {
    const fd = openFile(device, OpenFlags.O_WRONLY);
    try {
      write(fd);
    } finally {
      closeFd(fd);
    }
  });
}

Deno.test("a descriptor that is only for reading is written to without an error", () => {
  const fd = openFile("/dev/null", OpenFlags.O_RDONLY);
  try {
    write(fd);
  } finally {
    closeFd(fd);
  }
});

Deno.test("a pipe that nobody reads, and a descriptor that is not open, are written to without an error", () => {
  const [reader, fd] = createPipe();
  closeFd(reader);
  write(fd);
  closeFd(fd);
  write(fd);
});
