/** Images behind a device process, as a guest sees them: formats, chains, and what a guest is refused. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { leakingNothing } from "../support/leaks.ts";
import { DeviceProcess } from "../support/lsi_driver/device_process.ts";
import type { LsiDriver } from "../support/lsi_driver/lsi_driver.ts";
import {
  capacity,
  execute,
  read10,
  SECTOR,
  SenseError,
  synchronizeCache10,
  write10,
} from "../support/lsi_driver/scsi_disk.ts";
import { SOURCE } from "../support/machines.ts";
import { findProgram, program, testNeeding } from "../support/requirements.ts";
import { runTool } from "../support/tool.ts";

const QEMU_IMG = program("qemu-img", "qemu-utils");

/** The sense key, additional code and qualifier of "DATA PROTECT, WRITE PROTECTED" (SPC-4, annex F). */
const WRITE_PROTECTED = [0x07, 0x27, 0x00];

/** Runs `body` with a new folder; nothing may stay open. */
function inFolder(body: (folder: string) => void): () => void {
  return leakingNothing(() => {
    const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-image-" });
    try {
      body(folder);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

/** Plays guest to a device process. @returns what the process wrote to standard error. */
function withDisk(drive: string, body: (driver: LsiDriver) => void): string {
  const process = new DeviceProcess({ half: SOURCE, drive });
  const driver = process.start();
  try {
    body(driver);
  } catch (error) {
    process.stop();
    throw error;
  }
  const { status, errors } = process.stop();
  assertEquals(status, { code: 0 });
  return errors;
}

/** What a process that cannot be brought up says. */
function refusal(drive: string): string {
  return (assertThrows(() => new DeviceProcess({ half: SOURCE, drive }).start(), Error) as Error).message;
}

function read(driver: LsiDriver, lba: number): Uint8Array {
  execute(driver, read10(lba, 1), "in", SECTOR);
  return driver.buffer(0).slice(0, SECTOR);
}

function write(driver: LsiDriver, lba: number, data: Uint8Array): void {
  driver.buffer(0).set(data);
  execute(driver, write10(lba, data.length / SECTOR), "out", data.length);
}

/** The first sector of a qcow2 image, as far as probing looks at it. */
function qcow2Sector(): Uint8Array {
  const sector = new Uint8Array(SECTOR);
  sector.set([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);
  return sector;
}

const filled = (value: number) => new Uint8Array(SECTOR).fill(value);

Deno.test(
  "a guest cannot make a qcow2 image of a raw one whose format was guessed",
  inFolder((folder) => {
    const file = `${folder}/disk.img`;
    Deno.writeFileSync(file, new Uint8Array(65536));
    const errors = withDisk(`file=${file}`, (driver) => {
      const error = assertThrows(() => write(driver, 0, qcow2Sector()), SenseError) as SenseError;
      assertEquals([error.key, error.asc, error.ascq], WRITE_PROTECTED);
      write(driver, 1, qcow2Sector());
      write(driver, 0, filled(7));
      assertEquals(read(driver, 0), filled(7));
    });
    const [warning, refused, ...more] = errors.trimEnd().split("\n");
    assert(warning.includes(`drive d0: ${file}: the format was not given and probing guessed raw`), warning);
    assert(refused.includes("drive d0: write failed"), refused);
    assertEquals(more, []);
    assertEquals(Deno.readFileSync(file).slice(0, SECTOR), filled(7));
  }),
);

Deno.test(
  "a guest may write what it likes to an image that is given as raw",
  inFolder((folder) => {
    const file = `${folder}/disk.img`;
    Deno.writeFileSync(file, new Uint8Array(65536));
    assertEquals(withDisk(`file=${file},format=raw`, (driver) => write(driver, 0, qcow2Sector())), "");
    // Which is why it has to be given again.
    assert(refusal(`file=${file}`).includes(`drive d0: Cannot open ${file}: `));
    assertEquals(withDisk(`file=${file},format=raw`, (driver) => assertEquals(read(driver, 0), qcow2Sector())), "");
  }),
);

for (const aio of ["threads", "native", "io_uring"]) {
  Deno.test(
    `what a guest writes with cache=none,aio=${aio} is in the image, to the byte`,
    inFolder((folder) => {
      const file = `${folder}/disk.img`;
      Deno.writeFileSync(file, new Uint8Array(65536));
      const data = Uint8Array.from({ length: 40 * SECTOR }, (_, i) => i >> 7);
      const errors = withDisk(`file=${file},format=raw,cache=none,aio=${aio}`, (driver) => {
        write(driver, 3, data);
        execute(driver, synchronizeCache10());
        assertEquals(read(driver, 10), data.slice(7 * SECTOR, 8 * SECTOR));
      });
      assertEquals(errors, "");
      assertEquals(Deno.readFileSync(file).slice(3 * SECTOR, 43 * SECTOR), data);
    }),
  );
}

Deno.test(
  "an image of another program is refused in one line",
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/a.vmdk`, "# Disk DescriptorFile\nversion=1\n");
    assertEquals(
      refusal(`file=${folder}/a.vmdk`),
      `splitvm: drive d0: Cannot open ${folder}/a.vmdk: it is a vmdk image; splitvm serves raw and qcow2 ` +
        "(convert it with qemu-img)",
    );
  }),
);

testNeeding(
  [QEMU_IMG],
  "a guest reads through a chain of images, and writes to the top one only",
  inFolder((folder) => {
    const create = (...args: string[]) =>
      runTool("env", "-C", folder, findProgram("qemu-img")!, "create", "-q", "-f", "qcow2", ...args);
    Deno.writeFileSync(`${folder}/base.img`, new Uint8Array(64 * SECTOR).fill(1));
    create("-b", "base.img", "-F", "raw", "middle.qcow2", "64k");
    create("-b", "middle.qcow2", "-F", "qcow2", "top.qcow2");
    const below = [`${folder}/base.img`, `${folder}/middle.qcow2`].map((path) => Deno.readFileSync(path));
    const errors = withDisk(`file=${folder}/top.qcow2`, (driver) => {
      assertEquals(capacity(driver), 128);
      assertEquals([read(driver, 0), read(driver, 100)], [filled(1), filled(0)]);
      write(driver, 0, filled(2));
      write(driver, 101, filled(3));
      execute(driver, synchronizeCache10());
      assertEquals([read(driver, 0), read(driver, 1), read(driver, 101)], [filled(2), filled(1), filled(3)]);
    });
    assertEquals(errors, "");
    assertEquals([`${folder}/base.img`, `${folder}/middle.qcow2`].map((path) => Deno.readFileSync(path)), below);
    runTool("qemu-img", "check", "-q", `${folder}/top.qcow2`);
    runTool("qemu-img", "convert", "-O", "raw", `${folder}/top.qcow2`, `${folder}/flat.img`);
    const flat = Deno.readFileSync(`${folder}/flat.img`);
    assertEquals([flat[0], flat[SECTOR], flat[101 * SECTOR]], [2, 1, 3]);
  }),
);

testNeeding(
  [QEMU_IMG],
  "what a guest writes to a snapshot is gone afterwards",
  inFolder((folder) => {
    const file = `${folder}/disk.qcow2`;
    runTool("qemu-img", "create", "-q", "-f", "qcow2", file, "1M");
    const before = Deno.readFileSync(file);
    for (let run = 0; run < 2; run++) {
      const errors = withDisk(`file=${file},snapshot=on`, (driver) => {
        assertEquals(read(driver, 5), filled(0));
        write(driver, 5, filled(9));
        assertEquals(read(driver, 5), filled(9));
      });
      assertEquals(errors, "");
    }
    assertEquals(Deno.readFileSync(file), before);
  }),
);

testNeeding(
  [QEMU_IMG],
  "a chain whose base is missing is named down to it, in one line",
  inFolder((folder) => {
    runTool("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "gone.img", "-F", "raw", `${folder}/a.qcow2`, "1M");
    const line = refusal(`file=${folder}/a.qcow2`);
    const expected = `splitvm: drive d0: Cannot open ${folder}/a.qcow2: its backing file "gone.img": ` +
      `Cannot open ${folder}/gone.img: there is no such file`;
    assert(line.startsWith(expected) && !line.includes("\n"), line);
  }),
);
