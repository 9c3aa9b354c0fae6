import { assert, assertEquals } from "@std/assert";
import { closeFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { freshIdentity, spawnJailed } from "../../src/proxy/jail.ts";
import { largestFile } from "../../src/proxy/largest_file.ts";
import { readAll } from "../support/child.ts";
import { leakingNothing } from "../support/leaks.ts";

const GIB = 2 ** 30;
const RAW = { format: "raw", snapshot: false } as const;

/** Calls with a file of so many bytes. */
function withFile<T>(size: number, body: (fd: number) => T): T {
  const path = Deno.makeTempFileSync({ dir: "/var/tmp", prefix: "splitvm-largest-" });
  Deno.truncateSync(path, size);
  const fd = openFile(path, OpenFlags.O_RDWR);
  try {
    return body(fd);
  } finally {
    closeFd(fd);
    Deno.removeSync(path);
  }
}

Deno.test("files of raw images stay as long as the longest is, or get no longer than a gibibyte", () => {
  assertEquals(withFile(3 * GIB, (fd) => largestFile([RAW, RAW], [{ fd }])), 3 * GIB);
  assertEquals(withFile(4096, (fd) => largestFile([RAW], [{ fd }])), GIB);
  assertEquals(largestFile([], []), GIB);
});

Deno.test("where an image may grow, there is no limit", () => {
  withFile(4096, (fd) => {
    assertEquals(largestFile([RAW, { format: "qcow2", snapshot: false }], [{ fd }]), undefined);
    assertEquals(largestFile([{ format: undefined, snapshot: false }], [{ fd }]), undefined);
    assertEquals(largestFile([{ format: "raw", snapshot: true }], [{ fd }]), undefined);
  });
});

/** A shell in a jail that writes a line to the end of a file of 4096 bytes. @returns its status and messages. */
function appendTo(largest: number | undefined) {
  return withFile(4096, (file) => {
    const [ours, theirs] = createSocketPair();
    const { process } = spawnJailed({
      command: ["/bin/sh", "-c", "read -r x <&3 || :; echo more >&3; echo status $?"],
      env: {},
      descriptors: new Map([[0, null], [1, theirs], [2, theirs], [3, file]]),
      identity: freshIdentity(),
      filter: { rules: [], otherwise: "allow" },
      largestFile: largest,
    });
    closeFd(theirs);
    const text = readAll(ours);
    const status = process.wait();
    process.close();
    closeFd(ours);
    return { status, text };
  });
}

Deno.test(
  "a process that makes a file longer than it may is told so, and lives on",
  leakingNothing(() => {
    assertEquals(appendTo(undefined), { status: { code: 0 }, text: "status 0\n" });
    const { status, text } = appendTo(4096);
    assertEquals(status, { code: 0 });
    assert(text.endsWith("status 1\n"), text);
  }),
);
