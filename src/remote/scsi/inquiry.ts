/**
 * INQUIRY: standard data and vital product data pages (SPC-4, sections 6.6 and 7.8; SBC-3, section 6.6).
 *
 * @module
 */
import { u16be } from "./cdb.ts";
import { type DiskModel, Limit } from "./disk_model.ts";
import { invalidCdbField } from "./sense.ts";
import type { Steps } from "./steps.ts";
import type { Outcome, Task } from "./task.ts";

/** Peripheral device type of a direct access block device. */
const DIRECT_ACCESS = 0x00;

/** VERSION: the device claims SPC-4. */
const SPC_4 = 0x06;

/** Sizes of the fixed-width ASCII fields. */
const Width = { VENDOR: 8, PRODUCT: 16, VERSION: 4 } as const;

/** What a page is made of: everything behind its four-byte header. */
type PageBody = (disk: DiskModel) => Uint8Array | undefined;

/** VPD pages in ascending order; one without a body is one that this disk does not have. */
const VPD_PAGES: readonly (readonly [code: number, body: PageBody])[] = [
  [0x00, supportedPages],
  [0x80, unitSerialNumber],
  [0x83, deviceIdentification],
  [0xb0, blockLimits],
  [0xb1, blockDeviceCharacteristics],
  [0xb2, logicalBlockProvisioning],
];

/** INQUIRY (SPC-4, section 6.6). */
export function inquiry(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  const pageCode = cdb[2];
  const allocationLength = u16be(cdb, 3);
  if ((cdb[1] & 0x02) !== 0) return invalidCdbField(1, 1); // CMDDT, obsolete
  if ((cdb[1] & 0x01) === 0) {
    if (pageCode !== 0) return invalidCdbField(2);
    return task.reply(standardInquiry(disk), allocationLength);
  }
  const body = VPD_PAGES.find(([code]) => code === pageCode)?.[1](disk);
  if (body === undefined) return invalidCdbField(2);
  const page = new Uint8Array(4 + body.length);
  page.set([DIRECT_ACCESS, pageCode, body.length >> 8, body.length & 0xff]);
  page.set(body, 4);
  return task.reply(page, allocationLength);
}

/** INQUIRY for a logical unit that is not there but whose target is (SPC-4, section 6.6.2: qualifier 011b, type 1fh). */
export function absentInquiry(task: Task): Steps<Outcome> | Outcome {
  if ((task.cdb[1] & 0x03) !== 0) return invalidCdbField(1, 0);
  if (task.cdb[2] !== 0) return invalidCdbField(2);
  const data = inquiryHeader(0x7f);
  data.fill(0x20, 8);
  return task.reply(data, u16be(task.cdb, 3));
}

/** The fixed bytes of the 36 that all initiators ask for. */
function inquiryHeader(peripheral: number): Uint8Array {
  const data = new Uint8Array(36);
  data[0] = peripheral;
  data[2] = SPC_4;
  data[3] = 0x10 | 0x02; // HISUP; response data format 2
  data[4] = data.length - 5;
  data[7] = 0x10 | 0x02; // SYNC (SPI-5: the target transfers synchronously if asked); CMDQUE
  return data;
}

function standardInquiry(disk: DiskModel): Uint8Array {
  const data = inquiryHeader(DIRECT_ACCESS);
  data.set(padded(disk.vendor, Width.VENDOR), 8);
  data.set(padded(disk.product, Width.PRODUCT), 16);
  data.set(padded(disk.version, Width.VERSION), 32);
  return data;
}

/** ASCII, left-aligned and filled with spaces (SPC-4, section 4.4.1). */
function padded(text: string, width: number): Uint8Array {
  return new TextEncoder().encode(text.padEnd(width));
}

function supportedPages(disk: DiskModel): Uint8Array {
  return Uint8Array.from(
    VPD_PAGES.filter(([code, body]) => code === 0x00 || body(disk) !== undefined).map(([code]) => code),
  );
}

function unitSerialNumber(disk: DiskModel): Uint8Array | undefined {
  return disk.serial === undefined ? undefined : new TextEncoder().encode(disk.serial);
}

/** CODE SET and DESIGNATOR TYPE of a designator that names the logical unit (SPC-4, section 7.8.5). */
const CodeSet = { BINARY: 1, ASCII: 2 } as const;
const DesignatorType = { T10_VENDOR_ID: 1, NAA: 3 } as const;

function designator(codeSet: number, type: number, value: Uint8Array): number[] {
  return [codeSet, type, 0, value.length, ...value];
}

function deviceIdentification(disk: DiskModel): Uint8Array {
  const designators: number[] = [];
  if (disk.wwn !== undefined) {
    const naa = new DataView(new ArrayBuffer(8));
    naa.setBigUint64(0, disk.wwn);
    designators.push(...designator(CodeSet.BINARY, DesignatorType.NAA, new Uint8Array(naa.buffer)));
  }
  // Without a name of its own the disk claims none: a made-up one would make two disks look like two paths to one.
  if (disk.deviceId !== undefined) {
    const id = disk.vendor.padEnd(Width.VENDOR) + disk.product.padEnd(Width.PRODUCT) + disk.deviceId;
    designators.push(...designator(CodeSet.ASCII, DesignatorType.T10_VENDOR_ID, new TextEncoder().encode(id)));
  }
  return Uint8Array.from(designators);
}

/** Block Limits (SBC-3, section 6.6.3). The offsets below are those in the page less the header. */
function blockLimits(disk: DiskModel): Uint8Array {
  const page = new DataView(new ArrayBuffer(0x3c));
  const inBlocks = (bytes: number) => Math.floor(bytes / disk.blockSize);
  page.setUint8(0, 0x01); // WSNZ
  page.setUint16(2, 2 ** disk.physicalExponent); // OPTIMAL TRANSFER LENGTH GRANULARITY
  page.setUint32(4, inBlocks(Limit.TRANSFER)); // MAXIMUM TRANSFER LENGTH
  if (!disk.drive.readOnly) {
    page.setUint32(16, inBlocks(Limit.UNMAP)); // MAXIMUM UNMAP LBA COUNT
    page.setUint32(20, Limit.UNMAP_DESCRIPTORS);
    // Where the image does not say: file systems give back pages; smaller holes are only zeroed.
    const granularity = inBlocks(disk.drive.discardGranularity ?? 4096);
    page.setUint32(24, Math.max(1, granularity, 2 ** disk.physicalExponent)); // OPTIMAL UNMAP GRANULARITY
    page.setUint32(28, 0x80000000); // UGAVALID; UNMAP GRANULARITY ALIGNMENT 0
  }
  page.setBigUint64(32, BigInt(inBlocks(Limit.WRITE_SAME))); // MAXIMUM WRITE SAME LENGTH
  return new Uint8Array(page.buffer);
}

/** Block Device Characteristics (SBC-3, section 6.6.2). */
function blockDeviceCharacteristics(disk: DiskModel): Uint8Array {
  const page = new DataView(new ArrayBuffer(0x3c));
  page.setUint16(0, disk.rotationRate);
  return new Uint8Array(page.buffer);
}

/**
 * Logical Block Provisioning (SBC-3, section 6.6.4): thin. Whether an image gives the space back is the host's business; as on QEMU's disks,
 * a guest need not know.
 */
function logicalBlockProvisioning(disk: DiskModel): Uint8Array {
  const LBPU = 0x80, LBPWS = 0x40, LBPWS10 = 0x20, THIN = 2;
  return disk.drive.readOnly ? Uint8Array.of(0, 0, 0, 0) : Uint8Array.of(0, LBPU | LBPWS | LBPWS10, THIN, 0);
}
