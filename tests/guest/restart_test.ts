/** A device process that is lost is started again (`restart=`): its guest sees the SCSI bus reset, and goes on. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import scripts from "../../guests/demo/scripts.asm" with { type: "text" };
import { lockImage } from "../../src/block/image_lock.ts";
import { closeFd, openFile, OpenFlags } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { childrenOf, commandLineOf, signalProcess } from "../support/process_tree.ts";
import { QmpClient, type QmpMessage } from "../support/qmp_client.ts";
import type { Program, Stage } from "../support/stage.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import restart from "./asm/restart.asm" with { type: "text" };
import { localDisk, startGuest, testOnKvm } from "./guests.ts";

const BACK = /^splitvm: device lsi0 is back after \d+ ms$/gm;

/** A machine whose device process is lost again and again. */
class Machine {
  readonly vmm: Program;
  readonly qmp: QmpClient;
  readonly #stage: Stage;

  /** @param disk Options for the disk. */
  constructor(stage: Stage, properties: string, source = restart, disk: readonly string[] = localDisk(stage)) {
    const path = `${stage.directory}/qmp.sock`;
    const words = disk.map((word) => word.replace("id=lsi0", `id=lsi0,${properties}`));
    const options = [...words, "-qmp", `unix:${path},server=on,wait=off`];
    this.#stage = stage;
    this.vmm = startGuest(stage, source, { files: { "scripts.asm": scripts }, options });
    this.qmp = new QmpClient(path);
  }

  /** The device process, `undefined` while there is none. */
  get device(): number | undefined {
    return this.deviceOf("lsi0");
  }

  deviceOf(id: string): number | undefined {
    return childrenOf(this.vmm.pid).find((pid) => commandLineOf(pid).includes(`devid=${id}`));
  }

  /** What starts device processes. */
  get spawner(): number | undefined {
    return childrenOf(this.vmm.pid).find((pid) => commandLineOf(pid).includes("spawner"));
  }

  /** How often the device has come back. */
  get restarts(): number {
    return [...this.vmm.errors.matchAll(BACK)].length;
  }

  /** Kills the device process. */
  kill(signal: number = Signal.KILL): void {
    signalProcess(this.device!, signal);
  }

  /** Kills the device process, and waits for the next one. */
  replace(): void {
    const before = this.restarts;
    this.kill();
    this.awaitRestarts(before + 1);
  }

  awaitRestarts(count: number): void {
    this.#stage.runUntil(() => this.restarts >= count, `restart ${count}`);
  }

  /** Lets the guest write and read for a while. */
  work(): void {
    for (let i = 0; i < 3; i++) this.vmm.waitFor("round ");
  }

  /** Ends the machine, whatever its guest does. */
  quit(): void {
    this.qmp.call("quit");
    assertEquals(this.vmm.wait(), { code: 0 });
    this.qmp.close();
  }

  /** Ends the guest, which checks its disk. @returns how many bus resets it has seen. */
  finish(): number {
    this.vmm.send("x");
    this.vmm.waitFor("all is there after ");
    const resets = Number(this.vmm.waitFor(" bus resets\r\n"));
    assertEquals(this.vmm.wait(), { code: 0 });
    this.qmp.close();
    return resets;
  }
}

for (const properties of ["restart=8", "restart=8,accel=off", "restart=8,sandbox=off"]) {
  testOnKvm(
    `a guest goes on after each of eight deaths of its device process, its disk as it should be (${properties})`,
    (stage) => {
      const machine = new Machine(stage, properties);
      machine.work();
      for (let i = 0; i < 8; i++) {
        machine.replace();
        machine.work();
      }
      assertEquals(machine.finish(), 8);
      assertEquals(machine.vmm.errors.split("\n").length - 1, 16, machine.vmm.errors);
    },
  );
}

/** A disk on a new qcow2 image. */
function qcow2Disk(stage: Stage, image: string): string[] {
  const create = [...selfCommand(), "img", "create", "-q", "-f", "qcow2", image, "1M"];
  assertEquals(stage.start({ name: "img", command: create }).wait(), { code: 0 });
  return localDisk(stage).map((word) => word.replace(/file=.*,format=raw/, `file=${image}`));
}

testOnKvm(
  "what a guest has written to a qcow2 image, and has not flushed, outlives the process that wrote it",
  (stage) => {
    const machine = new Machine(stage, "restart=3", restart, qcow2Disk(stage, `${stage.directory}/disk.qcow2`));
    for (let i = 0; i < 3; i++) {
      machine.work();
      machine.replace();
    }
    assertEquals(machine.finish(), 3);
  },
);

testOnKvm("a VMM that is killed while a device process is being replaced leaves no process", (stage) => {
  for (const pause of [0, 10, 30, 60, 100]) {
    const machine = new Machine(stage, "restart=on", idle);
    machine.vmm.waitFor("waiting\r\n");
    machine.kill();
    const end = performance.now() + pause;
    stage.runUntil(() => performance.now() >= end, "a moment");
    machine.vmm.signal(Signal.KILL);
    assertEquals(machine.vmm.wait(), { signal: Signal.KILL });
    machine.qmp.close();
  }
});

testOnKvm("QMP's clients hear that a device process was started again, and what it serves", (stage) => {
  const machine = new Machine(stage, "restart=1");
  machine.work();
  machine.replace();
  const { action } = machine.qmp.waitFor("DEVICE_PROCESS_FAILED")!;
  assertEquals(action, "restart");
  const { device, restarts, downtime } = machine.qmp.waitFor("DEVICE_PROCESS_RESTARTED")!;
  assertEquals([device, restarts], ["lsi0", 1]);
  assert(Number.isInteger(downtime) && downtime >= 0);
  const [process] = machine.qmp.call("query-device-processes") as QmpMessage[];
  assertEquals([process.state, process.restart, process.restarts, process.pid], ["running", 1, 1, machine.device]);
  assertEquals(machine.qmp.call("query-block")[0].inserted.image["virtual-size"], 1 << 20);
  assertEquals(machine.finish(), 1);
});

testOnKvm("a guest that has not set up its device is not bothered", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  machine.replace();
  machine.vmm.send("x");
  machine.vmm.waitFor("ready\r\n");
  machine.quit();
});

testOnKvm("a device process that is lost once more than restart= allows is not started again", (stage) => {
  const machine = new Machine(stage, "restart=2", idle);
  machine.vmm.waitFor("waiting\r\n");
  machine.replace();
  machine.replace();
  machine.kill();
  machine.vmm.waitForError(
    "device lsi0 is not started again: it has been started again 2 times, which is all that restart= allows\n",
  );
  machine.quit();
});

for (const signal of [Signal.KILL, Signal.STOP]) {
  testOnKvm(`a device process that is gone for good, after signal ${signal}, is no process any more`, (stage) => {
    const machine = new Machine(stage, "deadline=500", idle);
    machine.vmm.waitFor("waiting\r\n");
    const first = machine.device!;
    assertEquals(machine.qmp.call("query-device-processes")[0].pid, first);
    machine.kill(signal);
    machine.qmp.waitFor("DEVICE_PROCESS_FAILED");
    const { state, pid, sandboxed } = machine.qmp.call("query-device-processes")[0];
    assertEquals([state, pid, sandboxed], ["failed", undefined, true]);
    stage.runUntil(() => !childrenOf(machine.vmm.pid).includes(first), "its zombie to be reaped");
    machine.quit();
  });
}

testOnKvm("a device process that fails at once again and again is given up", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  for (let i = 0; i < 4; i++) machine.replace();
  machine.kill();
  machine.vmm.waitForError(
    "device lsi0 is not started again: it has failed 5 times in a row within 10 s of its start\n",
  );
  machine.quit();
});

testOnKvm("a device process is replaced while the machine stands still, and works when that goes on", (stage) => {
  const machine = new Machine(stage, "restart=3");
  machine.work();
  machine.qmp.call("stop");
  machine.replace();
  assertEquals(machine.qmp.status, "paused");
  machine.replace();
  machine.qmp.call("cont");
  machine.work();
  const resets = machine.finish();
  assert(resets === 1 || resets === 2, `${resets} bus resets`);
});

testOnKvm("the machine is reset while its device process is being replaced", (stage) => {
  const machine = new Machine(stage, "restart=3");
  for (let i = 0; i < 3; i++) {
    machine.work();
    machine.kill();
    machine.vmm.waitForError(new RegExp(`(is gone[^]*){${i + 1}}`));
    machine.qmp.call("system_reset");
    machine.awaitRestarts(i + 1);
  }
  machine.work();
  machine.finish();
});

testOnKvm("the machine ends while its device process is being replaced, and leaves no process", (stage) => {
  for (const pause of [0, 20, 100, 200]) {
    const machine = new Machine(stage, "restart=on", idle);
    machine.vmm.waitFor("waiting\r\n");
    machine.kill();
    const end = performance.now() + pause;
    stage.runUntil(() => performance.now() >= end, "a moment");
    machine.quit();
  }
});

testOnKvm("a device process that dies before it serves is followed by another", (stage) => {
  const machine = new Machine(stage, "restart=5");
  machine.work();
  const first = machine.device;
  machine.kill();
  let next: number | undefined;
  stage.runUntil(() => (next = machine.device) !== undefined && next !== first, "the next process");
  signalProcess(next!, Signal.KILL);
  machine.awaitRestarts(1);
  machine.work();
  assertEquals(machine.finish(), 1);
  assertMatch(machine.vmm.errors, /lsi0: its process could not be started again: its process was killed by signal 9\n/);
});

testOnKvm("a device process that hangs before it serves is ended, and followed by another", (stage) => {
  const machine = new Machine(stage, "restart=5");
  machine.work();
  const first = machine.device;
  machine.kill();
  let next: number | undefined;
  stage.runUntil(() => (next = machine.device) !== undefined && next !== first, "the next process");
  signalProcess(next!, Signal.STOP);
  machine.vmm.waitForError("device lsi0: its process could not be started again: the new process does not answer\n");
  machine.awaitRestarts(1);
  machine.work();
  assertEquals(machine.finish(), 1);
});

testOnKvm("a device whose image somebody else has locked does not keep another one from coming back", (stage) => {
  const other = `${stage.directory}/other.img`;
  Deno.writeFileSync(other, new Uint8Array(1 << 20));
  const machine = new Machine(stage, "restart=on", idle, [
    ...localDisk(stage),
    ...["-drive", `id=d1,file=${other},format=raw,if=none`, "-device", "lsi53c895a,id=lsi1,addr=2,restart=on"],
    ...["-device", "scsi-hd,drive=d1,bus=lsi1.0,scsi-id=0"],
  ]);
  machine.vmm.waitFor("waiting\r\n");
  const fd = openFile(`${stage.directory}/disk.img`, OpenFlags.O_RDWR);
  try {
    const { spawner } = machine;
    signalProcess(spawner!, Signal.STOP);
    machine.kill();
    stage.runUntil(() => lockImage(fd, "write"), "the image to be free");
    signalProcess(spawner!, Signal.CONT);
    signalProcess(machine.deviceOf("lsi1")!, Signal.KILL);
    machine.vmm.waitForError(/device lsi1 is back after/);
    assertEquals(machine.restarts, 0);
  } finally {
    closeFd(fd);
  }
  machine.awaitRestarts(1);
  machine.quit();
});

testOnKvm("without what starts device processes, a device stays gone, and the machine goes on", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  const spawner = machine.spawner!;
  signalProcess(spawner, Signal.KILL);
  machine.vmm.waitForError(
    "what starts device processes has ended: device processes that are lost are not started again from now on\n",
  );
  stage.runUntil(() => machine.spawner === undefined, "its end to be taken note of");
  assertEquals(machine.qmp.call("query-device-processes")[0].restart, "off");
  machine.kill();
  machine.vmm.waitForError("device lsi0 is not started again: what starts device processes has ended\n");
  machine.vmm.send("x");
  machine.vmm.waitFor("ready\r\n");
  machine.quit();
});

testOnKvm("a device process that hangs is ended, and replaced", (stage) => {
  const machine = new Machine(stage, "restart=1,deadline=1000");
  machine.work();
  machine.kill(Signal.STOP);
  machine.awaitRestarts(1);
  machine.work();
  assertEquals(machine.finish(), 1);
});

testOnKvm("the machine ends as ever when what starts device processes hangs, asked for one", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  signalProcess(machine.spawner!, Signal.STOP);
  machine.kill();
  machine.vmm.waitForError(/is gone/);
  machine.quit();
});

testOnKvm(
  "a device whose image is away for a while comes back with it, however many starts come to nothing",
  (stage) => {
    const machine = new Machine(stage, "restart=1", idle);
    machine.vmm.waitFor("waiting\r\n");
    const image = `${stage.directory}/disk.img`;
    Deno.renameSync(image, `${image}.away`);
    machine.kill();
    machine.vmm.waitForError("device lsi0: its process could not be started again: drive d0: Cannot open ");
    const end = performance.now() + 2_000;
    stage.runUntil(() => performance.now() >= end, "some starts");
    const { state, pid } = machine.qmp.call("query-device-processes")[0];
    assertEquals([state, pid], ["restarting", undefined]);
    Deno.renameSync(`${image}.away`, image);
    machine.awaitRestarts(1);
    assertEquals(machine.vmm.errors.match(/could not be started again/g)?.length, 1, machine.vmm.errors);
    assertEquals(machine.qmp.call("query-device-processes")[0].restarts, 1);
    machine.quit();
  },
);

for (const sandbox of ["on", "off"]) {
  testOnKvm(
    `a disk that is another one by now, or has become smaller, is not taken for the guest's (sandbox=${sandbox})`,
    (stage) => {
      const machine = new Machine(stage, `restart=2,sandbox=${sandbox}`, idle);
      machine.vmm.waitFor("waiting\r\n");
      const image = `${stage.directory}/disk.img`;
      Deno.renameSync(image, `${image}.away`);
      Deno.writeFileSync(image, new Uint8Array(1 << 20));
      machine.kill();
      const problem = "device lsi0: its process could not be started again: ";
      machine.vmm.waitForError(`${problem}${image} is another file than when the machine was started\n`);
      assertEquals(machine.qmp.call("query-device-processes")[0].state, "restarting");
      Deno.renameSync(`${image}.away`, image);
      machine.awaitRestarts(1);
      Deno.truncateSync(image, 1 << 19);
      machine.kill();
      const smaller = "has a disk of 524288 bytes, and had 1048576 when the machine was started";
      machine.vmm.waitForError(`${problem}${image} ${smaller}\n`);
      Deno.truncateSync(image, 1 << 21);
      machine.awaitRestarts(2);
      assertEquals(machine.vmm.errors.match(/could not be started again/g)?.length, 2, machine.vmm.errors);
      machine.quit();
    },
  );

  testOnKvm(
    `a device process that cannot start says why, once, and serves when that is mended (sandbox=${sandbox})`,
    (stage) => {
      const image = `${stage.directory}/disk.qcow2`;
      const machine = new Machine(stage, `restart=1,sandbox=${sandbox}`, idle, qcow2Disk(stage, image));
      machine.vmm.waitFor("waiting\r\n");
      const version = setVersion(image, 9);
      machine.kill();
      const why =
        /lsi0: its process could not be started again: its process exited with status 1: drive d0: .* version 9/;
      machine.vmm.waitForError(why);
      const end = performance.now() + 2_000;
      stage.runUntil(() => performance.now() >= end, "some starts");
      setVersion(image, version);
      machine.awaitRestarts(1);
      assertEquals(machine.vmm.errors.split("\n").length - 1, 3, machine.vmm.errors);
      machine.quit();
    },
  );
}

/** Writes the last byte of a qcow2 image's version. @returns what it was. */
function setVersion(image: string, version: number): number {
  using file = Deno.openSync(image, { read: true, write: true });
  const byte = new Uint8Array(1);
  file.seekSync(7, Deno.SeekMode.Start);
  file.readSync(byte);
  file.seekSync(7, Deno.SeekMode.Start);
  file.writeSync(Uint8Array.of(version));
  return byte[0];
}

testOnKvm("a file that is made when the image is gone is another one, though it may have its inode", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  const image = `${stage.directory}/disk.img`;
  Deno.removeSync(image);
  machine.kill();
  machine.vmm.waitForError(/could not be started again: drive d0: Cannot open .*: there is no such file/);
  Deno.writeFileSync(image, new Uint8Array(1 << 20));
  machine.vmm.waitForError(`could not be started again: ${image} is another file than when the machine was started\n`);
  machine.quit();
});

testOnKvm("a device that is given up while its process is being replaced is told of once more", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  const spawner = machine.spawner!;
  signalProcess(spawner, Signal.STOP);
  machine.kill();
  assertEquals(machine.qmp.waitFor("DEVICE_PROCESS_FAILED")!.action, "restart");
  signalProcess(spawner, Signal.KILL);
  const { device, reason, detail, action } = machine.qmp.waitFor("DEVICE_PROCESS_FAILED")!;
  const why = "not started again: what starts device processes has ended";
  assertEquals([device, reason, detail, action], ["lsi0", "died", `it is ${why}`, "none"]);
  machine.vmm.waitForError(`device lsi0 is ${why}\n`);
  assert(!machine.vmm.errors.includes("could not be started again"), machine.vmm.errors);
  assertEquals(machine.qmp.call("query-device-processes")[0].state, "failed");
  machine.quit();
});

testOnKvm("what starts device processes is ended when it hangs, within the device's deadline", (stage) => {
  const machine = new Machine(stage, "restart=on", idle);
  machine.vmm.waitFor("waiting\r\n");
  signalProcess(machine.spawner!, Signal.STOP);
  machine.kill();
  machine.vmm.waitForError(
    "what starts device processes does not answer, and was ended: " +
      "device processes that are lost are not started again from now on\n",
  );
  machine.vmm.waitForError("device lsi0 is not started again: what starts device processes has ended\n");
  assertEquals(machine.qmp.call("query-device-processes")[0].state, "failed");
  machine.quit();
});
