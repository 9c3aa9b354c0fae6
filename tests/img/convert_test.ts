import { assert, assertEquals } from "@std/assert";
import { testNeeding } from "../support/requirements.ts";
import { runs } from "../support/runs.ts";
import { assertOneLine, Folder, QEMU_IMG } from "./support.ts";

const MiB = 2 ** 20;

/** Images that are converted, all with some data: name → how qemu-img makes it. */
const SOURCES: Readonly<Record<string, (folder: Folder) => Promise<unknown>>> = {
  raw: (folder) => folder.qemu("create", "-f", "raw", "src", "20M"),
  qcow2: (folder) => folder.qemu("create", "-f", "qcow2", "src", "20M"),
  "qcow2 with small clusters": (folder) =>
    folder.qemu("create", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=1", "src", "20M"),
  "qcow2 with subclusters": (folder) =>
    folder.qemu("create", "-f", "qcow2", "-o", "extended_l2=on,compression_type=zstd", "src", "20M"),
  "qcow2 with a raw data file": (folder) =>
    folder.qemu("create", "-f", "qcow2", "-o", "data_file=src.data,data_file_raw=on", "src", "20M"),
};

async function makeSource(folder: Folder, make: (folder: Folder) => Promise<unknown>, format = "qcow2"): Promise<void> {
  await make(folder);
  const commands = [
    "write -P 1 0 3M",
    "write -P 2 5000k 77k",
    "write -P 0 7M 1M",
    "write -P 3 20479k 1k",
    "write -z 1M 64k",
  ];
  await folder.tool("qemu-io", "-f", format, ...commands.flatMap((command) => ["-c", command]), "src");
}

/** Options of `convert`; the target is called `dst`. */
const CONVERSIONS: readonly (readonly string[])[] = [
  [],
  ["-O", "raw", "-S", "0"],
  ["-O", "raw", "-m", "1", "-t", "none", "-T", "none"],
  ["-O", "raw", "-o", "preallocation=full"],
  ["-O", "qcow2"],
  ["-O", "qcow2", "-W", "-m", "16", "-S", "64k"],
  ["-O", "qcow2", "-o", "cluster_size=512,compat=0.10"],
  ["-O", "qcow2", "-o", "extended_l2=on,cluster_size=16k", "-t", "writethrough"],
  ["-O", "qcow2", "-o", "preallocation=metadata", "-t", "unsafe"],
  ["-O", "qcow2", "-o", "data_file=dst.data"],
  ["-c", "-O", "qcow2"],
  ["-c", "-O", "qcow2", "-o", "compression_type=zstd,cluster_size=4k"],
  ["-c", "-O", "qcow2", "-o", "refcount_bits=1,cluster_size=2M"],
];

/** Of this many sources each conversion is tried with one. */
const SHARE = runs(Object.keys(SOURCES).length, 1);

for (const [number, [what, make]] of Object.entries(SOURCES).entries()) {
  testNeeding([QEMU_IMG], `conversions of a ${what} image have its contents`, () =>
    Folder.with(async (folder) => {
      await makeSource(folder, make, what === "raw" ? "raw" : "qcow2");
      for (const options of CONVERSIONS.filter((_, index) => index % SHARE === number % SHARE)) {
        const outcome = await folder.img("convert", ...options, "src", "dst");
        assertEquals(outcome, { code: 0, stdout: "", stderr: "" }, options.join(" "));
        await folder.assertSame("src", "dst");
        if (options.includes("qcow2")) await folder.assertConsistent("dst");
        await Deno.remove(`${folder.path}/dst`);
      }
    }, "/var/tmp"));
}

testNeeding(
  [QEMU_IMG],
  "what qemu-img has compressed is read, and what splitvm has compressed is read by qemu-img",
  () =>
    Folder.with(async (folder) => {
      await folder.tool("sh", "-c", `tar -c -C /usr/bin . | head -c ${runs(8, 24)}M > src`);
      for (const type of ["zlib", "zstd"]) {
        const options = ["-c", "-f", "raw", "-O", "qcow2", "-o", `compression_type=${type}`];
        assertEquals((await folder.img("convert", ...options, "src", "ours")).code, 0);
        await folder.qemu("convert", ...options, "src", "theirs");
        await folder.assertConsistent("ours");
        const { "compressed-clusters": ours } = JSON.parse(
          (await folder.qemu("check", "--output=json", "ours")).stdout,
        );
        const { "compressed-clusters": theirs } = JSON.parse(
          (await folder.qemu("check", "--output=json", "theirs")).stdout,
        );
        assert(Math.abs(ours - theirs) <= 0.05 * theirs, `${ours} and ${theirs} clusters`);
        assert(folder.allocated("ours") < 0.8 * folder.allocated("src"));
        assertEquals((await folder.img("convert", "theirs", "back")).code, 0);
        await folder.tool("cmp", "src", "back");
        await folder.tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "src", "ours");
      }
    }),
);

testNeeding(
  [QEMU_IMG],
  "compressed clusters can be written over, by qemu-img and by splitvm",
  () =>
    Folder.with(async (folder) => {
      await makeSource(folder, SOURCES.qcow2);
      await folder.img("convert", "-c", "-O", "qcow2", "src", "dst");
      for (const image of ["src", "dst"]) await folder.write(image, "write -P 9 100k 300k", "discard 2M 1M");
      await folder.assertConsistent("dst");
      await folder.assertSame("src", "dst");
      assertEquals((await folder.img("convert", "-c", "-n", "-O", "qcow2", "src", "dst")).code, 0);
      await folder.assertConsistent("dst");
      await folder.assertSame("src", "dst");
    }),
);

testNeeding([QEMU_IMG], "a chain of backing files becomes one image", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "raw", "base", "5M");
    await folder.tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 5M", "base");
    await folder.qemu("create", "-f", "qcow2", "-b", "base", "-F", "raw", "middle", "3M");
    await folder.write("middle", "write -P 2 1M 1M");
    await folder.qemu("create", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "src", "10M");
    await folder.write("src", "write -P 3 9M 64k", "write -z 512k 64k");
    assertEquals((await folder.img("convert", "-O", "qcow2", "src", "dst")).code, 0);
    await folder.assertSame("src", "dst");
    assertEquals((await folder.info("dst"))["backing-filename"], undefined);
  }));

testNeeding(
  [QEMU_IMG],
  "convert -B stores what differs from the backing file, and nothing else",
  () =>
    Folder.with(async (folder) => {
      await folder.qemu("create", "-f", "qcow2", "base", "20M");
      await folder.write("base", "write -P 1 0 10M");
      await folder.qemu("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "src", "30M");
      await folder.write("src", "write -P 2 5M 64k", "write -P 1 6M 1M", "write -z 8M 1M", "write -P 3 29M 64k");
      assertEquals((await folder.img("convert", "-O", "qcow2", "-B", "base", "-F", "qcow2", "src", "dst")).code, 0);
      await folder.assertSame("src", "dst");
      await folder.assertConsistent("dst");
      assertEquals((await folder.info("dst"))["backing-filename"], "base");
      const { "allocated-clusters": clusters } = JSON.parse(
        (await folder.qemu("check", "--output=json", "dst")).stdout,
      );
      assert(clusters <= 18, `${clusters} clusters`);
    }),
);

testNeeding(
  [QEMU_IMG],
  "a conversion leaves out zeroes, in small pieces or large ones",
  () =>
    Folder.with(async (folder) => {
      await folder.tool("truncate", "-s", "64M", "src");
      await folder.tool("qemu-io", "-f", "raw", ...["-c", "write -P 1 8M 4k", "-c", "write -P 0 32M 8M"], "src");
      await folder.img("convert", "-f", "raw", "src", "dst");
      assert(folder.allocated("dst") <= 16384, `${folder.allocated("dst")} bytes`);
      await folder.img("convert", "-f", "raw", "-S", "0", "src", "full");
      assertEquals(folder.allocated("full") >= 64 * MiB, true);
      await folder.assertSame("dst", "full");
    }),
);

testNeeding([QEMU_IMG], "a terabyte of nothing takes no time", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "src", "1T");
    await folder.write("src", "write -P 1 700G 1M");
    assertEquals((await folder.img("convert", "-O", "qcow2", "src", "dst")).code, 0);
    await folder.tool("qemu-io", "-c", "read -P 1 700G 1M", "dst");
  }));

testNeeding(
  [QEMU_IMG],
  "convert -n writes over an image that is there, zeroes included",
  () =>
    Folder.with(async (folder) => {
      await makeSource(folder, SOURCES.qcow2);
      for (const format of ["raw", "qcow2"]) {
        await folder.qemu("create", "-f", format, format, "20M");
        await folder.tool("qemu-io", "-f", format, "-c", "write -P 0xee 0 20M", format);
        assertEquals((await folder.img("convert", "-n", "-O", format, "src", format)).code, 0);
        await folder.assertSame("src", format);
        await folder.assertConsistent("src");
      }
    }),
);

testNeeding(
  [QEMU_IMG],
  "convert -n refuses an image that is too small, and leaves it there",
  () =>
    Folder.with(async (folder) => {
      await makeSource(folder, SOURCES.qcow2);
      await folder.qemu("create", "-f", "raw", "dst", "10M");
      assertOneLine(
        await folder.img("convert", "-n", "src", "dst"),
        "it has 10485760 bytes, and 20971520 are to be written",
      );
      assertOneLine(await folder.img("convert", "-n", "src", "missing"), "there is no such file");
      assertEquals(folder.names(), ["dst", "src"]);
    }),
);

testNeeding([QEMU_IMG], "an image that is read is not written over", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "raw", "base", "5M");
    await folder.qemu("create", "-f", "qcow2", "-b", "base", "-F", "raw", "src", "3M");
    await folder.tool("ln", "-s", "src", "other");
    await folder.tool("ln", "src", "same");
    const before = await Deno.readFile(`${folder.path}/src`);
    for (const target of ["src", "./src", "other", "same"]) {
      for (const options of [[], ["-n"], ["-U"]]) {
        assertOneLine(await folder.img("convert", ...options, "src", target), "it is in use already");
      }
    }
    await folder.tool("cp", "src", "top");
    for (const args of [["-U", "src", "base"], ["-B", "base", "-F", "raw", "-O", "qcow2", "top", "base"]]) {
      assertOneLine(await folder.img("convert", ...args), "it is in use already");
    }
    for (const file of ["src", "base"]) {
      const args = ["-U", "-O", "qcow2", "-o", `data_file=${file}`, "src", "dst"];
      assertOneLine(await folder.img("convert", ...args), "it is in use already");
    }
    assertEquals(await Deno.readFile(`${folder.path}/src`), before);
    assertEquals((await folder.info("base"))["virtual-size"], 5 * MiB);
  }));

const MISTAKES: readonly (readonly [args: readonly string[], message: string])[] = [
  [["-c", "src", "dst"], "convert -c: raw images cannot be compressed"],
  [["-O", "vmdk", "src", "dst"], "'vmdk' is not accepted; expected raw or qcow2"],
  [["-B", "base", "-O", "qcow2", "src", "dst"], "the backing file's format is missing"],
  [["-B", "base", "-F", "raw", "src", "dst"], "raw images have no backing file"],
  [["-n", "-o", "compat=1.1", "-O", "qcow2", "src", "dst"], "convert -o: is for a new image"],
  [["--target-is-zero", "src", "dst"], "expected -n as well"],
  [["-o", "size=5M", "src", "dst"], "'size' is that of SRC"],
  [["-S", "1000", "src", "dst"], "'1000' is not accepted; expected a multiple of 512"],
  [["missing", "dst"], "Cannot open missing"],
  [["src", "missing/dst"], "there is no such file"],
  [["-c", "-O", "qcow2", "-o", "data_file=dst.data", "src", "dst"], "which holds no compressed clusters"],
];

for (const [args, message] of MISTAKES) {
  testNeeding(
    [QEMU_IMG],
    `convert ${args.join(" ")} is refused in one line, and leaves nothing behind`,
    () =>
      Folder.with(async (folder) => {
        await makeSource(folder, SOURCES.qcow2);
        assertOneLine(await folder.img("convert", ...args), message);
        assertEquals(folder.names(), ["src"]);
      }),
  );
}

testNeeding(
  [QEMU_IMG],
  "a source that is damaged ends the conversion in one line, and the target is removed",
  () =>
    Folder.with(async (folder) => {
      await makeSource(folder, SOURCES.qcow2);
      const info = JSON.parse((await folder.qemu("map", "--output=json", "src")).stdout) as { offset?: number }[];
      assert(info.length > 1);
      // The first L2 table, where QEMU puts it in a new image: an entry that refers to the header.
      folder.patch("src", 4 * 65536 + 8 * 20, [0x80, 0, 0, 0, 0, 0, 2, 0]);
      assertOneLine(await folder.img("convert", "-O", "qcow2", "src", "dst"), "src is corrupt");
      assertEquals(folder.names(), ["src"]);
    }),
);
