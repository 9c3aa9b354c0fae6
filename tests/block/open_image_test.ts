/** Opening images and chains of them, made by qemu-img and by hand. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { waitFor } from "../../src/block/coroutine.ts";
import { runToEnd } from "../../src/block/coroutine.ts";
import type { BlockDevice } from "../../src/block/block_device.ts";
import { type ImageOptions, type OpenedImage, openImage } from "../../src/block/open_image.ts";
import { errorChain } from "../../src/error_chain.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { leakingNothing, openDescriptors } from "../support/leaks.ts";
import { findProgram, program, testNeeding } from "../support/requirements.ts";
import { runTool } from "../support/tool.ts";

const QEMU_IMG = program("qemu-img", "qemu-utils");

/** The work of a test in a folder of its own. */
class Folder {
  readonly loop = new EventLoop();
  readonly warnings: string[] = [];

  constructor(readonly path: string) {}

  /** The path of a file in it. */
  at(name: string): string {
    return `${this.path}/${name}`;
  }

  open(name: string, options: Partial<ImageOptions> = {}): OpenedImage {
    return openImage(this.at(name), { loop: this.loop, warn: (line) => this.warnings.push(line), ...options });
  }

  /** What is wrong with an image, as the user reads it, without the folder's path. */
  refusal(name: string, options: Partial<ImageOptions> = {}): string {
    const before = openDescriptors();
    const error = assertThrows(() => this.open(name, options), Error);
    assertEquals(openDescriptors(), before);
    return errorChain(error).replaceAll(`${this.path}/`, "");
  }

  /** All of an image. */
  contents(name: string, options: Partial<ImageOptions> = {}): Uint8Array {
    const { device } = this.open(name, { readOnly: true, ...options });
    const bytes = new Uint8Array(device.size);
    this.wait((done) => device.read(0, bytes, done));
    this.close(device);
    return bytes;
  }

  wait(start: (done: (error?: Error) => void) => void): void {
    runToEnd(this.loop, waitFor(start));
  }

  close(device: BlockDevice): void {
    this.wait((done) => device.close(done));
  }

  write(name: string, bytes: Uint8Array): void {
    Deno.writeFileSync(this.at(name), bytes);
  }

  /** `qemu-img create`, from within the folder, so that names stay relative. */
  create(...args: string[]): void {
    runTool("env", "-C", this.path, findProgram("qemu-img")!, "create", "-q", ...args);
  }
}

function inFolder(body: (folder: Folder) => void): () => void {
  return leakingNothing(() => {
    const folder = new Folder(Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-image-" }));
    try {
      body(folder);
    } finally {
      folder.loop.close();
      Deno.removeSync(folder.path, { recursive: true });
    }
  });
}

/** A header as `qemu-img create -f qcow2` writes it, of 1 MiB with 64 KiB clusters, and a backing file. */
function qcow2Header(backing: string, format?: string): Uint8Array {
  const bytes = new Uint8Array(4 * 65536);
  const view = new DataView(bytes.buffer);
  const name = new TextEncoder().encode(backing);
  bytes.set(Uint8Array.from("QFI\xfb\0\0\0\x03", (c) => c.charCodeAt(0)));
  view.setUint32(20, 16); // cluster_bits
  view.setUint32(28, 0x100000); // size
  view.setUint32(36, 1); // l1_size
  view.setUint32(44, 3 * 65536); // l1_table_offset
  view.setUint32(52, 65536); // refcount_table_offset
  view.setUint32(56, 1); // refcount_table_clusters
  view.setUint32(96, 4); // refcount_order
  view.setUint32(100, 104); // header_length
  let at = 104;
  if (format !== undefined) {
    view.setUint32(at, 0xe2792aca);
    view.setUint32(at + 4, format.length);
    bytes.set(new TextEncoder().encode(format), at + 8);
    at += 8 + Math.ceil(format.length / 8) * 8;
  }
  at += 8;
  view.setUint32(12, at); // backing_file_offset
  view.setUint32(16, name.length);
  bytes.set(name, at);
  view.setUint32(65536 + 4, 2 * 65536); // the refcount block
  for (let cluster = 0; cluster < 4; cluster++) view.setUint16(2 * 65536 + 2 * cluster, 1);
  return bytes;
}

const pattern = (size: number, value: number) => new Uint8Array(size).fill(value);

Deno.test(
  "a raw image whose format is not given is opened with a warning",
  inFolder((folder) => {
    folder.write("disk.img", pattern(4096, 5));
    const image = folder.open("disk.img");
    assertEquals([image.format, image.backingDepth, image.device.size], ["raw", 0, 4096]);
    assertEquals(folder.warnings, [
      `${folder.at("disk.img")}: the format was not given and probing guessed raw; writes to its first sector that ` +
      "would make another format of it will fail (format=raw allows them)",
    ]);
    folder.close(image.device);
  }),
);

Deno.test(
  "no warning for a raw image that is given as such, or that is not written",
  inFolder((folder) => {
    folder.write("disk.img", pattern(4096, 5));
    folder.close(folder.open("disk.img", { format: "raw" }).device);
    folder.close(folder.open("disk.img", { readOnly: true }).device);
    assertEquals(folder.warnings, []);
  }),
);

/** Writes to a disk. @returns the error's words, or `undefined`. */
function attempt(folder: Folder, device: BlockDevice, offset: number, bytes: Uint8Array): string | undefined {
  try {
    folder.wait((done) => device.write(offset, bytes, false, done));
    return undefined;
  } catch (error) {
    return errorChain(error);
  }
}

Deno.test(
  "a probed raw image stays one: a header of another format is not written to it",
  inFolder((folder) => {
    folder.write("disk.img", pattern(8192, 5));
    const { device } = folder.open("disk.img");
    const attack = qcow2Header("/etc/passwd", "raw").slice(0, 4096);
    assertEquals(
      attempt(folder, device, 0, attack),
      "Cannot write a qcow2 header to the first sector: the image's format was not given, and guessed " +
        "(format=raw allows it): write: EPERM",
    );
    assertEquals(attempt(folder, device, 0, pattern(512, 9)), undefined);
    assertEquals(attempt(folder, device, 512, attack), undefined);
    // Piece by piece: disks have no blocks below 512 bytes, so nobody writes these.
    assert(attempt(folder, device, 0, attack.slice(0, 4))?.includes("EPERM"));
    assert(attempt(folder, device, 4, attack.slice(4, 600))?.includes("EPERM"));
    folder.wait((done) => device.writeZeroes(0, 512, false, done));
    folder.close(device);
    assertEquals(Deno.readFileSync(folder.at("disk.img")).slice(0, 512), new Uint8Array(512));
  }),
);

Deno.test(
  "an image that is given as raw takes any write, and is found to be another format afterwards",
  inFolder((folder) => {
    folder.write("disk.img", pattern(4 * 65536, 0));
    const { device } = folder.open("disk.img", { format: "raw" });
    assertEquals(attempt(folder, device, 0, qcow2Header("/etc/passwd", "raw")), undefined);
    folder.close(device);
    const image = folder.open("disk.img", { readOnly: true });
    assertEquals([image.format, image.backingDepth], ["qcow2", 1]);
    folder.close(image.device);
    assertEquals(folder.contents("disk.img", { format: "raw" }).length, 4 * 65536);
  }),
);

Deno.test(
  "images of other programs are refused by name, but served as what the user says they are",
  inFolder((folder) => {
    folder.write("a.vhdx", Uint8Array.from("vhdxfile".padEnd(1024, "\0"), (c) => c.charCodeAt(0)));
    assertEquals(
      folder.refusal("a.vhdx"),
      "Cannot open a.vhdx: it is a vhdx image; splitvm serves raw and qcow2 (convert it with qemu-img)",
    );
    assertEquals(folder.contents("a.vhdx", { format: "raw" }).length, 1024);
  }),
);

Deno.test(
  "a raw image is no qcow2 image because the user says so",
  inFolder((folder) => {
    folder.write("disk.img", pattern(65536, 5));
    assertEquals(
      folder.refusal("disk.img", { format: "qcow2" }),
      "Cannot open disk.img: it is no qcow2 image: its magic number is 0x5050505",
    );
  }),
);

Deno.test(
  "a chain is named down to the file that is wrong",
  inFolder((folder) => {
    folder.write("a.qcow2", qcow2Header("b.qcow2", "qcow2"));
    folder.write("b.qcow2", qcow2Header("c.img", "raw"));
    assertEquals(
      folder.refusal("a.qcow2"),
      'Cannot open a.qcow2: its backing file "b.qcow2": Cannot open b.qcow2: its backing file "c.img": ' +
        "Cannot open c.img: there is no such file: open(c.img): ENOENT",
    );
  }),
);

Deno.test(
  "a chain that leads back into itself is refused",
  inFolder((folder) => {
    folder.write("a.qcow2", qcow2Header("b.qcow2", "qcow2"));
    folder.write("b.qcow2", qcow2Header("./a.qcow2", "qcow2"));
    folder.write("self.qcow2", qcow2Header("self.qcow2"));
    for (const readOnly of [false, true]) {
      assertEquals(
        folder.refusal("a.qcow2", { readOnly }),
        'Cannot open a.qcow2: its backing file "b.qcow2": Cannot open b.qcow2: its backing file "./a.qcow2": ' +
          "the chain of backing files leads back to a.qcow2",
      );
      assertEquals(
        folder.refusal("self.qcow2", { readOnly }),
        'Cannot open self.qcow2: its backing file "self.qcow2": the chain of backing files leads back to self.qcow2',
      );
    }
  }),
);

Deno.test(
  "a chain without end is cut",
  inFolder((folder) => {
    for (let i = 0; i < 203; i++) folder.write(`${i}`, qcow2Header(`${i + 1}`, "qcow2"));
    assert(folder.refusal("0").startsWith('Cannot open 0: its backing file "1": Cannot open 1: its backing file "2"'));
    folder.write("150", qcow2Header("end", "raw"));
    folder.write("end", pattern(512, 1));
    const { device, backingDepth } = folder.open("0");
    assertEquals(backingDepth, 151);
    folder.close(device);
  }),
);

Deno.test(
  "names that are no files of this host are refused",
  inFolder((folder) => {
    const refused: readonly (readonly [string, string])[] = [
      ["nbd:localhost:10809", "\"nbd:localhost:10809\" is no file on this host, and the protocol 'nbd' is not served"],
      ["http://x/y", "\"http://x/y\" is no file on this host, and the protocol 'http' is not served"],
      ["json:{}", "\"json:{}\" is no file on this host, and the protocol 'json' is not served"],
      ["/dev/null", "Cannot open /dev/null: it is a character device, not a regular file or block device"],
      ["/", "Cannot open /: it is a directory, not a regular file or block device"],
      ["..", "Cannot open ..: it is a directory, not a regular file or block device"],
    ];
    for (const [name, why] of refused) {
      folder.write("a.qcow2", qcow2Header(name, "raw"));
      assertEquals(folder.refusal("a.qcow2"), `Cannot open a.qcow2: its backing file ${JSON.stringify(name)}: ${why}`);
    }
  }),
);

Deno.test(
  "a backing file's format that is not served is refused by name",
  inFolder((folder) => {
    folder.write("a.qcow2", qcow2Header("b.vmdk", "vmdk"));
    folder.write("b.vmdk", pattern(512, 0));
    assertEquals(
      folder.refusal("a.qcow2"),
      'Cannot open a.qcow2: its backing file "b.vmdk": its format is "vmdk"; splitvm serves raw and qcow2',
    );
  }),
);

Deno.test(
  "a backing file whose format is not given is probed, and the user is told",
  inFolder((folder) => {
    folder.write("a.qcow2", qcow2Header("b.img"));
    folder.write("b.img", pattern(65536, 3));
    const { device, backingDepth } = folder.open("a.qcow2");
    assertEquals(backingDepth, 1);
    assertEquals(folder.warnings, [
      `${folder.at("a.qcow2")}: the format of its backing file "b.img" is not given in it; probing says raw`,
    ]);
    folder.close(device);
  }),
);

Deno.test(
  "what is written to a snapshot is gone when it is closed",
  inFolder((folder) => {
    folder.write("disk.img", pattern(65536, 5));
    const { device, format, backingDepth } = folder.open("disk.img", { format: "raw", snapshot: true });
    assertEquals([format, backingDepth, device.size, device.readOnly], ["qcow2", 1, 65536, false]);
    assertEquals(attempt(folder, device, 0, pattern(4096, 9)), undefined);
    folder.wait((done) => device.flush(done));
    const bytes = new Uint8Array(8192);
    folder.wait((done) => device.read(0, bytes, done));
    assertEquals(bytes, Uint8Array.of(...pattern(4096, 9), ...pattern(4096, 5)));
    folder.close(device);
    assertEquals(Deno.readFileSync(folder.at("disk.img")), pattern(65536, 5));
  }),
);

Deno.test(
  "an image is written by one, or read by many",
  inFolder((folder) => {
    folder.write("disk.img", pattern(512, 0));
    const inUse = "Cannot open disk.img: it is in use already, by this or another program";
    const writer = folder.open("disk.img", { format: "raw" });
    assertEquals(folder.refusal("disk.img", { readOnly: true }), inUse);
    folder.close(folder.open("disk.img", { readOnly: true, forceShare: true }).device);
    folder.close(writer.device);
    const readers = [folder.open("disk.img", { readOnly: true }), folder.open("disk.img", { readOnly: true })];
    assertEquals(folder.refusal("disk.img", { format: "raw" }), inUse);
    readers.forEach(({ device }) => folder.close(device));
  }),
);

testNeeding(
  [QEMU_IMG],
  "a chain of three formats and sizes reads as qemu-img reads it, from whichever working directory",
  inFolder((folder) => {
    folder.write("base.img", Uint8Array.from({ length: 100 * 1024 }, (_, i) => i * i >> 5));
    Deno.mkdirSync(folder.at("layers"));
    folder.create("-f", "qcow2", "-b", "../base.img", "-F", "raw", "layers/short.qcow2", "50k");
    folder.create(
      "-f",
      "qcow2",
      "-o",
      "compat=0.10",
      "-b",
      "short.qcow2",
      "-F",
      "qcow2",
      "layers/middle.qcow2",
      "300k",
    );
    folder.create("-f", "qcow2", "-b", "layers/middle.qcow2", "-F", "qcow2", "top.qcow2", "200k");
    runTool(findProgram("qemu-io")!, "-c", "write -P 7 1k 3k", folder.at("layers/middle.qcow2"));
    runTool(findProgram("qemu-io")!, "-c", "write -P 8 60k 100k", folder.at("top.qcow2"));
    runTool("qemu-img", "convert", "-O", "raw", folder.at("top.qcow2"), folder.at("flat.img"));
    assertEquals(folder.contents("top.qcow2"), Deno.readFileSync(folder.at("flat.img")));
    const { device, backingDepth } = folder.open("top.qcow2");
    assertEquals(backingDepth, 3);
    folder.close(device);
    assertEquals(folder.warnings, []);
  }),
);

for (const compression of ["zlib", "zstd"]) {
  testNeeding(
    [QEMU_IMG],
    `clusters that qemu-img compressed are read (${compression})`,
    inFolder((folder) => {
      for (const clusterSize of ["4k", "64k", "2M"]) {
        const plain = Uint8Array.from(
          { length: 5 * 1024 * 1024 + 512 },
          (_, i) => i % 97 < 60 ? i >> 12 : i * (i >> 9) >> 7,
        );
        folder.write("plain.img", plain);
        const options = `compression_type=${compression},cluster_size=${clusterSize}`;
        runTool(
          "qemu-img",
          "convert",
          "-c",
          "-O",
          "qcow2",
          "-o",
          options,
          folder.at("plain.img"),
          folder.at("c.qcow2"),
        );
        assert(runTool("qemu-img", "check", folder.at("c.qcow2")).includes("100.00% compressed clusters"));
        assertEquals(folder.contents("c.qcow2"), plain);
      }
    }),
  );
}

testNeeding(
  [QEMU_IMG],
  "an image's data may be in a file of their own, which is locked and closed with it",
  inFolder((folder) => {
    folder.create("-f", "qcow2", "-o", `data_file=${folder.at("data.raw")},data_file_raw=on`, "a.qcow2", "1M");
    const { device } = folder.open("a.qcow2");
    assertEquals(attempt(folder, device, 70_000, pattern(3000, 6)), undefined);
    assertEquals(
      folder.refusal("data.raw", { readOnly: true }),
      "Cannot open data.raw: it is in use already, by this or another program",
    );
    folder.close(device);
    assertEquals(Deno.readFileSync(folder.at("data.raw")).slice(70_000, 73_000), pattern(3000, 6));
    Deno.removeSync(folder.at("data.raw"));
    assert(
      folder.refusal("a.qcow2").startsWith(
        'Cannot open a.qcow2: its data file "data.raw": Cannot open data.raw: there is no such file',
      ),
    );
  }),
);

testNeeding(
  [QEMU_IMG],
  "O_DIRECT is for every file of a chain",
  inFolder((folder) => {
    folder.write("base.img", Uint8Array.from({ length: 70_000 }, (_, i) => i >> 8));
    folder.create("-f", "qcow2", "-b", "base.img", "-F", "raw", "a.qcow2");
    const { device } = folder.open("a.qcow2", { cache: "none" });
    assertEquals(attempt(folder, device, 1234, pattern(3000, 6)), undefined);
    folder.close(device);
    runTool("qemu-img", "convert", "-O", "raw", folder.at("a.qcow2"), folder.at("flat.img"));
    assertEquals(folder.contents("a.qcow2", { cache: "none" }), Deno.readFileSync(folder.at("flat.img")));
  }),
);

/** Starts a qemu-io that has an image open. @returns what ends it. */
async function holdWithQemu(image: string, ...flags: string[]): Promise<() => Promise<void>> {
  const args = [...flags, image];
  const child = new Deno.Command(findProgram("qemu-io")!, { args, stdin: "piped", stdout: "piped" }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  await input.write(new TextEncoder().encode("read 0 512\n"));
  for (let said = ""; !said.includes("512 bytes");) said += (await output.read()).value!;
  return async () => {
    await input.close();
    await output.cancel();
    await child.status;
  };
}

testNeeding([QEMU_IMG], "an image that QEMU writes is not opened, and one that it reads is not written", async () => {
  const folder = new Folder(Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-image-" }));
  const inUse = (name: string) => `Cannot open ${name}: it is in use already, by this or another program`;
  try {
    folder.create("-f", "qcow2", "base.qcow2", "1M");
    folder.create("-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2");
    const release = await holdWithQemu(folder.at("top.qcow2"));
    assertEquals(folder.refusal("top.qcow2"), inUse("top.qcow2"));
    assertEquals(folder.refusal("top.qcow2", { readOnly: true }), inUse("top.qcow2"));
    assertEquals(folder.refusal("base.qcow2"), inUse("base.qcow2"));
    folder.close(folder.open("base.qcow2", { readOnly: true }).device);
    await release();
    const releaseBase = await holdWithQemu(folder.at("base.qcow2"));
    assertEquals(
      folder.refusal("top.qcow2"),
      `Cannot open top.qcow2: its backing file "base.qcow2": ${inUse("base.qcow2")}`,
    );
    await releaseBase();
    folder.close(folder.open("top.qcow2").device);
  } finally {
    folder.loop.close();
    Deno.removeSync(folder.path, { recursive: true });
  }
});

testNeeding(
  [QEMU_IMG],
  "an image and its backing files are locked against QEMU",
  inFolder((folder) => {
    folder.create("-f", "qcow2", "base.qcow2", "1M");
    folder.create("-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2");
    const { device } = folder.open("top.qcow2");
    const qemuIo = (name: string, ...flags: string[]) =>
      new TextDecoder().decode(
        new Deno.Command(findProgram("qemu-io")!, { args: [...flags, "-c", "read 0 512", folder.at(name)] })
          .outputSync().stderr,
      );
    assert(qemuIo("top.qcow2").includes("Failed to get"), "QEMU opens what we write");
    assert(qemuIo("top.qcow2", "-r").includes("Failed to get"), "QEMU reads what we write");
    assert(qemuIo("base.qcow2").includes("Failed to get"), "QEMU writes what we read");
    assertEquals(qemuIo("base.qcow2", "-r"), "");
    folder.close(device);
    assertEquals(qemuIo("top.qcow2"), "");
  }),
);
