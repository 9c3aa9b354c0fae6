import { assert, assertEquals } from "@std/assert";
import { testNeeding } from "../support/requirements.ts";
import { assertOneLine, Folder, QEMU_IMG } from "./support.ts";

/** Images called `a` that qemu-img makes, by what is remarkable about them. */
const IMAGES: readonly (readonly [what: string, make: (folder: Folder) => Promise<unknown>])[] = [
  ["a raw image", (folder) => folder.qemu("create", "-f", "raw", "a", "10M")],
  ["a raw image whose size is no whole number of sectors", (folder) => folder.tool("truncate", "-s", "1000", "a")],
  ["an empty file", (folder) => folder.tool("truncate", "-s", "0", "a")],
  ["a qcow2 image", (folder) => folder.qemu("create", "-f", "qcow2", "a", "1G")],
  ["a qcow2 image with data", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "5G");
    await folder.write("a", "write 1M 3M");
  }],
  ["a qcow2 image of version 2", (folder) => folder.qemu("create", "-f", "qcow2", "-o", "compat=0.10", "a", "1M")],
  [
    "a qcow2 image with every option",
    (folder) =>
      folder.qemu(
        ...["create", "-f", "qcow2", "-o", "cluster_size=32k,refcount_bits=8,lazy_refcounts=on"],
        ...["-o", "extended_l2=on,compression_type=zstd", "a", "123M"],
      ),
  ],
  [
    "a qcow2 image with a data file",
    (folder) => folder.qemu("create", "-f", "qcow2", "-o", "data_file=data.raw", "a", "10M"),
  ],
  [
    "a qcow2 image with a raw data file",
    (folder) => folder.qemu("create", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "a", "10M"),
  ],
  ["a qcow2 image with snapshots", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "10M");
    await folder.qemu("snapshot", "-c", "first", "a");
    await folder.qemu("snapshot", "-c", "a name that is longer than its column", "a");
  }],
  ["a qcow2 image with bitmaps", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "10M");
    await folder.qemu("bitmap", "--add", "a", "one");
    await folder.qemu("bitmap", "--add", "--disable", "-g", "512", "a", "two");
  }],
  ["a qcow2 image whose dirty bit is set", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "-o", "lazy_refcounts=on", "a", "1M");
    folder.patch("a", 79, [1]);
  }],
  ["a qcow2 image whose corrupt bit is set", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "1M");
    folder.patch("a", 79, [2]);
  }],
  ["an overlay", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "base", "1M");
    await folder.qemu("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "a");
  }],
  ["an overlay whose backing file is missing", async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "-u", "-b", "/missing/base", "-F", "raw", "a", "1M");
  }],
];

/** Runs both tools, with the text that people read and with JSON. */
async function assertAlike(folder: Folder, ...args: string[]): Promise<void> {
  const [ours, theirs] = [await folder.img("info", ...args), await folder.qemu("info", ...args)];
  assertEquals(ours, theirs);
  const json = ["info", "--output=json", ...args];
  const [ourJson, theirJson] = [await folder.img(...json), await folder.qemu(...json)];
  assertEquals(JSON.parse(ourJson.stdout), JSON.parse(theirJson.stdout));
}

for (const [what, make] of IMAGES) {
  testNeeding([QEMU_IMG], `info tells of ${what} what qemu-img tells`, () =>
    Folder.with(async (folder) => {
      await make(folder);
      await assertAlike(folder, "a");
    }));
}

for (const [what, make] of IMAGES.filter(([what]) => /data file|overlay/.test(what))) {
  testNeeding(
    [QEMU_IMG],
    `info tells of ${what} what qemu-img tells, whatever it is called, and locked or not`,
    () =>
      Folder.with(async (folder) => {
        await make(folder);
        await assertAlike(folder, `${folder.path}/a`);
        await assertAlike(folder, "-U", "a");
      }),
  );
}

testNeeding([QEMU_IMG], "info --backing-chain tells of every image of a chain", () =>
  Folder.with(async (folder) => {
    await Deno.mkdir(`${folder.path}/sub`);
    await folder.qemu("create", "-f", "raw", "sub/base", "3M");
    await folder.qemu("create", "-f", "qcow2", "-b", "base", "-F", "raw", "sub/middle");
    await folder.qemu("create", "-f", "qcow2", "-b", "sub/middle", "-F", "qcow2", "a");
    const args = ["info", "--backing-chain", "a"];
    assertEquals(await folder.img(...args), await folder.qemu(...args));
    const json = ["info", "--backing-chain", "--output=json", "a"];
    const [ours, theirs] = [await folder.img(...json), await folder.qemu(...json)];
    assertEquals(JSON.parse(ours.stdout), JSON.parse(theirs.stdout));
  }));

testNeeding([QEMU_IMG], "info -f raw does not look into an image", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "1G");
    const args = ["info", "-f", "raw", "a"];
    assertEquals(await folder.img(...args), await folder.qemu(...args));
  }));

testNeeding([QEMU_IMG], "names in an image cannot make a terminal do things", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "-u", "-b", "\x1b[2Jbase\n", "-F", "raw", "a", "1M");
    const { code, stdout } = await folder.img("info", "a");
    assertEquals(code, 0);
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f]/.test(stdout), stdout);
    assert(stdout.includes("backing file: \\x1b[2Jbase\\x0a"), stdout);
  }));

/** Where fields of the header are (qcow2 specification, "Header"), what they are set to, and what names the mistake. */
const HOSTILE: readonly (readonly [offset: number, bytes: readonly number[], message: string])[] = [
  [4, [0, 0, 0, 9], "version 9"],
  [20, [0, 0, 0, 63], "cluster_bits 63"],
  [32, [0, 0, 0, 1], "crypt_method 1"],
  [36, [0xff, 0xff, 0xff, 0xff], "l1_size"],
  [40, [0, 0, 0, 0, 0, 0, 0, 1], "l1_table_offset"],
  [48, [0xff, 0, 0, 0, 0, 0, 0, 0], "refcount_table_offset"],
  [60, [0xff, 0xff, 0xff, 0xff], "nb_snapshots"],
  [72, [0x80], "incompatible_features"],
  [96, [0, 0, 0, 7], "refcount_order 7"],
  [100, [0xff, 0xff, 0xff, 0xf8], "header_length"],
];

for (const [offset, bytes, message] of HOSTILE) {
  testNeeding(
    [QEMU_IMG],
    `info refuses a header with a bad ${message.split(" ")[0]} in one line`,
    () =>
      Folder.with(async (folder) => {
        await folder.qemu("create", "-f", "qcow2", "a", "1M");
        folder.patch("a", offset, bytes);
        assertOneLine(await folder.img("info", "a"), message);
      }),
  );
}

testNeeding([QEMU_IMG], "a chain that leads back to itself is refused", () =>
  Folder.with(async (folder) => {
    await folder.qemu("create", "-f", "qcow2", "a", "1M");
    await folder.qemu("create", "-f", "qcow2", "-b", "a", "-F", "qcow2", "b");
    await folder.qemu("rebase", "-u", "-b", "b", "-F", "qcow2", "a");
    assertOneLine(await folder.img("info", "--backing-chain", "a"), "leads back to a");
    assertOneLine(await folder.img("convert", "a", "c"), "leads back to a");
    assertEquals(folder.names(), ["a", "b"]);
  }));

Deno.test("what cannot be opened is told in one line", () =>
  Folder.with(async (folder) => {
    assertOneLine(await folder.img("info", "missing"), "Cannot open missing: there is no such file");
    assertOneLine(await folder.img("info", "."), "Cannot open .: it is a directory");
    assertOneLine(await folder.img("info", "/dev/null"), "Cannot open /dev/null: it is a character device");
  }));
