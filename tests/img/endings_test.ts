/**
 * How long work ends: done, with a full disk, by a signal; and what of it is seen on a terminal.
 */
import { assert, assertEquals } from "@std/assert";
import { type Requirement, testNeeding } from "../support/requirements.ts";
import { Terminal } from "../support/terminal.ts";
import { assertOneLine, ENVIRONMENT, Folder, IMG, QEMU_IMG } from "./support.ts";

/** A file system of a few MiB, which only root can mount. */
const MOUNT: Requirement = {
  name: "the right to mount a tmpfs",
  remedy: "run as root",
  isMet: () => new Deno.Command("unshare", { args: ["--mount", "true"], stderr: "null" }).outputSync().success,
};

/** Runs a body with a folder that holds 2 MiB. */
async function withSmallFolder(folder: Folder, body: (path: string) => Promise<void>): Promise<void> {
  const path = `${folder.path}/small`;
  await Deno.mkdir(path);
  await folder.tool("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path);
  try {
    await body(path);
  } finally {
    await folder.tool("umount", path);
  }
}

/** An image with data that do not compress. */
async function makeRandom(folder: Folder, megabytes: number): Promise<void> {
  await folder.tool("dd", "if=/dev/urandom", "of=src", "bs=1M", `count=${megabytes}`, "status=none");
}

for (const options of [["-O", "raw"], ["-O", "qcow2"], ["-c", "-O", "qcow2"]]) {
  testNeeding(
    [MOUNT],
    `convert ${options.join(" ")} to a disk that is full ends in one line, and leaves nothing there`,
    () =>
      Folder.with(async (folder) => {
        await makeRandom(folder, 8);
        await withSmallFolder(folder, async (path) => {
          assertOneLine(await folder.img("convert", "-f", "raw", ...options, "src", "small/dst"), "ENOSPC");
          assertEquals([...Deno.readDirSync(path)], []);
        });
      }),
  );
}

testNeeding(
  [MOUNT],
  "a target that was there before stays there when the disk is full",
  () =>
    Folder.with(async (folder) => {
      await makeRandom(folder, 8);
      await withSmallFolder(folder, async (path) => {
        await folder.tool("truncate", "-s", "8M", `${path}/dst`);
        for (const options of [["-n"], []]) {
          assertOneLine(await folder.img("convert", "-f", "raw", ...options, "src", "small/dst"), "ENOSPC");
          assertEquals([...Deno.readDirSync(path)].map(({ name }) => name), ["dst"]);
        }
      });
    }),
);

testNeeding(
  [MOUNT],
  "create with space that is not there ends in one line, and leaves nothing there",
  () =>
    Folder.with((folder) =>
      withSmallFolder(folder, async (path) => {
        for (const format of ["raw", "qcow2"]) {
          const options = ["-q", "-f", format, "-o", "preallocation=full"];
          assertOneLine(await folder.img("create", ...options, "small/a", "8M"), "ENOSPC");
          assertEquals([...Deno.readDirSync(path)], []);
        }
      })
    ),
);

/** Starts a conversion that takes long, and waits until it has made its target. */
async function startLong(folder: Folder): Promise<{ process: Deno.ChildProcess; stderr: Promise<string> }> {
  const [command, ...args] = [
    ...IMG,
    "convert",
    "-p",
    "-S",
    "0",
    "-m",
    "1",
    "-t",
    "writethrough",
    "-O",
    "qcow2",
    "src",
    "dst",
  ];
  const process = new Deno.Command(command, { args, cwd: folder.path, env: ENVIRONMENT, stderr: "piped" }).spawn();
  const stderr = new Response(process.stderr).text();
  while (!folder.names().includes("dst")) await new Promise((resolve) => setTimeout(resolve, 5));
  return { process, stderr };
}

for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
  Deno.test(`a conversion that ${signal} ends has the exit status ${status}, and its target is gone`, () =>
    Folder.with(async (folder) => {
      await folder.tool("truncate", "-s", "100G", "src");
      const { process, stderr } = await startLong(folder);
      process.kill(signal);
      const { code } = await process.status;
      assertEquals(code, status);
      assertEquals(folder.names(), ["src"]);
      // What the shell prints next has a line of its own.
      const text = await stderr;
      assert(text === "" || text.endsWith("\n"), text);
      assert(!text.includes("splitvm img:"), text);
    }));
}

testNeeding(
  [QEMU_IMG],
  "images that were read by a conversion that a signal ended can be used",
  () =>
    Folder.with(async (folder) => {
      await folder.qemu("create", "-f", "qcow2", "src", "100G");
      const { process, stderr } = await startLong(folder);
      process.kill("SIGINT");
      await process.status;
      await stderr;
      await folder.write("src", "write 0 64k");
      await folder.assertConsistent("src");
    }),
);

/** Runs `splitvm img` with a terminal for standard error. @returns what the terminal shows. */
async function onTerminal(folder: Folder, ...args: string[]): Promise<string> {
  const terminal = new Terminal();
  try {
    const script = `"$@" 2>${terminal.path}; echo "status $?" >${terminal.path}`;
    const ended = new Deno.Command("sh", {
      args: ["-c", script, "sh", ...IMG, ...args],
      cwd: folder.path,
      env: ENVIRONMENT,
    })
      .output();
    await ended;
    return terminal.waitFor("status 0\r\n");
  } finally {
    terminal.close();
  }
}

Deno.test("on a terminal, long work has a progress bar that is complete in the end", () =>
  Folder.with(async (folder) => {
    await folder.tool("truncate", "-s", "64M", "src");
    const shown = await onTerminal(folder, "convert", "-p", "-S", "0", "-f", "raw", "src", "dst");
    assert(/\r\[=+\] +100\.00% .* in \d+:\d\d *\r\nstatus 0/.test(shown), JSON.stringify(shown));
  }));

Deno.test("on a terminal, work with -q has no progress bar", () =>
  Folder.with(async (folder) => {
    await folder.tool("truncate", "-s", "1M", "src");
    assertEquals(await onTerminal(folder, "convert", "-p", "-q", "-f", "raw", "src", "dst"), "status 0\r\n");
  }));

Deno.test("without a terminal there is a progress bar only with -p", () =>
  Folder.with(async (folder) => {
    await folder.tool("truncate", "-s", "1M", "src");
    assertEquals((await folder.img("convert", "-f", "raw", "src", "dst")).stderr, "");
    assert((await folder.img("convert", "-p", "-f", "raw", "src", "dst")).stderr.includes("100.00%"));
  }));
