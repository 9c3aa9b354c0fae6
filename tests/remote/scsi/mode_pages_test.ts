import { assert, assertEquals } from "@std/assert";
import { be, rig, Sense } from "./initiator.ts";

const CURRENT = 0, CHANGEABLE = 1, DEFAULT = 2, SAVED = 3;
const DBD = 0x08, LLBAA = 0x10;
const PAGE_CODES = [0x01, 0x03, 0x04, 0x08, 0x0a, 0x1c];

function modeSense6(page: number, { control = CURRENT, flags = 0, subpage = 0, length = 255 } = {}): number[] {
  return [0x1a, flags, (control << 6) | page, subpage, length, 0];
}

function modeSense10(page: number, { control = CURRENT, flags = 0, subpage = 0, length = 1024 } = {}): number[] {
  return [0x5a, flags, (control << 6) | page, subpage, 0, 0, 0, ...be(length, 2), 0];
}

function modeSelect6(list: readonly number[], flags = 0x10): [cdb: number[], list: Uint8Array] {
  return [[0x15, flags, 0, 0, list.length, 0], Uint8Array.from(list)];
}

function modeSelect10(list: readonly number[], flags = 0x10): [cdb: number[], list: Uint8Array] {
  return [[0x55, flags, 0, 0, 0, 0, 0, ...be(list.length, 2), 0], Uint8Array.from(list)];
}

/** The caching page as MODE SELECT takes it. */
function caching(writeCache: boolean): number[] {
  return [0x08, 18, writeCache ? 4 : 0, ...new Array(17).fill(0)];
}

/** The pages behind a header. */
function pages(data: Uint8Array, at: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  while (at < data.length) {
    found.set(data[at] & 0x3f, data.slice(at, at + 2 + data[at + 1]));
    at += 2 + data[at + 1];
  }
  assertEquals(at, data.length, "the last page is whole");
  return found;
}

Deno.test("SPC-4 6.13, MODE SENSE (6): header, block descriptor and all pages in ascending order", () => {
  const { good } = rig(); // 2048 blocks of 512
  const data = good(modeSense6(0x3f));
  assertEquals([data[0], data[1], data[2], data[3]], [data.length - 1, 0, 0x10, 8]);
  assertEquals([...data.subarray(4, 12)], [0, 0, 8, 0, 0, 0, 2, 0]);
  assertEquals([...pages(data, 12).keys()], PAGE_CODES);
});

Deno.test("SPC-4 6.14, MODE SENSE (10): the same with the longer header, and LLBAA for the longer descriptor", () => {
  const { good } = rig();
  const data = good(modeSense10(0x3f));
  assertEquals([...data.subarray(0, 8)], [...be(data.length - 2, 2), 0, 0x10, 0, 0, 0, 8]);
  assertEquals(pages(data, 16), pages(good(modeSense6(0x3f)), 12));
  const long = good(modeSense10(0x08, { flags: LLBAA }));
  assertEquals([long[4], long[7]], [1, 16]);
  assertEquals([...long.subarray(8, 24)], [...be(2048, 8), 0, 0, 0, 0, ...be(512, 4)]);
});

Deno.test("DBD leaves the block descriptor out", () => {
  const { good } = rig();
  assertEquals(pages(good(modeSense6(0x3f, { flags: DBD })), 4), pages(good(modeSense6(0x3f)), 12));
  assertEquals(good(modeSense10(0x08, { flags: DBD | LLBAA })).length, 8 + 20);
});

Deno.test("each page can be asked for alone, with subpage 00h or all subpages", () => {
  const { good, sense } = rig();
  for (let code = 0; code < 0x3f; code++) {
    const cdb = modeSense6(code, { flags: DBD });
    if (PAGE_CODES.includes(code)) {
      assertEquals([...pages(good(cdb), 4).keys()], [code]);
      assertEquals(good(modeSense6(code, { flags: DBD, subpage: 0xff })), good(cdb));
    } else {
      assertEquals(sense(cdb), Sense.INVALID_CDB_FIELD, `page ${code}`);
    }
  }
  assertEquals(sense(modeSense6(0x0a, { subpage: 1 })), Sense.INVALID_CDB_FIELD);
});

Deno.test("SPC-4 4.2.5.6, the allocation length cuts the data and not MODE DATA LENGTH", () => {
  const { good } = rig();
  assertEquals(good(modeSense6(0x3f, { length: 20 })), good(modeSense6(0x3f)).slice(0, 20));
  assertEquals(good(modeSense10(0x3f, { length: 3 })), good(modeSense10(0x3f)).slice(0, 3));
});

Deno.test("SBC-3 6.5, WP is set for a read-only drive, DPOFUA for every one", () => {
  assertEquals(rig({ readOnly: true }).good(modeSense6(0x08))[2], 0x90);
  assertEquals(rig({ readOnly: true }).good(modeSense10(0x08))[3], 0x90);
  assertEquals(rig().good(modeSense6(0x08))[2], 0x10);
});

Deno.test("SPC-4 6.13, page control: only WCE is changeable, defaults do not follow changes, nothing is saved", () => {
  const { good, sense } = rig();
  good(...modeSelect6([0, 0, 0, 0, ...caching(false)]));
  const of = (control: number) => pages(good(modeSense6(0x3f, { control, flags: DBD })), 4);
  const changeable = of(CHANGEABLE);
  for (const [code, page] of changeable) {
    const expected = new Uint8Array(page.length);
    expected.set([code, page.length - 2, code === 0x08 ? 0x04 : 0]);
    assertEquals(page, expected);
  }
  assertEquals(of(CURRENT).get(0x08)![2] & 4, 0);
  assertEquals(of(DEFAULT).get(0x08)![2] & 4, 4);
  assertEquals(sense(modeSense6(0x08, { control: SAVED })), Sense.SAVING_NOT_SUPPORTED);
});

Deno.test("SCSI-2 9.3.3.3 and 9.3.3.7, the geometry pages describe 63 sectors, 255 heads and cylinders that hold every block", () => {
  const { good } = rig({ size: 255 * 63 * 512 * 3 + 512 });
  const found = pages(good(modeSense6(0x3f)), 12);
  const format = found.get(0x03)!;
  assertEquals([...format.subarray(10, 14)], [0, 63, 2, 0]);
  assertEquals([...found.get(0x04)!.subarray(2, 6)], [0, 0, 4, 255]);
});

Deno.test("SPC-4 6.11 and 6.12, MODE SELECT switches the write cache, and back", () => {
  const { drive, good } = rig();
  const writeOne = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
  drive.trace.length = 0;
  good(...modeSelect6([0, 0, 0, 0, ...caching(false)]));
  assertEquals(drive.trace, ["flush"], "what the cache held is put on the medium");
  good(writeOne);
  good(...modeSelect10([0, 0, 0, 0, 0, 0, 0, 0, ...caching(true)]));
  good(writeOne);
  assertEquals(drive.trace, ["flush", "write+fua 512 @ 0", "write 512 @ 0"]);
});

Deno.test("a cache that the host switched off cannot be switched on by the guest", () => {
  const { good, sense } = rig({ writeCache: false });
  assertEquals(good(modeSense6(0x08, { control: CHANGEABLE, flags: DBD }))[6], 0);
  assertEquals(good(modeSense6(0x08, { flags: DBD }))[6], 0);
  assertEquals(sense(...modeSelect6([0, 0, 0, 0, ...caching(true)])), Sense.INVALID_PARAMETER);
});

Deno.test("what MODE SENSE returned, MODE SELECT takes back", () => {
  const { good } = rig();
  const six = good(modeSense6(0x3f));
  six[0] = 0; // MODE DATA LENGTH is reserved in MODE SELECT
  good(...modeSelect6([...six]));
  for (const flags of [0, LLBAA]) {
    const ten = good(modeSense10(0x3f, { flags }));
    ten.set([0, 0]);
    good(...modeSelect10([...ten]));
  }
});

Deno.test("an empty parameter list is no error and moves nothing", () => {
  const { run } = rig();
  for (const cdb of [[0x15, 0x10, 0, 0, 0, 0], [0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]]) {
    const { status, request } = run(cdb);
    assertEquals([status, request!.direction], [0, "none"]);
  }
});

Deno.test("MODE SELECT refuses to save pages, to revert them, and vendor-specific formats", () => {
  const { sense } = rig();
  for (const flags of [0x11, 0x12, 0x00]) {
    assertEquals(sense(...modeSelect6([0, 0, 0, 0, ...caching(true)], flags)), Sense.INVALID_CDB_FIELD);
  }
});

Deno.test("SPC-4 6.11, a parameter list that ends inside header, descriptor or page has the wrong length", () => {
  const { sense } = rig();
  const list = [0, 0, 0, 8, 0, 0, 8, 0, 0, 0, 2, 0, ...caching(false)];
  for (let length = 1; length < list.length; length++) {
    if (length === 12) continue; // whole, without pages
    assertEquals(sense(...modeSelect6(list.slice(0, length))), Sense.LIST_LENGTH, `${length} bytes`);
  }
});

Deno.test("what cannot be changed is refused with a pointer to the byte, and nothing of the list is applied", () => {
  const { good, run, initiator } = rig();
  const list = [0, 0, 0, 0, ...caching(false), 0x0a, 10, 0, 0x10, 0, 0, 1, 0, 0xff, 0xff, 0, 0];
  assertEquals(run(...modeSelect6(list)).status, 2);
  const { data } = initiator.start([0x03, 0, 0, 0, 252, 0]);
  assertEquals([data[2], data[12], data[13]], [5, 0x26, 0]);
  assertEquals([...data.subarray(15)], [0x80, 0, 4 + 20 + 6]);
  assertEquals(good(modeSense6(0x08, { flags: DBD }))[6] & 4, 4);
});

Deno.test("unknown pages, subpages, wrong page lengths and other block sizes are refused", () => {
  const { sense } = rig();
  const header = [0, 0, 0, 0];
  const lists = [
    [...header, 0x05, 0],
    [...header, 0x48, 18, ...new Array(18).fill(0)],
    [...header, 0x08, 10, ...new Array(10).fill(0)],
    [0, 0, 0, 8, 0, 0, 8, 0, 0, 0, 4, 0], // block length 1024
    [0, 0, 0, 8, 0, 0, 7, 0, 0, 0, 2, 0], // fewer blocks
    [0, 0, 0, 7, 0, 0, 8, 0, 0, 0, 2], // no descriptor has 7 bytes
  ];
  for (const list of lists) assertEquals(sense(...modeSelect6(list)), Sense.INVALID_PARAMETER, `${list}`);
});

Deno.test("the control page says that tasks may be reordered without restriction", () => {
  const { good } = rig();
  const page = pages(good(modeSense6(0x0a, { flags: DBD })), 4).get(0x0a)!;
  assertEquals(page[3] >> 4, 1);
  assert(page[2] === 0, "D_SENSE, GLTSD and the rest are clear");
});
