import { assert, assertEquals } from "@std/assert";
import { openHostFile } from "../../src/block/open_host_file.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { testNeeding } from "../support/requirements.ts";
import { assertOneLine, Folder, QEMU_IMG } from "./support.ts";

/** Options of `create`, which both tools get; images are called `a`. */
const CREATIONS: readonly (readonly string[])[] = [
  ["-f", "raw", "a", "10M"],
  ["a", "1000"],
  ["-f", "raw", "-o", "preallocation=falloc", "a", "1M"],
  ["-f", "raw", "-o", "preallocation=full", "a", "3M"],
  ["-f", "qcow2", "a", "1G"],
  ["-fqcow2", "a", "1001"],
  ["-f", "qcow2", "-o", "size=64M", "a"],
  ["-f", "qcow2", "-o", "compat=0.10", "a", "10M"],
  ["-f", "qcow2", "-o", "compat=1.1,lazy_refcounts=on,refcount_bits=1,cluster_size=512", "a", "10M"],
  ["-f", "qcow2", "-o", "cluster_size=2M", "-o", "refcount_bits=64", "a", "10T"],
  ["-f", "qcow2", "-o", "extended_l2=on,compression_type=zstd", "a", "100M"],
  ["-f", "qcow2", "-o", "preallocation=metadata", "a", "10M"],
  ["-f", "qcow2", "-o", "preallocation=falloc,cluster_size=4k", "a", "5M"],
  ["-f", "qcow2", "-o", "preallocation=full", "a", "5M"],
  ["-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "a", "5M"],
  ["-f", "qcow2", "-b", "base,1.qcow2", "-F", "qcow2", "a"],
  ["-f", "qcow2", "-b", "base,1.qcow2", "-F", "qcow2", "a", "100M"],
  ["-f", "qcow2", "-u", "-b", "missing.raw", "-F", "raw", "a", "1M"],
];

for (const creation of CREATIONS) {
  testNeeding(
    [QEMU_IMG],
    `create ${creation.join(" ")} makes what qemu-img makes`,
    () =>
      Folder.with(async (folder) => {
        await folder.qemu("create", "-f", "qcow2", "base,1.qcow2", "20M");
        const ours = await folder.img("create", ...creation);
        assertEquals([ours.code, ours.stderr], [0, ""]);
        const info = await folder.info("a");
        if (info.format === "qcow2" && !creation.includes("-u")) await folder.assertConsistent("a");
        await Deno.remove(`${folder.path}/a`);
        const theirs = await folder.qemu("create", ...creation);
        assertEquals(ours.stdout, theirs.stdout);
        const expected = await folder.info("a");
        // How much space tables take depends on where they lie.
        assertEquals({ ...info, "actual-size": 0 }, { ...expected, "actual-size": 0 });
      }),
  );
}

Deno.test("create -q prints nothing", () =>
  Folder.with(async (folder) => {
    assertEquals(await folder.img("create", "-q", "a", "1M"), { code: 0, stdout: "", stderr: "" });
    assertEquals(Deno.statSync(`${folder.path}/a`).size, 2 ** 20);
  }));

Deno.test("create -o help lists the options of a format and makes nothing", () =>
  Folder.with(async (folder) => {
    const { code, stdout } = await folder.img("create", "-f", "qcow2", "-o", "help");
    assertEquals(code, 0);
    for (const option of ["cluster_size", "compression_type", "data_file_raw"]) assert(stdout.includes(option), option);
    assertEquals(folder.names(), []);
  }));

Deno.test("an image that cannot be made is not left behind", () =>
  Folder.with(async (folder) => {
    assertOneLine(await folder.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "a", "100T"), "too large");
    assertEquals(folder.names(), []);
  }));

const MISTAKES: readonly (readonly [args: readonly string[], message: string])[] = [
  [["-f", "qcow2", "a"], "create: SIZE is missing"],
  [["-f", "raw", "-b", "base", "-F", "raw", "a"], "create -b: raw images have no backing file"],
  [["-f", "qcow2", "-b", "base", "a"], "the backing file's format is missing"],
  [["-f", "qcow2", "-F", "raw", "a", "1M"], "create -F: is for a backing file"],
  [["-f", "qcow2", "-b", "missing", "-F", "raw", "a", "1M"], "Cannot open missing: there is no such file"],
  [["-f", "qcow2", "-b", "nbd:x", "-F", "raw", "a", "1M"], "the protocol 'nbd' is not served"],
  [["-f", "qcow2", "-o", "cluster_size=3k", "a", "1M"], "expected a power of two from 512 to 2M"],
  [["-f", "qcow2", "-o", "clustersize=4k", "a", "1M"], "did you mean 'cluster_size'?"],
  [["-f", "qcow2", "-o", "encryption=on", "a", "1M"], "'encryption' is not supported"],
  [["-f", "qcow2", "-o", "size=1M", "a", "1M"], "create SIZE: is given twice"],
  [["missing/a", "1M"], "there is no such file"],
  [[".", "1M"], "it is a directory"],
];

for (const [args, message] of MISTAKES) {
  Deno.test(`create ${args.join(" ")} is refused in one line`, () =>
    Folder.with(async (folder) => {
      assertOneLine(await folder.img("create", "-q", ...args), message);
      assertEquals(folder.names(), []);
    }));
}

testNeeding([QEMU_IMG], "the backing file of a new image is not written over", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "1M");
    await folder.tool("ln", "a", "same");
    const before = await Deno.readFile(`${folder.path}/a`);
    for (const name of ["a", "./a", "same"]) {
      for (const options of [[], ["-u"]]) {
        const args = ["create", "-q", ...options, "-f", "qcow2", "-b", name, "-F", "qcow2", "a", "1M"];
        assertOneLine(await folder.img(...args), "it is in use already");
      }
    }
    const dataFile = ["create", "-q", "-f", "qcow2", "-b", "a", "-F", "qcow2", "-o", "data_file=a", "new", "1M"];
    assertOneLine(await folder.img(...dataFile), "it is in use already");
    assertEquals(await Deno.readFile(`${folder.path}/a`), before);
    assertEquals(folder.names(), ["a", "same"]);
  }));

testNeeding(
  [QEMU_IMG],
  "an image that is in use can be the backing file of a new one",
  () =>
    Folder.with(async (folder) => {
      await folder.qemu("create", "-f", "qcow2", "a", "1M");
      const loop = new EventLoop();
      const user = openHostFile(`${folder.path}/a`, { loop });
      assertEquals((await folder.img("create", "-q", "-f", "qcow2", "-b", "a", "-F", "qcow2", "b")).stderr, "");
      user.close();
      assertEquals((await folder.info("b"))["virtual-size"], 2 ** 20);
    }),
);

testNeeding([QEMU_IMG], "an image that is in use is not made anew", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "1M");
    const user = new Deno.Command("qemu-io", {
      args: ["-f", "qcow2", "a"],
      cwd: folder.path,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = user.stdout.getReader();
    await reader.read(); // its prompt: the image is open
    assertOneLine(await folder.img("create", "-q", "-f", "raw", "a", "1M"), "it is in use already");
    await user.stdin.close();
    reader.releaseLock();
    await user.stdout.cancel();
    await user.status;
    await folder.assertConsistent("a");
  }));
