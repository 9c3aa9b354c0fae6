/**
 * The driver that plays guest to a device process, on splitvm's and on QEMU's: the same SCRIPTS, the same messages, the same bytes.
 */
import { assert, assertEquals } from "@std/assert";
import { DeviceProcess } from "../support/lsi_driver/device_process.ts";
import { MAX_DEPTH } from "../support/lsi_driver/layout.ts";
import type { LsiDriver } from "../support/lsi_driver/lsi_driver.ts";
import {
  capacity,
  execute,
  read10,
  SECTOR,
  synchronizeCache10,
  write10,
  writeCacheEnabled,
} from "../support/lsi_driver/scsi_disk.ts";
import { BUILDS, type Half } from "../support/machines.ts";
import { built, QEMU, testNeeding } from "../support/requirements.ts";
import { onStage } from "../support/stage.ts";

const MIB = 1024 * 1024;
const BLOCKS = 8 * MIB / SECTOR;

/** A test on a disk of 8 MiB, whose block N is filled with byte N. */
function withDisk(half: Half, body: (driver: LsiDriver, image: string, process: DeviceProcess) => void): () => void {
  return onStage((stage) => {
    const image = `${stage.directory}/disk.img`;
    const content = new Uint8Array(8 * MIB);
    for (let block = 0; block < BLOCKS; block++) content.fill(block, block * SECTOR, (block + 1) * SECTOR);
    Deno.writeFileSync(image, content);
    const process = new DeviceProcess({ half, drive: `file=${image},format=raw` });
    const driver = process.start();
    try {
      body(driver, image, process);
    } finally {
      assertEquals(process.stop(), { status: { code: 0 }, errors: "" });
    }
  });
}

function isBlock(bytes: Uint8Array, block: number): boolean {
  return bytes.every((byte) => byte === (block & 0xff));
}

function readAndWrite(driver: LsiDriver, image: string): void {
  assertEquals(capacity(driver), BLOCKS);
  assertEquals(writeCacheEnabled(driver), true);
  execute(driver, read10(77, 1), "in", SECTOR);
  assertEquals(isBlock(driver.buffer(0).subarray(0, SECTOR), 77), true);
  driver.buffer(0).subarray(0, SECTOR).fill(0xee);
  execute(driver, write10(5, 1), "out", SECTOR);
  execute(driver, synchronizeCache10());
  assertEquals(isBlock(Deno.readFileSync(image).subarray(5 * SECTOR, 6 * SECTOR), 0xee), true);
}

/** A megabyte in sixteen segments, which the device moves in chunks of its own. */
function gatherAndScatter(driver: LsiDriver): void {
  execute(driver, read10(100, MIB / SECTOR), "in", MIB);
  const buffer = driver.buffer(0);
  for (let i = 0; i < MIB / SECTOR; i++) {
    assertEquals(isBlock(buffer.subarray(i * SECTOR, (i + 1) * SECTOR), 100 + i), true, `block ${100 + i}`);
  }
  execute(driver, write10(4096, MIB / SECTOR), "out", MIB);
  buffer.fill(0);
  execute(driver, read10(4096, MIB / SECTOR), "in", MIB);
  assertEquals([buffer[0], buffer[MIB - 1]], [100, (100 + MIB / SECTOR - 1) & 0xff]);
}

/** Commands in flight under every tag, with the next one queued when one ends. */
function fillTheQueue(driver: LsiDriver): void {
  const place = (tag: number, round: number) => (tag * 113 + round * 1009) % BLOCKS;
  const rounds = new Array<number>(MAX_DEPTH).fill(0);
  const queue = (tag: number) => driver.queue(tag, read10(place(tag, rounds[tag]), 1), "in", SECTOR);
  for (let tag = 0; tag < MAX_DEPTH; tag++) queue(tag);
  driver.kick();
  for (let ended = 0; driver.inFlight > 0;) {
    driver.serve((tag, status) => {
      assertEquals(status, 0);
      assertEquals(isBlock(driver.buffer(tag).subarray(0, SECTOR), place(tag, rounds[tag])), true, `tag ${tag}`);
      ended++;
      rounds[tag]++;
      if (ended <= 10 * MAX_DEPTH) queue(tag);
    });
    if (driver.inFlight > 0) driver.kick();
  }
}

/**
 * Three for each, and one more where the end of an interrupt crosses the chip's next one, which is then for nothing. One that belongs to the
 * last command may come with the next, so it is the sum that counts.
 */
function countMessages(driver: LsiDriver, _image: string, { board }: DeviceProcess): void {
  const commands = 50;
  const before = board.messages;
  for (let i = 0; i < commands; i++) execute(driver, read10(0, 1), "in", SECTOR);
  const count = board.messages - before;
  assert(count >= 3 * commands - 2 && count <= 4 * commands + 2, `${count} messages for ${commands} commands`);
}

function testHalf(name: string, half: Half): void {
  const needs = half === "qemu" ? [QEMU] : [built(half)];
  const test = (what: string, body: (driver: LsiDriver, image: string, process: DeviceProcess) => void) =>
    testNeeding(needs, `a driver without a guest ${what} (${name})`, withDisk(half, body));
  test("reads, writes and flushes", readAndWrite);
  test("moves a megabyte in sixteen segments", gatherAndScatter);
  test(`keeps ${MAX_DEPTH} commands in flight`, fillTheQueue);
  test("sends three messages for a command, or four", countMessages);
}

for (const build of BUILDS) testHalf(build.name, build);
testHalf("QEMU", "qemu");
