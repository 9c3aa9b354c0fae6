import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { deviceProcessArguments } from "../../src/options/device_arguments.ts";
import type { ControllerConfig, DriveConfig, ScsiDiskConfig } from "../../src/options/storage.ts";
import type { RemoteConfig } from "../../src/remote/config.ts";
import { refuses, remote } from "./parsing.ts";

const LSI = "-device lsi53c895a,id=lsi0";
const DRIVE = "-drive id=d0,file=disk.img,format=raw,if=none";
const OBJECT = "-object remote-object,id=robj0,devid=lsi0,fd=5";

/** The disks of a device process with one adapter. */
const disks = (line: string) => remote(`${LSI} ${OBJECT} ${line}`).objects[0].device.disks;
const refusesHere = (line: string, message: string) => refuses(`-machine remote ${LSI} ${OBJECT} ${line}`, message);

const drive: DriveConfig = {
  id: "d0",
  file: "disk.img",
  format: "raw",
  readOnly: false,
  snapshot: false,
  cache: "writeback",
  discard: false,
  detectZeroes: "off",
  aio: undefined,
};

const disk: ScsiDiskConfig = {
  id: "hd0",
  drive,
  scsiId: 0,
  lun: 0,
  serial: undefined,
  vendor: "SPLITVM",
  product: "SPLITVM HARDDISK",
  version: "1.0",
  wwn: undefined,
  logicalBlockSize: 512,
  physicalBlockSize: 512,
  readErrors: "report",
  writeErrors: "enospc",
};

Deno.test("an object serves the controller that it names, with its disks", () => {
  const config = remote(`${LSI} ${DRIVE} -device scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0 ${OBJECT}`);
  assertEquals(config, {
    name: undefined,
    exitWithParent: false,
    ready: undefined,
    startError: "stderr",
    sandbox: false,
    files: [],
    objects: [{ id: "robj0", fd: 5, device: { driver: "lsi53c895a", id: "lsi0", disks: [disk] }, accelerated: true }],
    monitors: [],
  });
});

Deno.test("files that are open already have the path that is said, or that of their set", () => {
  const { files } = remote(`${LSI} ${OBJECT} -add-fd fd=7,set=0,opaque=/a,,b -add-fd set=12,fd=8`);
  assertEquals(files, [{ fd: 7, path: "/a,b" }, { fd: 8, path: "/dev/fdset/12" }]);
  refuses(
    `-machine remote ${LSI} ${OBJECT} -add-fd fd=5,set=0`,
    "-object remote-object,id=robj0: fd=5 belongs to -add-fd already",
  );
});

Deno.test("who starts a device process can have it say when it has all open, on a descriptor of its own", () => {
  assertEquals(remote(`${LSI} ${OBJECT} -run-with ready-fd=9`).ready, 9);
  refuses(
    `-machine remote ${LSI} ${OBJECT} -run-with ready-fd=5`,
    "-run-with: fd=5 belongs to -object remote-object,id=robj0 already",
  );
});

Deno.test("who starts a device process can have it say to QMP's clients why it cannot start", () => {
  const asked = (options: string) => remote(`${LSI} ${OBJECT}${options}`).startError;
  assertEquals([asked(""), asked(" -run-with start-error=qmp")], ["stderr", "qmp"]);
});

Deno.test("system calls are filtered where that is asked for", () => {
  const asked = (options: string) => remote(`${LSI} ${OBJECT} ${options}`).sandbox;
  assertEquals(["", "-sandbox on", "-sandbox off", "-sandbox enable=on"].map(asked), [false, true, false, true]);
  refuses(
    `-machine remote ${LSI},sandbox=on ${OBJECT}`,
    "-device lsi53c895a,id=lsi0: 'sandbox' is not supported here: it is -sandbox, for the whole process",
  );
  refuses(
    `-machine remote ${LSI},secontext=x ${OBJECT}`,
    "-device lsi53c895a,id=lsi0: 'secontext' is not supported here: it is -secontext of splitvm jail",
  );
});

Deno.test("accesses come through shared memory, unless the object says otherwise", () => {
  assertEquals(remote(`${LSI} ${OBJECT},accel=off`).objects[0].accelerated, false);
  refuses(
    `-machine remote ${LSI},accel=off ${OBJECT}`,
    "-device lsi53c895a,id=lsi0: 'accel' is not supported here: it belongs to -object remote-object",
  );
});

Deno.test("a device process is watched, and does not say how", () => {
  for (const property of ["heartbeat", "deadline"]) {
    refuses(
      `-machine remote ${LSI},${property}=1000 ${OBJECT}`,
      `-device lsi53c895a,id=lsi0: '${property}' is not supported here: it is the VMM that watches`,
    );
  }
});

Deno.test("the order of options does not matter", () => {
  const config = remote(`${OBJECT} -device scsi-hd,drive=d0,bus=lsi0.0 ${DRIVE} ${LSI}`);
  assertEquals(config.objects[0].device.disks[0].drive, drive);
});

Deno.test("the command line of QEMU's manual is accepted", () => {
  const { objects } = remote(
    `-device lsi53c895a,id=lsi0 -drive id=drive_image2,file=/build/test.img ` +
      `-device scsi-hd,id=drive2,drive=drive_image2,bus=lsi0.0,scsi-id=0 -nographic -monitor none ` +
      `-object x-remote-object,id=robj1,devid=lsi0,fd=4,`,
  );
  assertEquals(objects[0].fd, 4);
  assertEquals(objects[0].device.disks[0].drive.file, "/build/test.img");
});

Deno.test("a controller may have no disks", () => {
  assertEquals(disks(""), []);
});

Deno.test("several objects serve a controller each", () => {
  const { objects } = remote(`${LSI} ${OBJECT} -device lsi53c895a,id=b -object remote-object,id=o,devid=b,fd=6`);
  assertEquals(objects.map(({ device, fd }) => [device.id, fd]), [["lsi0", 5], ["b", 6]]);
});

Deno.test("options without effect are accepted", () => {
  const line = `${LSI} ${OBJECT}`;
  const harmless =
    "-nographic -display none -monitor none -vga none -nodefaults -no-user-config -net none -parallel none";
  assertEquals(remote(`${line} ${harmless}`), remote(line));
});

Deno.test("-name names the process", () => {
  assertEquals(remote(`${LSI} ${OBJECT} -name guest=disks`).name, "disks");
});

Deno.test("every drive property arrives", () => {
  const line = "-drive id=d0,file=a,,b,format=qcow2,readonly=on,snapshot=on,cache=none,discard=unmap,aio=native," +
    "detect-zeroes=unmap " +
    "-device scsi-hd,drive=d0";
  assertEquals(disks(line)[0].drive, {
    id: "d0",
    file: "a,b",
    format: "qcow2",
    readOnly: true,
    snapshot: true,
    cache: "none",
    discard: true,
    detectZeroes: "unmap",
    aio: "native",
  });
});

Deno.test("every disk property arrives", () => {
  const line = "-device scsi-hd,id=h,drive=d0,scsi-id=15,lun=7,serial=S-1,vendor=ACME,product=Disk,ver=2.1," +
    "wwn=0x5000c500a1b2c3d5,logical_block_size=4096,physical_block_size=8k,rerror=stop,werror=ignore";
  assertEquals(disks(`${DRIVE} ${line}`)[0], {
    id: "h",
    drive,
    scsiId: 15,
    lun: 7,
    serial: "S-1",
    vendor: "ACME",
    product: "Disk",
    version: "2.1",
    wwn: 0x5000_c500_a1b2_c3d5n,
    logicalBlockSize: 4096,
    physicalBlockSize: 8192,
    readErrors: "stop",
    writeErrors: "ignore",
  });
});

Deno.test("a physical block is a logical one where its size is left out", () => {
  assertEquals(disks(`${DRIVE} -device scsi-hd,drive=d0,logical_block_size=4096`)[0].physicalBlockSize, 4096);
});

Deno.test("a physical block below a logical one is refused", () => {
  refusesHere(
    `${DRIVE} -device scsi-hd,drive=d0,logical_block_size=4096,physical_block_size=512`,
    "-device scsi-hd: physical_block_size=512 is below the logical 4096",
  );
});

Deno.test("a target id that is left out is the lowest free one, past given ones and the adapter's", () => {
  let line = "-drive id=x,file=x -device scsi-hd,drive=x,scsi-id=1";
  for (let n = 0; n < 7; n++) line += ` -drive id=d${n},file=d${n} -device scsi-hd,drive=d${n}`;
  assertEquals(disks(line).map(({ scsiId }) => scsiId), [1, 0, 2, 3, 4, 5, 6, 8]);
});

Deno.test("a bus has fifteen targets", () => {
  let line = "";
  for (let n = 0; n < 16; n++) line += ` -drive id=d${n},file=d${n} -device scsi-hd,id=h${n},drive=d${n}`;
  refusesHere(line, "-device scsi-hd,id=h15: no target id is free on bus lsi0.0; expected scsi-id= and lun=");
});

Deno.test("the adapter's own id is refused", () => {
  refusesHere(
    `${DRIVE} -device scsi-hd,id=h,drive=d0,scsi-id=7`,
    "-device scsi-hd,id=h: scsi-id=7 is the adapter's own; expected another one from 0 to 15",
  );
});

Deno.test("logical units share a target, and each has its own number", () => {
  const two = `${DRIVE} -drive id=d1,file=e -device scsi-hd,drive=d0,scsi-id=2 -device scsi-hd,drive=d1,scsi-id=2`;
  assertEquals(disks(`${two},lun=1`).map(({ scsiId, lun }) => [scsiId, lun]), [[2, 0], [2, 1]]);
  refusesHere(two, "-device scsi-hd: scsi-id=2,lun=0 is taken already on bus lsi0.0");
});

Deno.test("a drive that does not exist is refused with the nearest one", () => {
  refusesHere(`${DRIVE} -device scsi-hd,drive=do`, "-device scsi-hd: no -drive has the id 'do'; expected d0");
  refusesHere(
    "-drive id=root,file=a -device scsi-hd,drive=roof",
    "-device scsi-hd: no -drive has the id 'roof'; did you mean 'root'?",
  );
});

Deno.test("a drive has one user", () => {
  refusesHere(
    `${DRIVE} -device scsi-hd,id=a,drive=d0 -device scsi-hd,id=b,drive=d0`,
    "-device scsi-hd,id=b: drive 'd0' belongs to -device scsi-hd,id=a already",
  );
});

Deno.test("a drive without a user is refused", () => {
  refusesHere(DRIVE, "-drive id=d0: no device uses it; expected -device scsi-hd,drive=d0");
});

Deno.test("two drives with one id are refused", () => {
  refusesHere(`${DRIVE} ${DRIVE}`, "-drive id=d0: its id is taken already");
});

Deno.test("two devices with one id are refused", () => {
  refusesHere(`${DRIVE} -device scsi-hd,id=lsi0,drive=d0`, "-device scsi-hd,id=lsi0: its id is taken already");
});

Deno.test("a bus that does not exist is refused", () => {
  refusesHere(
    `${DRIVE} -device scsi-hd,drive=d0,bus=lsi1.0`,
    "-device scsi-hd: no SCSI bus has the name 'lsi1.0'; did you mean 'lsi0.0'?",
  );
});

Deno.test("a disk says which bus it is on where there are two", () => {
  refusesHere(
    `-device lsi53c895a,id=b -object remote-object,id=o,devid=b,fd=6 ${DRIVE} -device scsi-hd,drive=d0`,
    "-device scsi-hd: which bus? expected bus=lsi0.0 or bus=b.0",
  );
});

Deno.test("a disk without an adapter is refused", () => {
  refuses(
    `-machine remote ${DRIVE} -device scsi-hd,drive=d0`,
    "-device scsi-hd: there is no SCSI bus; expected -device lsi53c895a,id=<id>",
  );
});

Deno.test("aio=native needs a cache mode that bypasses the host's cache", () => {
  refusesHere(
    "-drive id=d0,file=a,aio=native -device scsi-hd,drive=d0",
    "-drive id=d0: aio=native needs cache=none or cache=directsync, not cache=writeback",
  );
});

Deno.test("zeroes give space back only where discards do", () => {
  refusesHere(
    "-drive id=d0,file=a,detect-zeroes=unmap -device scsi-hd,drive=d0",
    "-drive id=d0: detect-zeroes=unmap needs discard=unmap, not discard=ignore",
  );
});

Deno.test("a drive without a format has none: it is told from the image", () => {
  assertEquals(disks("-drive id=d0,file=a -device scsi-hd,drive=d0")[0].drive.format, undefined);
});

Deno.test("parts of a cache mode can be given by name", () => {
  const cache = (options: string) => disks(`-drive id=d0,file=a,${options} -device scsi-hd,drive=d0`)[0].drive.cache;
  assertEquals(cache("cache.direct=on"), "none");
  assertEquals(cache("cache.writeback=off"), "writethrough");
  assertEquals(cache("cache.direct=on,cache.writeback=off"), "directsync");
  assertEquals(cache("cache=directsync,cache.writeback=on"), "none");
  assertEquals(cache("cache.no-flush=on"), "unsafe");
  assertEquals(cache("cache=unsafe,cache.no-flush=off"), "writeback");
});

Deno.test("parts that make up no cache mode are refused", () => {
  refusesHere(
    "-drive id=d0,file=a,cache=none,cache.no-flush=on -device scsi-hd,drive=d0",
    "-drive id=d0: cache.direct=on,cache.writeback=on,cache.no-flush=on is none of the cache modes " +
      "writeback, none, writethrough, directsync, unsafe",
  );
});

Deno.test("-snapshot is for the drives that do not say otherwise", () => {
  const both = "-snapshot -drive id=d0,file=a -drive id=d1,file=b,snapshot=off " +
    "-device scsi-hd,drive=d0 -device scsi-hd,drive=d1";
  assertEquals(disks(both).map(({ drive }) => drive.snapshot), [true, false]);
});

Deno.test("a disk does about errors what it says, or else what its drive says", () => {
  const errors = (drive: string, disk: string) => {
    const [{ readErrors, writeErrors }] = disks(`-drive id=d0,file=a${drive} -device scsi-hd,drive=d0${disk}`);
    return [readErrors, writeErrors];
  };
  assertEquals(errors("", ""), ["report", "enospc"]);
  assertEquals(errors(",rerror=stop,werror=stop", ""), ["stop", "stop"]);
  assertEquals(errors(",rerror=stop,werror=stop", ",rerror=auto,werror=report"), ["stop", "report"]);
  assertEquals(errors("", ",rerror=ignore,werror=ignore"), ["ignore", "ignore"]);
});

Deno.test("a read does not fail for want of space", () => {
  refusesHere(
    "-drive id=d0,file=a,rerror=enospc",
    "-drive id=d0: rerror='enospc' is not accepted; expected report, ignore or stop",
  );
});

Deno.test("image formats and interfaces that are not served are refused", () => {
  refusesHere("-drive id=d0,file=a,format=vmdk", "-drive id=d0: format='vmdk' is not accepted; expected raw or qcow2");
  refusesHere("-drive id=d0,file=a,if=ide", "-drive id=d0: if='ide' is not accepted; expected none");
});

Deno.test("a device process has something to serve", () => {
  refuses("-machine remote", "-machine remote: there is nothing to serve; expected -device and -object remote-object");
});

Deno.test("a controller that no object serves is refused", () => {
  refuses(
    `-machine remote ${LSI}`,
    "-device lsi53c895a,id=lsi0: no object serves it; expected -object remote-object,id=<id>,devid=lsi0,fd=<fd>",
  );
});

Deno.test("an object for a device that does not exist, or that another one serves, is refused", () => {
  refusesHere(
    "-object remote-object,id=o,devid=lsi1,fd=6",
    "-object remote-object,id=o: no PCI device has the id 'lsi1'; did you mean 'lsi0'?",
  );
  refusesHere(
    "-object remote-object,id=o,devid=lsi0,fd=6",
    "-object remote-object,id=o: device 'lsi0' is served by another object already",
  );
});

Deno.test("two objects with one id, or with one descriptor, are refused", () => {
  const second = "-device lsi53c895a,id=b -object remote-object,devid=b";
  refusesHere(`${second},id=robj0,fd=6`, "-object remote-object,id=robj0: its id is taken already");
  refusesHere(
    `${second},id=o,fd=5`,
    "-object remote-object,id=o: fd=5 belongs to -object remote-object,id=robj0 already",
  );
});

Deno.test("the VMM places the device, not the device process", () => {
  refuses(
    `-machine remote ${LSI},addr=5 ${OBJECT}`,
    "-device lsi53c895a,id=lsi0: 'addr' is not supported: the VMM chooses the device's slot",
  );
});

const asciiText = (longest: number) =>
  fc.array(fc.integer({ min: 0x20, max: 0x7e }), { minLength: 1, maxLength: longest })
    .map((codes) => String.fromCharCode(...codes));
const anyDrive = (id: string): fc.Arbitrary<DriveConfig> =>
  fc.record({
    detectZeroes: fc.constantFrom("off" as const, "on" as const, "unmap" as const),
    id: fc.constant(id),
    file: fc.string({ unit: "binary", minLength: 1 }).filter((file) => !file.includes("\0")),
    format: fc.constantFrom("raw" as const, "qcow2" as const, undefined),
    readOnly: fc.boolean(),
    snapshot: fc.boolean(),
    cache: fc.constantFrom("none" as const, "directsync" as const),
    discard: fc.boolean(),
    aio: fc.constantFrom("threads" as const, "native" as const, "io_uring" as const, undefined),
  }).filter(({ discard, detectZeroes }) => discard || detectZeroes !== "unmap");
const anyDisk = (scsiId: number): fc.Arbitrary<ScsiDiskConfig> =>
  fc.record({
    id: fc.constantFrom(undefined, `hd${scsiId}`),
    drive: anyDrive(`d${scsiId}`),
    scsiId: fc.constant(scsiId),
    lun: fc.nat(7),
    serial: fc.option(asciiText(36), { nil: undefined }),
    vendor: asciiText(8),
    product: asciiText(16),
    version: asciiText(4),
    wwn: fc.option(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { nil: undefined }),
    logicalBlockSize: fc.constantFrom(512, 4096),
    physicalBlockSize: fc.constantFrom(4096, 32768),
    readErrors: fc.constantFrom("report" as const, "ignore" as const, "stop" as const),
    writeErrors: fc.constantFrom("report" as const, "ignore" as const, "stop" as const, "enospc" as const),
  });

Deno.test("a device process that a VMM starts reads its own configuration back", () => {
  const anyDisks = fc.subarray([0, 3, 6, 8, 15]).chain((ids) => fc.tuple(...ids.map(anyDisk)));
  fc.assert(fc.property(anyDisks, fc.integer({ min: 3, max: 1000 }), (disks, fd) => {
    const device: ControllerConfig = { driver: "lsi53c895a", id: "lsi53c895a-0", disks };
    const monitor = { id: "control", transport: { kind: "fd" as const, fd: fd + 1 }, pretty: false };
    const command = parseCommandLine(deviceProcessArguments(device, { link: fd, control: fd + 1 }));
    assertEquals(command, {
      kind: "remote",
      config: {
        name: undefined,
        exitWithParent: true,
        ready: undefined,
        startError: "stderr",
        sandbox: false,
        files: [],
        objects: [{ id: "remote0", fd, device, accelerated: true }],
        monitors: [monitor],
      },
    });
  }));
});

Deno.test("a device process in a jail reads back which descriptor is which file", () => {
  const device: ControllerConfig = { driver: "lsi53c895a", id: "lsi0", disks: [] };
  const path = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => !text.includes("\0"));
  fc.assert(fc.property(fc.array(path, { maxLength: 9 }), (paths) => {
    const files = paths.map((path, i) => ({ path, fd: 4 + i }));
    const command = parseCommandLine(deviceProcessArguments(device, { link: 3 }, { jailed: { files } }));
    assert(command.kind === "remote");
    const { sandbox, files: read } = (command as { config: RemoteConfig }).config;
    assertEquals([sandbox, read], [true, files]);
  }));
});
