import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { openDriveFiles } from "../../src/block/image_files.ts";
import { openImage } from "../../src/block/open_image.ts";
import { closeGivenFiles, findGivenFile, giveFiles, openPath } from "../../src/block/open_path.ts";
import { errorChain } from "../../src/error_chain.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { closeFd, isOpenFd, openFile, OpenFlags, statusFlags } from "../../src/ffi/file.ts";
import { leakingNothing } from "../support/leaks.ts";
import { QEMU_IMG, testNeeding } from "../support/requirements.ts";
import { runTool } from "../support/tool.ts";

const [READ_ONLY, READ_WRITE] = [OpenFlags.O_RDONLY, OpenFlags.O_RDWR];

/** Runs `body` with a new folder; nothing may stay open. */
function inFolder(body: (folder: string) => void): () => void {
  return leakingNothing(() => {
    const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-files-" });
    try {
      body(folder);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

/** The files of a drive, and how each is open; they are closed again. */
function filesOf(file: string, options: { readOnly?: boolean; snapshot?: boolean; format?: "raw" | "qcow2" } = {}) {
  const drive = { id: "d0", file, format: undefined, readOnly: false, snapshot: false, ...options };
  return openDriveFiles(drive).map(({ path, fd }) => {
    const access = statusFlags(fd) & 3;
    closeFd(fd);
    return [path, access];
  });
}

function create(folder: string, ...args: string[]): void {
  runTool("env", "-C", folder, "qemu-img", "create", "-q", "-f", "qcow2", ...args);
}

Deno.test(
  "a raw image is one file, open as it will be used",
  inFolder((folder) => {
    const file = `${folder}/disk.img`;
    Deno.writeFileSync(file, new Uint8Array(512));
    assertEquals(filesOf(file), [[file, READ_WRITE]]);
    assertEquals(filesOf(file, { readOnly: true }), [[file, READ_ONLY]]);
    assertEquals(filesOf(file, { snapshot: true }), [[file, READ_ONLY], ["/var/tmp", READ_WRITE]]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "of the drive's own image it is known how large the disk is, if it can be told",
  inFolder((folder) => {
    const sizesOf = (file: string, format?: "raw" | "qcow2") => {
      const drive = { id: "d0", file: `${folder}/${file}`, format, readOnly: false, snapshot: false };
      return openDriveFiles(drive).map(({ fd, diskSize }) => (closeFd(fd), diskSize));
    };
    Deno.writeFileSync(`${folder}/base.img`, new Uint8Array(65536));
    create(folder, "-b", "base.img", "-F", "raw", "top.qcow2", "1M");
    assertEquals(sizesOf("base.img"), [65536]);
    assertEquals(sizesOf("base.img", "qcow2"), [undefined]);
    assertEquals(sizesOf("top.qcow2"), [1 << 20, undefined]);
    const image = Deno.readFileSync(`${folder}/top.qcow2`);
    image[7] = 9;
    Deno.writeFileSync(`${folder}/top.qcow2`, image);
    assertEquals(sizesOf("top.qcow2"), [undefined]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "a chain of images is as many files, of which the first is written",
  inFolder((folder) => {
    Deno.writeFileSync(`${folder}/base.img`, new Uint8Array(65536));
    create(folder, "-b", "base.img", "-F", "raw", "middle.qcow2");
    create(folder, "-b", `${folder}/middle.qcow2`, "-F", "qcow2", "top.qcow2");
    const files = ["top.qcow2", "middle.qcow2", "base.img"].map((name) => `${folder}/${name}`);
    assertEquals(filesOf(files[0]), [[files[0], READ_WRITE], [files[1], READ_ONLY], [files[2], READ_ONLY]]);
    assertEquals(filesOf(files[0], { format: "raw" }), [[files[0], READ_WRITE]]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "an image with its data elsewhere is two files",
  inFolder((folder) => {
    create(folder, "-o", `data_file=${folder}/data.img`, "disk.qcow2", "64k");
    assertEquals(filesOf(`${folder}/disk.qcow2`), [
      [`${folder}/disk.qcow2`, READ_WRITE],
      [`${folder}/data.img`, READ_WRITE],
    ]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "a file that is missing is named with the images above it, and nothing stays open",
  inFolder((folder) => {
    create(folder, "-u", "-b", "gone.img", "-F", "raw", "a.qcow2", "1M");
    const error = assertThrows(() => filesOf(`${folder}/a.qcow2`), Error) as Error;
    const causes = [error, error.cause, (error.cause as Error).cause] as Error[];
    assertEquals(causes.map(({ message }) => message), [
      "drive d0",
      `Cannot open ${folder}/a.qcow2: its backing file "gone.img"`,
      `Cannot open ${folder}/gone.img: there is no such file`,
    ]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "a chain that leads back to itself ends",
  inFolder((folder) => {
    create(folder, "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2", "1M");
    create(folder, "-u", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2", "1M");
    const files = ["a", "b", "a"].map((name) => `${folder}/${name}.qcow2`);
    assertEquals(filesOf(files[0]).map(([path]) => path), files);
  }),
);

Deno.test(
  "a header that makes no sense is the business of whoever serves the image",
  inFolder((folder) => {
    const file = `${folder}/a.qcow2`;
    Deno.writeFileSync(file, Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3));
    assertEquals(filesOf(file), [[file, READ_WRITE]]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "images are opened from files that were given, by paths where nothing is any more",
  inFolder((folder) => {
    Deno.writeFileSync(`${folder}/base.img`, new Uint8Array(65536).fill(5));
    create(folder, "-b", "base.img", "-F", "raw", "top.qcow2");
    const drive = { id: "d0", file: `${folder}/top.qcow2`, format: undefined, readOnly: false, snapshot: true };
    giveFiles(openDriveFiles(drive));
    Deno.renameSync(`${folder}/base.img`, `${folder}/moved.img`);
    Deno.removeSync(`${folder}/top.qcow2`);
    const loop = new EventLoop();
    const { device, backingDepth } = openImage(drive.file, { loop, snapshot: true });
    assertEquals([backingDepth, device.size], [2, 65536]);
    let closed = false;
    device.close(() => void (closed = true));
    while (!closed) loop.turn();
    loop.close();
    closeGivenFiles();
  }),
);

Deno.test(
  "a given file is taken once, by who asks for the access that it has",
  inFolder((folder) => {
    const path = `${folder}/gone`;
    Deno.writeFileSync(path, new Uint8Array(1));
    const [reader, writer, other] = [READ_ONLY, READ_WRITE, READ_WRITE].map((flags) => openFile(path, flags));
    Deno.removeSync(path);
    giveFiles([{ path, fd: writer }, { path, fd: reader }, { path: "/other", fd: other }]);
    assertEquals(findGivenFile(path), writer);
    assertEquals([openPath("open", path, READ_ONLY), openPath("open", path, READ_ONLY)], [reader, writer]);
    assertThrows(() => openPath("open", path, READ_ONLY), Error, `Cannot open ${path}: there is no such file`);
    closeGivenFiles();
    assertEquals([reader, writer, other].map(isOpenFd), [true, true, false]);
    [reader, writer].forEach(closeFd);
  }),
);

/** Checks why an image's files are not opened. */
function assertRefused(image: string, why: string): void {
  assertStringIncludes(errorChain(assertThrows(() => filesOf(image))), why);
}

/** Replaces a name inside an image by another one of the same length. */
function rename(image: string, from: string, to: string): void {
  const bytes = Deno.readFileSync(image);
  const at = new TextDecoder("latin1").decode(bytes).indexOf(from);
  bytes.set(new TextEncoder().encode(to), at);
  Deno.writeFileSync(image, bytes);
}

testNeeding(
  [QEMU_IMG],
  "an image that names the memory or the descriptors of whoever opens it gets neither",
  inFolder((folder) => {
    const image = `${folder}/top.qcow2`;
    const other = `${folder}/other.img`;
    Deno.writeFileSync(other, new Uint8Array(512));
    const fd = openFile(other, OpenFlags.O_RDWR);
    const link = `/proc/self/fd/${fd}`;
    create(folder, "-u", "-b", "/proc/self/mem", "-F", "raw", "top.qcow2", "1M");
    assertRefused(image, "Cannot open /proc/self/mem: images do not lie in proc");
    create(folder, "-u", "-b", link, "-F", "raw", "top.qcow2", "1M");
    assertRefused(image, `Cannot open ${link}: too many symbolic links`);
    create(folder, "-o", "data_file=proc_self_mem_", "top.qcow2", "1M");
    rename(image, "proc_self_mem_", "/proc/self/mem");
    assertRefused(image, "Cannot open /proc/self/mem: images do not lie in proc");
    closeFd(fd);
  }),
);

testNeeding(
  [QEMU_IMG],
  "what an image names is opened only if it is a file or a block device",
  inFolder((folder) => {
    create(folder, "-u", "-b", "/dev/null", "-F", "raw", "top.qcow2", "1M");
    const wanted = "Cannot open /dev/null: it is a character device, not a regular file or block device";
    assertRefused(`${folder}/top.qcow2`, wanted);
  }),
);
