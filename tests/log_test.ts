/** Lines on standard error, and what a program does when they are not taken. */
import { assertEquals } from "@std/assert";
import { closeFd, createPipe, openFile, OpenFlags, setNonblocking, writeFd } from "../src/ffi/file.ts";
import { spawn } from "../src/ffi/process.ts";
import { closeAll } from "../src/ffi/socket.ts";
import { childEnvironment, readAll } from "./support/child.ts";

const FIXTURE = new URL("./log_fixture.ts", import.meta.url).pathname;

/** Runs a program of the project with this standard error, all permissions but those that are denied, and no input. */
function run(stderr: number, program: readonly string[], permissions = ["--allow-ffi"]) {
  const [reader, stdout] = createPipe();
  try {
    const command = [Deno.execPath(), "run", "--no-prompt", "--no-check", "--cached-only", ...permissions, ...program];
    const child = spawn({
      command,
      env: childEnvironment(),
      descriptors: new Map([[0, null], [1, stdout], [2, stderr]]),
    });
    closeFd(stdout);
    const printed = readAll(reader);
    const status = child.wait();
    child.close();
    return { printed, status };
  } finally {
    closeFd(reader);
  }
}

const STILL_THERE = { printed: "still there\n", status: { code: 0 } };

Deno.test("each line of the log is one line of standard error, after the program's name", () => {
  const [reader, stderr] = createPipe();
  assertEquals(run(stderr, [FIXTURE, "2"]), STILL_THERE);
  closeFd(stderr);
  assertEquals(readAll(reader), "splitvm: line 0\nsplitvm: line 1\n");
  closeFd(reader);
});

Deno.test("without permission to call the kernel, lines are written as well", () => {
  const [reader, stderr] = createPipe();
  assertEquals(run(stderr, [FIXTURE, "1"], []), STILL_THERE);
  closeFd(stderr);
  assertEquals(readAll(reader), "splitvm: line 0\n");
  closeFd(reader);
});

for (const permissions of [["--allow-ffi"], []]) {
  const what = permissions.length > 0 ? "a program" : "a program without permissions";
  Deno.test(`${what} goes on when standard error is full`, () => {
    const stderr = openFile("/dev/full", OpenFlags.O_WRONLY);
    try {
      assertEquals(run(stderr, [FIXTURE, "10"], permissions), STILL_THERE);
    } finally {
      closeFd(stderr);
    }
  });
}

for (const nonblocking of [true, false]) {
  Deno.test(`a program goes on when nobody empties the pipe that is standard error and ${nonblocking ? "does not block" : "blocks"}`, () => {
    const pipe = createPipe();
    try {
      setNonblocking(pipe[1], true);
      while (writeFd(pipe[1], new Uint8Array(4096)) > 0);
      setNonblocking(pipe[1], nonblocking);
      assertEquals(run(pipe[1], [FIXTURE, "100"]), STILL_THERE);
    } finally {
      closeAll(pipe);
    }
  });
}

Deno.test("a program goes on when standard error has lost its reader", () => {
  const [reader, stderr] = createPipe();
  closeFd(reader);
  assertEquals(run(stderr, [FIXTURE, "10"]), STILL_THERE);
  closeFd(stderr);
});

Deno.test("a bad command line fails with status 1 also when nobody can be told", () => {
  const stderr = openFile("/dev/full", OpenFlags.O_WRONLY);
  const main = new URL("../main.ts", import.meta.url).pathname;
  try {
    for (const argv of [["-nographc"], ["-machine", "remote", "-nographc"], []]) {
      assertEquals(run(stderr, [main, ...argv]), { printed: "", status: { code: 1 } });
    }
  } finally {
    closeFd(stderr);
  }
});
