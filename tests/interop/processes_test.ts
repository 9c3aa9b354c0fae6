/**
 * How the processes of a machine end, each by itself and with each other.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Signal } from "../../src/ffi/process.ts";
import { EXT4_DISK_NEEDS, makeExt4Disk } from "../support/grub_disk.ts";
import { type Build, BUILDS, diskArguments, startRemote, startVmm, startWholeMachine } from "../support/machines.ts";
import { childrenOf, commandLineOf, reapOrphan, signalProcess } from "../support/process_tree.ts";
import { built, KVM, SEABIOS, testNeeding } from "../support/requirements.ts";
import { GIVEN_FD, onStage, type Program, type Stage } from "../support/stage.ts";

/** What SeaBIOS says when it has read the disk and found no boot sector; it waits then, for a minute. */
const NOTHING_TO_BOOT = "No bootable device";

/** Starts a machine that runs on until it is ended. @returns the VMM and its device process. */
function startIdleMachine(stage: Stage, build: Build): { vmm: Program; deviceProcess: number } {
  const vmm = startWholeMachine(stage, build, makeEmptyDisk(stage));
  vmm.waitFor(NOTHING_TO_BOOT);
  const children = childrenOf(vmm.pid);
  assertEquals(children.length, 1, children.map(commandLineOf).join("\n"));
  assertMatch(commandLineOf(children[0]), / -machine remote /);
  return { vmm, deviceProcess: children[0] };
}

function makeEmptyDisk(stage: Stage): string {
  const image = `${stage.directory}/empty.img`;
  Deno.writeFileSync(image, new Uint8Array(1024 * 1024));
  return image;
}

/** One line on standard error, nothing else, and status 1. */
function assertRefused(program: Program, line: RegExp): void {
  assertEquals(program.wait(), { code: 1 });
  assertEquals(program.console, "");
  assertMatch(program.errors, line);
  assertEquals(program.errors.trimEnd().split("\n").length, 1, program.errors);
}

for (const build of BUILDS) {
  const test = (name: string, body: (stage: Stage) => void, needs = [KVM, SEABIOS]) =>
    testNeeding([...needs, built(build)], `${name} (${build.name})`, onStage(body));

  for (const [name, signal] of [["SIGTERM", Signal.TERM], ["SIGINT", Signal.INT]] as const) {
    test(`${name} ends the VMM with status 0, and its device process before it`, (stage) => {
      const { vmm, deviceProcess } = startIdleMachine(stage, build);
      vmm.signal(signal);
      assertEquals(vmm.wait(), { code: 0 });
      assertEquals(vmm.errors, "");
      assertEquals(commandLineOf(deviceProcess), "");
    });
  }

  test("A VMM that is killed takes its device process with it", (stage) => {
    const { vmm, deviceProcess } = startIdleMachine(stage, build);
    vmm.signal(Signal.KILL);
    assertEquals(vmm.wait(), { signal: Signal.KILL });
    assert(reapOrphan(deviceProcess), "the device process ran on without a VMM");
  });

  test("A VMM that is killed takes its device process with it, even one that is stopped", (stage) => {
    const { vmm, deviceProcess } = startIdleMachine(stage, build);
    signalProcess(deviceProcess, Signal.STOP);
    vmm.signal(Signal.KILL);
    assertEquals(vmm.wait(), { signal: Signal.KILL });
    assert(reapOrphan(deviceProcess), "the stopped device process is still there");
  });

  test("A device process ends in good order when its VMM is killed", (stage) => {
    const [near, far] = stage.link();
    const remote = startRemote(stage, build, makeEmptyDisk(stage), far);
    const vmm = startVmm(stage, build, near);
    stage.giveAway();
    vmm.waitFor(NOTHING_TO_BOOT);
    vmm.signal(Signal.KILL);
    assertEquals(remote.wait(), { code: 0 });
    assertEquals(remote.errors, "");
    assertEquals(vmm.wait(), { signal: Signal.KILL });
  });

  test("The guest runs on when its device process is killed, and finds nothing but ones", (stage) => {
    const configuration = "serial\nterminal_input serial\nterminal_output serial\n";
    const disk = makeExt4Disk(stage.directory, { "boot/grub/grub.cfg": configuration });
    const vmm = startWholeMachine(stage, build, disk);
    vmm.waitFor("grub>");
    childrenOf(vmm.pid).forEach((pid) => signalProcess(pid, Signal.KILL));
    vmm.send("cat (hd0)30000+1\r"); // a sector that GRUB has had no reason to read before
    vmm.waitFor("error:");
    vmm.waitForError("reads as all-ones from now on\n");
    vmm.waitFor("grub>");
    vmm.send("halt\r");
    assertEquals(vmm.wait(), { code: 0 });
    assertMatch(vmm.errors, /^splitvm: device lsi0 is gone: [^\n]*\n$/);
  }, [KVM, SEABIOS, ...EXT4_DISK_NEEDS]);

  test("A VMM whose fd= is not open says so in one line", (stage) => {
    const arguments_ = ["-device", "pci-proxy-dev,id=lsi0,fd=77"];
    assertRefused(stage.start({ name: "VMM", command: [...build.command, ...arguments_] }), /^splitvm: .*lsi0.*77/);
  });

  test("A device process whose fd= is not a socket says so in one line", (stage) => {
    const image = makeEmptyDisk(stage);
    const object = ["-object", `remote-object,id=r0,devid=lsi0,fd=${GIVEN_FD}`];
    const command = [...build.command, "-machine", "remote", ...diskArguments(image), ...object];
    const program = stage.start({ name: "device process", command });
    assertRefused(program, /^splitvm: .*r0.* 3 is not an open UNIX stream socket/);
  }, []);
}
