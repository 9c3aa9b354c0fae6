import { assert, assertEquals, assertThrows } from "@std/assert";
import type { DriveConfig, ScsiDiskConfig } from "../../src/options/storage.ts";
import type { DeviceHost } from "../../src/device/pci_device.ts";
import { EventLoop } from "../../src/event_loop.ts";
import { RunState } from "../../src/remote/run_state.ts";
import { openScsiBus } from "../../src/remote/storage.ts";
import type { ScsiInitiator } from "../../src/remote/scsi/scsi.ts";
import { leakingNothing } from "../support/leaks.ts";

/** Runs `body` with paths of images of 64 KiB, and checks that nothing stays open. */
function withImages(count: number, body: (paths: string[], open: (disks: ScsiDiskConfig[]) => Opened) => void) {
  return leakingNothing(() => {
    const paths = Array.from({ length: count }, () => Deno.makeTempFileSync({ prefix: "splitvm-storage-" }));
    try {
      for (const path of paths) Deno.truncateSync(path, 65536);
      body(paths, open);
    } finally {
      for (const path of paths) Deno.removeSync(path);
    }
  });
}

interface Opened {
  readonly bus: ReturnType<typeof openScsiBus>;
  /** Lets images work. */
  turn(): void;
  close(): void;
}

function open(disks: ScsiDiskConfig[]): Opened {
  const loop = new EventLoop();
  const releases: (() => void)[] = [];
  const close = () => {
    for (const release of releases.splice(0)) release();
    loop.close();
  };
  const host = { warnOnce() {} } as unknown as DeviceHost;
  const runState = new RunState(loop);
  try {
    return {
      bus: openScsiBus(disks, { host, loop, runState, onClose: (release) => releases.push(release) }),
      turn: () => void loop.turn(),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function disk(file: string, scsiId: number, options: Partial<ScsiDiskConfig> & Partial<DriveConfig> = {}) {
  return {
    id: `hd${scsiId}`,
    drive: {
      id: `d${scsiId}`,
      file,
      format: "raw",
      readOnly: false,
      cache: "writeback",
      discard: false,
      detectZeroes: "off",
      snapshot: false,
      aio: undefined,
    },
    scsiId,
    lun: 0,
    serial: undefined,
    vendor: "SPLITVM",
    product: "HARDDISK",
    version: "1.0",
    wwn: undefined,
    logicalBlockSize: 512,
    physicalBlockSize: 512,
    readErrors: "report",
    writeErrors: "enospc",
    ...options,
  } as ScsiDiskConfig;
}

/** Runs a command with up to one chunk of data. @returns its status and the data that came in. */
function command(
  { bus, turn }: Opened,
  id: number,
  cdb: number[],
  out?: Uint8Array,
): [status: number, data: Uint8Array] {
  let status = -1;
  let data = new Uint8Array();
  const initiator: ScsiInitiator = {
    dataReady(request) {
      if (out === undefined) data = request.chunk.slice();
      else request.chunk.set(out);
      request.resume();
    },
    complete: (_request, code) => void (status = code),
  };
  bus.target(id)!.start(initiator, 0, Uint8Array.from(cdb), undefined);
  while (status === -1) turn();
  return [status, data];
}

const REQUEST_SENSE = [0x03, 0, 0, 0, 18, 0];

Deno.test(
  "disks are where their configuration puts them, with its names",
  withImages(2, (paths, open) => {
    const opened = open([disk(paths[0], 0, { serial: "S1" }), disk(paths[1], 5, { product: "OTHER" })]);
    assertEquals(opened.bus.units().map(({ id, lun }) => [id, lun]), [[0, 0], [5, 0]]);
    const [, inquiry] = command(opened, 5, [0x12, 0, 0, 0, 36, 0]);
    assertEquals(new TextDecoder().decode(inquiry.slice(8, 36)).trimEnd(), "SPLITVM OTHER           1.0");
    const [, serial] = command(opened, 0, [0x12, 1, 0x80, 0, 36, 0]);
    assertEquals(new TextDecoder().decode(serial.slice(4)), "S1");
    const [, name] = command(opened, 5, [0x12, 1, 0x83, 0, 36, 0]);
    assert(new TextDecoder("latin1").decode(name).includes("d5"));
    opened.close();
  }),
);

Deno.test(
  "what is written to a disk is in its image",
  withImages(1, ([path], open) => {
    const opened = open([disk(path, 0)]);
    command(opened, 0, REQUEST_SENSE); // takes the unit attention of power-on
    const [status] = command(opened, 0, [0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], new Uint8Array(512).fill(0x77));
    assertEquals(status, 0);
    opened.close();
    assertEquals(Deno.readFileSync(path).slice(1535, 2049), Uint8Array.from([0, ...Array(512).fill(0x77), 0]));
  }),
);

Deno.test(
  "a drive that cannot be opened is named, and the others are closed",
  withImages(1, ([path], open) => {
    const error = assertThrows(() => open([disk(path, 0), disk(`${path}.absent`, 1)]), Error) as Error;
    assertEquals([error.message, (error.cause as Error).message], [
      "drive d1",
      `Cannot open ${path}.absent: there is no such file`,
    ]);
  }),
);

Deno.test(
  "a disk that cannot be made leaves its image closed",
  withImages(1, ([path], open) => {
    assertThrows(() => open([disk(path, 0, { logicalBlockSize: 500 })]));
  }),
);
