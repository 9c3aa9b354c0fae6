import { assertEquals } from "@std/assert";
import type { ScsiDiskConfig } from "../../src/options/storage.ts";
import { describeDrives } from "../../src/vmm/block_query.ts";

const DISK = {
  id: "hd0",
  drive: { id: "d0", file: "/images/a.img", cache: "none", detectZeroes: "on" },
} as unknown as ScsiDiskConfig;

/** What a process that means well answers. */
const ENTRY = {
  ...{ device: "d0", type: "unknown", removable: false, locked: false, "io-status": "ok" },
  inserted: {
    ...{ file: "/images/a.img", ro: false, drv: "qcow2", backing_file_depth: 1 },
    image: { filename: "/images/a.img", format: "qcow2", "virtual-size": 1048576 },
    cache: { writeback: true, direct: true, "no-flush": false },
  },
};

const UNANSWERED = { device: "d0", qdev: "hd0", type: "unknown", removable: false, locked: false } as const;

Deno.test("a drive is described by its configuration and by what its process says", () => {
  const [{ inserted, ...rest }] = describeDrives([DISK], [ENTRY]) as unknown as Record<string, unknown>[];
  assertEquals(rest, { ...UNANSWERED, "io-status": "ok" });
  assertEquals(inserted, {
    ...{
      file: "/images/a.img",
      ro: false,
      drv: "qcow2",
      backing_file_depth: 1,
      encrypted: false,
      detect_zeroes: "on",
    },
    ...{ bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0, write_threshold: 0 },
    image: { filename: "/images/a.img", format: "qcow2", "virtual-size": 1048576 },
    cache: { writeback: true, direct: true, "no-flush": false },
  });
});

Deno.test("a process that says nothing, or nonsense, leaves what the configuration knows", () => {
  const { inserted } = ENTRY;
  const nonsense = [
    ...[undefined, null, 7, {}, [], [null], [{ device: "other" }]],
    [{ device: "d0", "io-status": "excellent", inserted: { ...inserted, drv: "vmdk" } }],
    [{ device: "d0", inserted: { ...inserted, image: { "virtual-size": -1 } } }],
    [{ device: "d0", inserted: { ...inserted, cache: { writeback: "yes" } } }],
  ];
  for (const answer of nonsense) assertEquals<unknown>(describeDrives([DISK], answer), [UNANSWERED]);
});

Deno.test("names are the VMM's own, whatever a process says", () => {
  const lying = { ...ENTRY, qdev: "x", inserted: { ...ENTRY.inserted, file: "/etc/passwd" } };
  const [drive] = describeDrives([DISK], [lying]);
  assertEquals([drive.qdev, "inserted" in drive && drive.inserted.file], ["hd0", "/images/a.img"]);
});
