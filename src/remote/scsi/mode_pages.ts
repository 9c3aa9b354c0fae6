/**
 * MODE SENSE and MODE SELECT (SPC-4, sections 6.11 to 6.14 and 7.5; SBC-3, section 6.5).
 *
 * @module
 */
import { OperationCode, u16be, u24be, u32be, u64be } from "./cdb.ts";
import { type DiskModel, flush } from "./disk_model.ts";
import { invalidCdbField, invalidParameter, type Sense, SenseCode } from "./sense.ts";
import type { Steps } from "./steps.ts";
import type { Outcome, Task } from "./task.ts";

/** PAGE CONTROL of MODE SENSE: which values are asked for. */
const PageControl = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const;

const ALL_PAGES = 0x3f;
const ALL_SUBPAGES = 0xff;

const CACHING_PAGE = 0x08;
/** WCE in byte 2 of the caching page. */
const WCE = 0x04;

/** DEVICE-SPECIFIC PARAMETER of a direct access device (SBC-3, section 6.5). */
const DeviceSpecific = { WP: 0x80, DPOFUA: 0x10 } as const;

/** A page: its code and its bytes behind the two-byte header, for each kind of value. */
interface ModePage {
  readonly code: number;
  readonly length: number;
  /** Fills in the current or default values. */
  readonly values: (disk: DiskModel, page: DataView, control: number) => void;
  /** Sets the bits that MODE SELECT may change. @default {none} */
  readonly changeable?: (disk: DiskModel, page: DataView) => void;
}

/**
 * The geometry that software expects which still thinks in cylinders: the one that PC firmware uses for disks of any size. (The
 * medium has none; the fields are obsolete since SBC-2.)
 */
const Geometry = { HEADS: 255, SECTORS: 63 } as const;

/**
 * Rounded up: SeaBIOS divides the capacity by cylinders and heads to get the sectors of a track, and one that came out above 63 could not
 * be addressed through int 13h.
 */
function cylinders(disk: DiskModel): number {
  return Math.min(0xffffff, Math.ceil(disk.blocks / (Geometry.HEADS * Geometry.SECTORS)));
}

/** The pages, in ascending order. Offsets are those in the page as the standard's tables have them. */
const PAGES: readonly ModePage[] = [
  // Read-Write Error Recovery (SBC-3, section 6.5): AWRE and ARRE, since hosts reallocate by themselves.
  { code: 0x01, length: 0x0a, values: (_, page) => page.setUint8(2, 0xc0) },
  {
    code: 0x03, // Format Device (SCSI-2, section 9.3.3.3)
    length: 0x16,
    values: (disk, page) => {
      page.setUint16(10, Geometry.SECTORS);
      page.setUint16(12, disk.blockSize);
      page.setUint16(14, 1); // INTERLEAVE
      page.setUint8(20, 0x40); // HSEC
    },
  },
  {
    code: 0x04, // Rigid Disk Geometry (SCSI-2, section 9.3.3.7)
    length: 0x16,
    values: (disk, page) => {
      page.setUint32(2, cylinders(disk) * 0x100 + Geometry.HEADS);
      page.setUint16(20, disk.rotationRate);
    },
  },
  {
    code: CACHING_PAGE, // Caching (SBC-3, section 6.5)
    length: 0x12,
    values: (disk, page, control) => {
      const enabled = control === PageControl.DEFAULT ? disk.drive.writeCache : disk.state.writeCacheEnabled;
      page.setUint8(2, enabled ? WCE : 0);
    },
    changeable: (disk, page) => page.setUint8(2, disk.drive.writeCache ? WCE : 0),
  },
  {
    code: 0x0a, // Control (SPC-4, section 7.5.8)
    length: 0x0a,
    values: (_, page) => {
      page.setUint8(3, 0x10); // QUEUE ALGORITHM MODIFIER 1: unrestricted reordering
      page.setUint16(8, 0xffff); // BUSY TIMEOUT PERIOD: unlimited
    },
  },
  // Informational Exceptions Control (SPC-4, section 7.5): DEXCPT, none is ever reported.
  { code: 0x1c, length: 0x0a, values: (_, page) => page.setUint8(2, 0x08) },
];

function buildPage(disk: DiskModel, page: ModePage, control: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(2 + page.length));
  view.setUint8(0, page.code);
  view.setUint8(1, page.length);
  if (control === PageControl.CHANGEABLE) page.changeable?.(disk, view);
  else page.values(disk, view, control);
  return new Uint8Array(view.buffer);
}

/** MODE SENSE (6) and (10). */
export function modeSense(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  const long = cdb[0] === OperationCode.MODE_SENSE_10;
  const control = cdb[2] >> 6;
  const code = cdb[2] & 0x3f;
  const subpage = cdb[3];
  if (control === PageControl.SAVED) return SenseCode.SAVING_PARAMETERS_NOT_SUPPORTED;
  if (subpage !== 0 && subpage !== ALL_SUBPAGES) return invalidCdbField(3);
  const pages = PAGES.filter((page) => code === ALL_PAGES || page.code === code);
  if (pages.length === 0) return invalidCdbField(2, 5);
  const descriptor = (cdb[1] & 0x08) !== 0 // DBD
    ? new Uint8Array(0)
    : blockDescriptor(disk, long && (cdb[1] & 0x10) !== 0, control); // LLBAA
  const bytes = pages.flatMap((page) => [...buildPage(disk, page, control)]);
  const header = modeHeader(disk, long, descriptor.length, bytes.length);
  const data = Uint8Array.of(...header, ...descriptor, ...bytes);
  return task.reply(data, long ? u16be(cdb, 7) : cdb[4]);
}

/** The mode parameter header (SPC-4, section 7.5). MODE DATA LENGTH does not count itself. */
function modeHeader(disk: DiskModel, long: boolean, descriptorLength: number, pagesLength: number): number[] {
  const deviceSpecific = (disk.drive.readOnly ? DeviceSpecific.WP : 0) | DeviceSpecific.DPOFUA;
  if (!long) return [3 + descriptorLength + pagesLength, 0, deviceSpecific, descriptorLength];
  const longLba = descriptorLength === 16 ? 1 : 0;
  const length = 6 + descriptorLength + pagesLength;
  return [length >> 8, length & 0xff, 0, deviceSpecific, longLba, 0, 0, descriptorLength];
}

/** The block descriptor, short or long (SBC-3, section 6.5). Nothing in it is changeable. */
function blockDescriptor(disk: DiskModel, long: boolean, control: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(long ? 16 : 8));
  if (control !== PageControl.CHANGEABLE) {
    if (long) {
      view.setBigUint64(0, BigInt(disk.blocks));
      view.setUint32(12, disk.blockSize);
    } else {
      view.setUint32(0, Math.min(disk.blocks, 0xffffffff));
      view.setUint32(4, disk.blockSize); // 24 bits at 5
    }
  }
  return new Uint8Array(view.buffer);
}

/** MODE SELECT (6) and (10). */
export function modeSelect(disk: DiskModel, task: Task): Steps<Outcome> | Outcome {
  const { cdb } = task;
  const long = cdb[0] === OperationCode.MODE_SELECT_10;
  if ((cdb[1] & 0x10) === 0) return invalidCdbField(1, 4); // PF: only standard pages are known
  if ((cdb[1] & 0x02) !== 0) return invalidCdbField(1, 1); // RTD
  if ((cdb[1] & 0x01) !== 0) return invalidCdbField(1, 0); // SP
  const length = long ? u16be(cdb, 7) : cdb[4];
  if (length === 0) return undefined;
  return modeSelectList(disk, task, length, long);
}

function* modeSelectList(disk: DiskModel, task: Task, length: number, long: boolean): Steps<Outcome> {
  const list = yield* task.receive(length);
  const problem = checkHeader(disk, list, long) ?? checkPages(disk, list, pagesStart(list, long));
  if (problem !== undefined) return problem;
  const hadCache = disk.state.writeCacheEnabled;
  for (const page of selectedPages(list, pagesStart(list, long))) {
    if (page.code === CACHING_PAGE) disk.state.writeCacheEnabled = (list[page.at + 2] & WCE) !== 0;
  }
  // What a cache that is switched off still holds goes to the medium (SBC-3, section 6.5, WCE).
  return hadCache && !disk.state.writeCacheEnabled && !disk.drive.readOnly ? yield* flush(disk) : undefined;
}

/** Where the pages start, behind header and block descriptor. */
function pagesStart(list: Uint8Array, long: boolean): number {
  return long ? 8 + u16be(list, 6) : 4 + list[3];
}

/** Header and block descriptor of a MODE SELECT list: they may only say what is the case already. */
function checkHeader(disk: DiskModel, list: Uint8Array, long: boolean): Sense | undefined {
  const headerLength = long ? 8 : 4;
  if (list.length < headerLength) return SenseCode.PARAMETER_LIST_LENGTH_ERROR;
  const descriptorLength = pagesStart(list, long) - headerLength;
  const longLba = long && (list[4] & 0x01) !== 0;
  if (descriptorLength !== 0 && descriptorLength !== (longLba ? 16 : 8)) return invalidParameter(long ? 6 : 3);
  if (list.length < headerLength + descriptorLength) return SenseCode.PARAMETER_LIST_LENGTH_ERROR;
  if (descriptorLength === 0) return undefined;
  const blocks = longLba ? u64be(list, headerLength) : u32be(list, headerLength);
  const size = longLba ? u32be(list, headerLength + 12) : u24be(list, headerLength + 5);
  // 0 leaves the capacity alone and all-ones asks for the largest (SBC-3, section 6.5): both are what there is.
  const most = longLba ? 2 ** 64 : 0xffffffff;
  if (blocks !== 0 && blocks !== most && blocks !== disk.blocks) return invalidParameter(headerLength);
  if (size !== disk.blockSize) return invalidParameter(headerLength + (longLba ? 12 : 5));
  return undefined;
}

/** A page in a MODE SELECT list. */
interface SelectedPage {
  readonly code: number;
  /** Offset of its header in the list. */
  readonly at: number;
  /** Its length, header included. */
  readonly length: number;
}

function* selectedPages(list: Uint8Array, start: number): Generator<SelectedPage> {
  for (let at = start; at < list.length;) {
    const length = 2 + (list[at + 1] ?? 0);
    yield { code: list[at] & 0x3f, at, length };
    at += length;
  }
}

/** Whether every page exists, is whole, and changes nothing but changeable bits. Nothing is applied before that is known. */
function checkPages(disk: DiskModel, list: Uint8Array, start: number): Sense | undefined {
  for (const { code, at, length } of selectedPages(list, start)) {
    if (at + length > list.length) return SenseCode.PARAMETER_LIST_LENGTH_ERROR;
    const page = PAGES.find((known) => known.code === code);
    if (page === undefined || (list[at] & 0x40) !== 0) return invalidParameter(at); // SPF: there are no subpages
    if (length !== 2 + page.length) return invalidParameter(at + 1);
    const current = buildPage(disk, page, PageControl.CURRENT);
    const changeable = buildPage(disk, page, PageControl.CHANGEABLE);
    for (let i = 2; i < length; i++) {
      if (((list[at + i] ^ current[i]) & ~changeable[i]) !== 0) return invalidParameter(at + i);
    }
  }
  return undefined;
}
