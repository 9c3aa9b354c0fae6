/** What the crash tests say of an image, which they have to see to say. */
import { assertEquals } from "@std/assert";
import { QEMU_IMG, testNeeding } from "../support/requirements.ts";
import { type CrashImage, createImage, hasLeaks } from "./images.ts";

/** Header fields and entries of QEMU's docs/interop/qcow2.txt. */
const REFCOUNT_TABLE_OFFSET = 48;
const CLUSTER = 512;
const REFCOUNT_BYTES = 2;

/** Says in an image's first refcount block that a cluster is in use. */
function claim(path: string, cluster: number): void {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  const block = Number(view.getBigUint64(Number(view.getBigUint64(REFCOUNT_TABLE_OFFSET))));
  view.setUint16(block + cluster * REFCOUNT_BYTES, 1);
  Deno.writeFileSync(path, bytes);
}

function withImage(body: (image: CrashImage, folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp" });
  try {
    body(createImage({ name: "", format: "qcow2", options: "cluster_size=512" }, folder), folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

testNeeding([QEMU_IMG], "a fresh image has no leaks", () => {
  withImage((image, folder) => assertEquals(hasLeaks(image, folder), false));
});

testNeeding(
  [QEMU_IMG],
  "a cluster that is in use by its refcount alone is a leak, also behind the end of the file",
  () => {
    withImage((image, folder) => {
      claim(image.path, Deno.statSync(image.path).size / CLUSTER + 3);
      assertEquals(hasLeaks(image, folder), true);
    });
  },
);
