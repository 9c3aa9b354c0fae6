import { assertEquals, assertThrows } from "@std/assert";
import { ScsiDisk, type ScsiDiskOptions } from "../../../src/remote/scsi/disk.ts";
import { rig, Sense } from "./initiator.ts";
import { MemoryDevice } from "./memory_device.ts";

function inquiry(allocationLength = 255): number[] {
  return [0x12, 0, 0, allocationLength >> 8, allocationLength & 0xff, 0];
}

function vpd(page: number, allocationLength = 255): number[] {
  return [0x12, 1, page, allocationLength >> 8, allocationLength & 0xff, 0];
}

function text(data: Uint8Array, from: number, to: number): string {
  return new TextDecoder().decode(data.subarray(from, to));
}

Deno.test("SPC-4 6.6.2, standard INQUIRY data: a fixed disk with command queueing, response format 2", () => {
  const { good } = rig();
  const data = good(inquiry());
  assertEquals(data.length, 36);
  assertEquals(data[0], 0, "direct access, connected");
  assertEquals(data[1] & 0x80, 0, "not removable");
  assertEquals(data[2], 6, "SPC-4");
  assertEquals(data[3] & 0x0f, 2, "RESPONSE DATA FORMAT");
  assertEquals(data[4], 31, "ADDITIONAL LENGTH");
  assertEquals(data[7] & 0x02, 0x02, "CMDQUE");
});

Deno.test("SPC-4 4.4.1, the identification is ASCII padded with spaces", () => {
  const { good } = rig({ disk: { vendor: "ACME", product: "ROCKET SKATES", version: "2" } });
  assertEquals(text(good(inquiry()), 8, 36), "ACME    ROCKET SKATES   2   ");
  assertEquals(text(rig().good(inquiry()), 8, 36), "SPLITVM SPLITVM HARDDISK1.0 ");
});

Deno.test("SPC-4 4.2.5.6, a small allocation length cuts the data and changes no length field", () => {
  const { good } = rig();
  assertEquals(good(inquiry(5)), good(inquiry()).slice(0, 5));
  assertEquals(good(inquiry(0)), new Uint8Array(0));
  assertEquals(good(inquiry(0xffff)).length, 36);
});

Deno.test("SPC-4 6.6.1, a page code without EVPD is refused, so is CMDDT", () => {
  const { sense } = rig();
  assertEquals(sense([0x12, 0, 0x80, 0, 255, 0]), Sense.INVALID_CDB_FIELD);
  assertEquals(sense([0x12, 2, 0, 0, 255, 0]), Sense.INVALID_CDB_FIELD);
});

Deno.test("SPC-4 7.8, page 00h lists exactly the pages that exist", () => {
  for (const serial of [undefined, "S1"]) {
    const { good, run } = rig({ disk: { serial } });
    const [, , high, low, ...pages] = good(vpd(0));
    assertEquals([high, low], [0, pages.length]);
    assertEquals(pages, serial === undefined ? [0, 0x83, 0xb0, 0xb1, 0xb2] : [0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    for (let page = 0; page < 256; page++) {
      const { status, data } = run(vpd(page));
      assertEquals(status, pages.includes(page) ? 0 : 2, `page ${page}`);
      if (status === 0) assertEquals([data[0], data[1], data.length], [0, page, 4 + data[2] * 256 + data[3]]);
    }
  }
});

Deno.test("SPC-4 7.8, page 80h has the serial number", () => {
  const { good } = rig({ disk: { serial: "DISK-0001" } });
  assertEquals(text(good(vpd(0x80)), 4, 100), "DISK-0001");
});

Deno.test("SPC-4 7.8.5, page 83h names the disk by its world-wide name, and by vendor and serial number", () => {
  const { good } = rig({ disk: { wwn: 0x5000c500a1b2c3d4n, serial: "S1" } });
  const data = good(vpd(0x83));
  assertEquals([...data.subarray(4, 16)], [1, 3, 0, 8, 0x50, 0, 0xc5, 0, 0xa1, 0xb2, 0xc3, 0xd4]);
  assertEquals([...data.subarray(16, 20)], [2, 1, 0, 26]);
  assertEquals(text(data, 20, 100), "SPLITVM SPLITVM HARDDISKS1");
});

Deno.test("a disk without names of its own claims none in page 83h", () => {
  assertEquals([...rig().good(vpd(0x83))], [0, 0x83, 0, 0]);
});

Deno.test("SBC-3 6.6.3, page B0h states the limits that commands are held to", () => {
  for (const logicalBlockSize of [512, 4096]) {
    const { good } = rig({ disk: { logicalBlockSize, physicalBlockSize: 8192 } });
    const data = good(vpd(0xb0));
    const view = new DataView(data.buffer, data.byteOffset);
    assertEquals(data.length, 64);
    assertEquals(data[4] & 1, 1, "WSNZ");
    assertEquals(view.getUint16(6), 8192 / logicalBlockSize, "OPTIMAL TRANSFER LENGTH GRANULARITY");
    assertEquals(view.getUint32(8), 256 * 1024 * 1024 / logicalBlockSize, "MAXIMUM TRANSFER LENGTH");
    assertEquals(view.getUint32(20), 1024 * 1024 * 1024 / logicalBlockSize, "MAXIMUM UNMAP LBA COUNT");
    assertEquals(view.getUint32(24), 255, "MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT");
    assertEquals(view.getBigUint64(36), BigInt(1024 * 1024 * 1024 / logicalBlockSize), "MAXIMUM WRITE SAME LENGTH");
  }
});

Deno.test("SBC-3 6.6.3, the unmap granularity is the image's, else 4096 bytes, and not below a physical block", () => {
  const granularity = (discardGranularity?: number, physicalBlockSize = 512) => {
    const data = rig({ discardGranularity, disk: { physicalBlockSize } }).good(vpd(0xb0));
    const view = new DataView(data.buffer, data.byteOffset);
    assertEquals(view.getUint32(32), 0x80000000, "UGAVALID, alignment 0");
    return view.getUint32(28) * 512;
  };
  assertEquals([granularity(), granularity(65536), granularity(512), granularity(512, 8192)], [4096, 65536, 512, 8192]);
});

Deno.test("SBC-3 6.6.2, page B1h says how the medium turns", () => {
  const { good } = rig({ disk: { rotationRate: 1 } });
  const data = good(vpd(0xb1));
  assertEquals([data.length, data[4], data[5]], [64, 0, 1]);
});

Deno.test("SBC-3 6.6.4, page B2h: thin provisioning of a disk that can be written, none of one that cannot", () => {
  assertEquals([...rig().good(vpd(0xb2)).subarray(4)], [0, 0xe0, 2, 0]);
  const { good } = rig({ readOnly: true });
  assertEquals([...good(vpd(0xb2)).subarray(4)], [0, 0, 0, 0]);
  assertEquals([...good(vpd(0xb0)).subarray(20, 28)], new Array(8).fill(0), "UNMAP limits of 0: not supported");
});

Deno.test("options that no disk can have are refused by name", () => {
  const cases: [options: ScsiDiskOptions, message: string][] = [
    [{ logicalBlockSize: 256 }, "logical_block_size is a power of two from 512 to 32768, not 256"],
    [{ logicalBlockSize: 1000 }, "logical_block_size"],
    [{ logicalBlockSize: 65536 }, "logical_block_size"],
    [{ logicalBlockSize: NaN }, "logical_block_size"],
    [{ logicalBlockSize: 4096, physicalBlockSize: 512 }, "physical_block_size is a power of two from 4096 to 32768"],
    [{ serial: "x".repeat(37) }, "serial is at most 36 printable ASCII characters"],
    [{ serial: "é" }, "serial"],
    [{ vendor: "NINECHARS" }, "vendor is at most 8"],
    [{ product: "x".repeat(17) }, "product is at most 16"],
    [{ version: "1.0.0" }, "ver is at most 4"],
    [{ wwn: 0n }, "wwn"],
    [{ wwn: 1n << 64n }, "wwn"],
    [{ rotationRate: 65536 }, "rotation_rate is 0 to 65535, not 65536"],
    [{ queueDepth: 0 }, "queue depth is 1 to 256, not 0"],
  ];
  for (const [options, message] of cases) {
    assertThrows(() => new ScsiDisk(new MemoryDevice(65536), options), Error, message);
  }
  const tiny = new MemoryDevice(512);
  assertThrows(() => new ScsiDisk(tiny, { logicalBlockSize: 4096 }), RangeError, "512 bytes has no room");
});
