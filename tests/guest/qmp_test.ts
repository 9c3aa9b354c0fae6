/** QMP with a real machine: run states, events, device processes, and errors of the host that stop it. */
import { assert, assertEquals } from "@std/assert";
import { buildDemoDisk, buildDemoKernel, DemoDisk, textOfSector } from "../../guests/demo/mod.ts";
import { Signal } from "../../src/ffi/process.ts";
import { childrenOf, signalProcess } from "../support/process_tree.ts";
import { QmpClient } from "../support/qmp_client.ts";
import { findProgram, KVM, program, type Requirement, testNeeding } from "../support/requirements.ts";
import { GIVEN_FD, onStage, type Stage } from "../support/stage.ts";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { testCounting } from "./counting_machine.ts";
import { GIVEN_DEVICE, guestCommand, localDisk } from "./guests.ts";

testCounting("a machine that is stopped stands still, and goes on where it was", (machine) => {
  const { qmp, vmm } = machine;
  machine.awaitCount();
  for (let i = 0; i < 3; i++) {
    qmp.call("stop");
    assertEquals(qmp.status, "paused");
    assert(machine.standsStill());
    qmp.call("cont");
    assertEquals(qmp.status, "running");
    machine.awaitCount();
  }
  qmp.call("quit");
  assertEquals(qmp.untilEnd(), ["STOP", "RESUME", "STOP", "RESUME", "STOP", "RESUME", "SHUTDOWN"]);
  assertEquals([vmm.wait(), vmm.errors], [{ code: 0 }, ""]);
}, () => ({ options: ["-smp", "2"] }));

const UUID = "00112233-4455-6677-8899-aabbccddeeff";

testCounting("a machine tells its name, its UUID and the size of its memory", ({ qmp, vmm }) => {
  assertEquals(qmp.call("query-name"), { name: "web1" });
  assertEquals(qmp.call("query-uuid"), { UUID });
  assertEquals(qmp.call("query-memory-size-summary"), { "base-memory": 16 << 20 });
  qmp.call("quit");
  assertEquals(vmm.wait(), { code: 0 });
}, () => ({ options: ["-S", "-name", "web1", "-uuid", UUID] }));

testCounting("a machine without a UUID has that of zeros", ({ qmp, vmm }) => {
  assertEquals(qmp.call("query-uuid"), { UUID: "00000000-0000-0000-0000-000000000000" });
  qmp.call("quit");
  assertEquals(vmm.wait(), { code: 0 });
}, () => ({ options: ["-S"] }));

testCounting("under -S a machine does not start until it is told to", (machine) => {
  const { qmp } = machine;
  assertEquals(qmp.status, "prelaunch");
  qmp.call("stop");
  assertEquals([qmp.status, machine.count], ["prelaunch", 0]);
  qmp.call("cont");
  machine.awaitCount();
  qmp.call("quit");
  assertEquals(qmp.untilEnd(), ["RESUME", "SHUTDOWN"]);
  assertEquals(machine.vmm.wait(), { code: 0 });
}, () => ({ options: ["-S"] }));

testCounting("a machine that is reset while it stands still does not run", (machine) => {
  const { qmp } = machine;
  machine.awaitCount();
  qmp.call("stop");
  qmp.call("system_reset");
  assertEquals(qmp.waitFor("RESET"), { guest: false, reason: "host-qmp-system-reset" });
  assertEquals([qmp.status, machine.standsStill()], ["prelaunch", true]);
  qmp.call("cont");
  machine.awaitCount();
  qmp.call("quit");
  assertEquals(machine.vmm.wait(), { code: 0 });
});

testCounting("a machine that stands still ends by SIGTERM, and says why", (machine) => {
  const { qmp, vmm } = machine;
  qmp.call("stop");
  vmm.signal(Signal.TERM);
  assertEquals(qmp.waitFor("SHUTDOWN"), { guest: false, reason: "host-signal" });
  assertEquals([vmm.wait(), vmm.errors], [{ code: 0 }, ""]);
});

testCounting("under -no-reboot a reset from outside ends the machine", (machine) => {
  machine.qmp.call("system_reset");
  assertEquals(machine.qmp.waitFor("SHUTDOWN"), { guest: false, reason: "host-qmp-system-reset" });
  assertEquals(machine.vmm.wait(), { code: 0 });
}, () => ({ options: ["-no-reboot"] }));

testCounting("clients come and go, and the machine runs on", (machine, stage) => {
  for (let i = 0; i < 3; i++) {
    machine.qmp.close();
    new QmpClient(`${stage.directory}/qmp.sock`).close();
  }
  machine.awaitCount();
  machine.vmm.signal(Signal.TERM);
  assertEquals(machine.vmm.wait(), { code: 0 });
  assertEquals([...Deno.readDirSync(stage.directory)].map(({ name }) => name).includes("qmp.sock"), false);
});

testCounting("a device process that dies while the machine stands still does not keep it from going on", (machine) => {
  const { qmp, vmm } = machine;
  const [drive] = qmp.call("query-block") as unknown as { inserted: unknown }[];
  assert(drive.inserted !== undefined);
  qmp.call("stop");
  const [device] = childrenOf(vmm.pid);
  signalProcess(device, Signal.KILL);
  qmp.call("cont");
  machine.awaitCount();
  const [left] = qmp.call("query-block") as unknown as Record<string, unknown>[];
  assertEquals([left.device, "inserted" in left], ["d0", false]);
  qmp.call("quit");
  assertEquals(vmm.wait(), { code: 0 });
}, (stage) => ({ options: localDisk(stage) }));

/** A file system with so much space, mounted for as long as the test takes. */
function withSmallFileSystem(stage: Stage, body: (directory: string) => void): void {
  const directory = `${stage.directory}/small`;
  Deno.mkdirSync(directory);
  const run = (name: string, ...args: string[]) => {
    const { success, stderr } = new Deno.Command(findProgram(name)!, { args }).outputSync();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
  };
  run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", directory);
  try {
    body(directory);
  } finally {
    run("umount", "-l", directory);
  }
}

/** Takes all the space that is left. */
function fill(path: string): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  try {
    for (;;) file.writeSync(new Uint8Array(4096));
  } catch {
    // there is no space left
  }
}

const ROOT: Requirement = {
  name: "the right to mount",
  remedy: "be root",
  isMet: () => new TextDecoder().decode(new Deno.Command("id", { args: ["-u"] }).outputSync().stdout) === "0\n",
};

/** A disk image for the demo guest on a file system that is full: where the guest writes, the image has a hole. */
class FullDisk {
  readonly image: string;
  readonly #ballast: string;

  constructor(directory: string) {
    this.image = `${directory}/disk.img`;
    this.#ballast = `${directory}/ballast`;
    Deno.writeFileSync(this.image, buildDemoDisk().subarray(0, 4096));
    Deno.truncateSync(this.image, DemoDisk.SECTORS * DemoDisk.SECTOR_SIZE);
    fill(this.#ballast);
  }

  makeRoom(): void {
    Deno.removeSync(this.#ballast);
  }

  /** What the guest has written. */
  get text(): string {
    return textOfSector(Deno.readFileSync(this.image), DemoDisk.WRITE_SECTOR);
  }

  /** Options for the adapter and the disk. */
  get options(): string[] {
    const drive = `id=d0,file=${this.image},format=raw,if=none`;
    return ["-drive", drive, "-device", "lsi53c895a,id=lsi0", "-device", "scsi-hd,drive=d0"];
  }
}

/** A test with a disk that is full, and a kernel that writes to it. */
function testFullDisk(name: string, body: (stage: Stage, disk: FullDisk, kernel: string) => void): void {
  testNeeding(
    [KVM, ROOT, program("mount", "mount")],
    name,
    onStage((stage) =>
      withSmallFileSystem(stage, (directory) => {
        const kernel = `${stage.directory}/demo.elf`;
        Deno.writeFileSync(kernel, buildDemoKernel());
        body(stage, new FullDisk(directory), kernel);
      })
    ),
  );
}

/** Waits for the error of a write that finds no space, and checks that a client can tell. */
function awaitNoSpace(qmp: QmpClient): void {
  const { reason, ...error } = qmp.waitFor("BLOCK_IO_ERROR")!;
  assertEquals(error, { device: "d0", operation: "write", action: "stop", nospace: true });
  assert(reason.includes("ENOSPC"), reason);
  qmp.waitFor("STOP");
  assertEquals(qmp.status, "io-error");
  const [{ "io-status": status }] = qmp.call("query-block") as unknown as Record<string, unknown>[];
  assertEquals(status, "nospace");
}

/** What the machine is started by, and what is to be on its standard error. */
for (
  const { where, by, said } of [
    { where: "", by: [], said: "drive d0: write failed" },
    { where: ", also when standard error is full", by: ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"], said: "" },
  ]
) {
  testFullDisk(
    `a write that finds no space stops the machine, and is carried out when there is some and it goes on${where}`,
    (stage, disk, kernel) => {
      const path = `${stage.directory}/qmp.sock`;
      const options = [...disk.options, "-qmp", `unix:${path},server=on,wait=off`, "-S"];
      const vmm = stage.start({ name: "VMM", command: [...by, ...guestCommand(kernel, options)] });
      const qmp = new QmpClient(path);
      try {
        qmp.call("cont");
        awaitNoSpace(qmp);
        if (said !== "") vmm.waitForError(said);
        // Without space, it fails again.
        qmp.call("cont");
        awaitNoSpace(qmp);
        disk.makeRoom();
        qmp.call("cont");
        vmm.waitFor("guest: done after ");
        assertEquals([vmm.wait(), disk.text], [{ code: 0 }, DemoDisk.MESSAGE]);
      } finally {
        qmp.close();
      }
    },
  );
}

testFullDisk(
  "a device process that somebody else started holds such a write until its own QMP server is told to go on",
  (stage, disk, kernel) => {
    const path = `${stage.directory}/device.sock`;
    const [near, far] = stage.link();
    const object = `remote-object,id=robj0,devid=lsi0,fd=${GIVEN_FD}`;
    const remote = [...selfCommand(), "-machine", "remote", ...disk.options, "-object", object];
    const command = [...remote, "-name", "disks", "-qmp", `unix:${path},server=on,wait=on`];
    const device = stage.start({ name: "device process", command, given: far });
    const qmp = new QmpClient(path);
    const vmm = stage.start({ name: "VMM", command: guestCommand(kernel, GIVEN_DEVICE), given: near });
    stage.giveAway();
    try {
      assertEquals([qmp.call("query-name"), qmp.status], [{ name: "disks" }, "running"]);
      awaitNoSpace(qmp);
      disk.makeRoom();
      qmp.call("cont");
      vmm.waitFor("guest: done after ");
      assertEquals([vmm.wait(), device.wait(), disk.text], [{ code: 0 }, { code: 0 }, DemoDisk.MESSAGE]);
    } finally {
      qmp.close();
    }
  },
);

testCounting("a device process ends in good order when it is told to, and the machine runs on", (machine, stage) => {
  machine.awaitCount();
  const device = new QmpClient(`${stage.directory}/device.sock`);
  device.call("quit");
  assertEquals(device.untilEnd(), ["SHUTDOWN"]);
  device.close();
  machine.awaitCount();
  machine.qmp.call("quit");
  assertEquals(machine.vmm.wait(), { code: 0 });
}, (stage) => {
  const [near, far] = stage.link();
  const disk = localDisk(stage).map((option) => option.replace(",addr=1", ""));
  const object = `remote-object,id=robj0,devid=lsi0,fd=${GIVEN_FD}`;
  const qmp = ["-qmp", `unix:${stage.directory}/device.sock,server=on,wait=off`];
  const command = [...selfCommand(), "-machine", "remote", ...disk, "-object", object, ...qmp];
  stage.start({ name: "device process", command, given: far });
  return { options: [...GIVEN_DEVICE], given: near };
});
