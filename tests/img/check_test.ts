import { assert, assertEquals } from "@std/assert";
import { checkStatus, checkText } from "../../src/img/check.ts";
import { testNeeding } from "../support/requirements.ts";
import { assertOneLine, Folder, QEMU_IMG } from "./support.ts";

/** Of a new image with clusters of 64 KiB: where qemu-img puts the tables. */
const REFCOUNT_BLOCK = 2 * 65536;
const L2_TABLE = 4 * 65536;

/** What is done to an image with data in its first MiB. */
const DAMAGE: readonly (readonly [what: string, damage: (folder: Folder) => void])[] = [
  ["without a fault", () => {}],
  ["with a leaked cluster", (folder) => folder.patch("a", L2_TABLE, [0, 0, 0, 0, 0, 0, 0, 0])],
  ["with refcounts that are too low", (folder) => folder.patch("a", REFCOUNT_BLOCK + 2 * 6, [0, 0])],
  ["with refcounts that are too high", (folder) => folder.patch("a", REFCOUNT_BLOCK + 2 * 6, [0, 9])],
  ["with a cluster that is used twice", (folder) => folder.patch("a", L2_TABLE + 8, [0x80, 0, 0, 0, 0, 5, 0, 0])],
  ["with a flag that is missing", (folder) => folder.patch("a", L2_TABLE, [0])],
];

async function damaged(folder: Folder, damage: (folder: Folder) => void): Promise<void> {
  await folder.qemu("create", "-f", "qcow2", "a", "100M");
  await folder.write("a", "write 0 1M", "write -c 2M 64k", "write 50M 64k");
  damage(folder);
}

for (const [what, damage] of DAMAGE) {
  testNeeding([QEMU_IMG], `check finds in an image ${what} what qemu-img finds`, () =>
    Folder.with(async (folder) => {
      await damaged(folder, damage);
      const [ours, theirs] = [await folder.img("check", "a"), await folder.qemu("check", "a")];
      assertEquals([ours.code, ours.stdout], [theirs.code, theirs.stdout]);
      const json = ["check", "--output=json", "a"];
      const [ourJson, theirJson] = [await folder.img(...json), await folder.qemu(...json)];
      assertEquals([ourJson.code, JSON.parse(ourJson.stdout)], [theirJson.code, JSON.parse(theirJson.stdout)]);
      assertEquals(ours.stderr === "", ours.code === 0);
      assertEquals((await folder.img("check", "-q", "a")).stdout, "");
    }));
}

for (const [what, damage] of DAMAGE) {
  testNeeding([QEMU_IMG], `check -r all leaves an image ${what} consistent`, () =>
    Folder.with(async (folder) => {
      await damaged(folder, damage);
      const { code, stdout } = await folder.img("check", "-r", "all", "a");
      assertEquals(code, 0, stdout);
      assert(stdout.includes("No errors were found on the image."), stdout);
      await folder.assertConsistent("a");
    }));
}

testNeeding([QEMU_IMG], "check -r leaks repairs leaks and no more", () =>
  Folder.with(async (folder) => {
    await damaged(folder, (folder) => {
      folder.patch("a", L2_TABLE, [0, 0, 0, 0, 0, 0, 0, 0]);
      folder.patch("a", REFCOUNT_BLOCK + 2 * 7, [0, 0]);
    });
    assertEquals((await folder.img("check", "a")).code, 2);
    const { code, stdout } = await folder.img("check", "--output=json", "-r", "leaks", "a");
    const { "leaks-fixed": leaksFixed, leaks, corruptions = 0 } = JSON.parse(stdout);
    assertEquals([code, leaksFixed, leaks], [2, 1, undefined]);
    assert(corruptions > 0);
  }));

Deno.test("raw images have nothing to check, which has a status of its own", () =>
  Folder.with(async (folder) => {
    await folder.tool("truncate", "-s", "1M", "a");
    const { code, stdout, stderr } = await folder.img("check", "a");
    assertEquals([code, stdout, stderr], [63, "", "splitvm img: Cannot check a: raw images have nothing to check\n"]);
  }));

Deno.test("check -r does not go with -U", () =>
  Folder.with(async (folder) => {
    assertOneLine(await folder.img("check", "-r", "all", "-U", "a"), "check -U: is for images that are only read");
  }));

const CLEAN = {
  checkErrors: 0,
  corruptions: 0,
  leaks: 0,
  corruptionsFixed: 0,
  leaksFixed: 0,
  imageEndOffset: 0,
  totalClusters: 0,
  allocatedClusters: 0,
  fragmentedClusters: 0,
  compressedClusters: 0,
};

Deno.test("the exit status tells the worst that was found", () => {
  assertEquals(checkStatus(CLEAN), 0);
  assertEquals(checkStatus({ ...CLEAN, leaks: 1 }), 3);
  assertEquals(checkStatus({ ...CLEAN, leaks: 1, corruptions: 1 }), 2);
  assertEquals(checkStatus({ ...CLEAN, leaks: 1, corruptions: 1, checkErrors: 1 }), 1);
});

Deno.test("what could not be checked is said", () => {
  assertEquals(
    checkText({ ...CLEAN, checkErrors: 2 }),
    "\n2 internal errors have occurred during the check.\n",
  );
});
