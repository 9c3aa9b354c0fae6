/**
 * A guest on KVM writes to its disk, and the processes of its machine are killed in the middle of it, again and again on the same image:
 * all of them, or the VMM alone, whose device process then ends by itself, or the device process alone, without which the guest goes on.
 * What the guest said to be on stable storage has to be there, and the image has to be one that QEMU finds no error in.
 *
 * `deno task test:crash` kills hundreds of times; as a part of `deno task test` it is a few times.
 */
import { assert, assertEquals } from "@std/assert";
import { checked } from "../../src/ffi/errno.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { type ExitStatus, Signal } from "../../src/ffi/process.ts";
import { syscalls } from "../../src/ffi/syscall.ts";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { GIVEN_DEVICE, guestCommand } from "../guest/guests.ts";
import { KVM, QEMU_IMG } from "../support/requirements.ts";
import { GIVEN_FD, onStage, type Program, type Stage } from "../support/stage.ts";
import { delay, happens, pick } from "./chance.ts";
import { examine, requireNoErrors, verify } from "./examination.ts";
import { checkBystanders, contentByQemu, type CrashImage, hasLeaks } from "./images.ts";
import type { Journal } from "./journal.ts";
import type { Killer } from "./killer.ts";
import { MACHINE_KILLS, MACHINE_KINDS } from "./kills.ts";
import { type Scene, testCrashes, type Victim } from "./torment.ts";
import {
  buildWriterKernel,
  lastFlushed,
  recordRun,
  WRITER_ALONE,
  WRITER_READY,
  type WriterRun,
} from "./writer_guest.ts";

/** The longest that a guest is left alone, in milliseconds. */
const LONGEST = 400;

/** What of a machine is killed. */
type Target =
  /** A VMM that started its device process itself, which is killed with it. */
  | "machine"
  /** VMM and device process, which were started one beside the other. */
  | "both"
  /** One of the two alone. */
  | "VMM"
  | "device process";

/** A machine's processes, which run. */
interface Machine {
  readonly vmm: Program;
  /** The device process, unless the VMM started it itself. */
  readonly device: Program | undefined;
}

/** The image's options, and how the host is to handle it. */
function driveOptions({ path, kind }: CrashImage): string[] {
  const cache = pick(["writeback", "none"]);
  const aio = pick(["", ",aio=threads", ",aio=io_uring"]);
  return [
    ...["-drive", `id=d0,if=none,file=${path},format=${kind.format},cache=${cache}${aio},discard=unmap`],
    ...["-device", "scsi-hd,drive=d0,bus=lsi0.0,scsi-id=0"],
  ];
}

function startMachine(stage: Stage, image: CrashImage, run: WriterRun, whole: boolean): Machine {
  const kernel = `${stage.directory}/writer.elf`;
  Deno.writeFileSync(kernel, buildWriterKernel(run));
  if (whole) {
    const command = guestCommand(kernel, ["-device", "lsi53c895a,id=lsi0,addr=1", ...driveOptions(image)]);
    return { vmm: stage.start({ name: "VMM", command }), device: undefined };
  }
  const [near, far] = stage.link();
  const adapter = ["-machine", "remote", "-device", "lsi53c895a,id=lsi0", ...driveOptions(image)];
  const object = ["-object", `remote-object,id=r0,devid=lsi0,fd=${GIVEN_FD}`];
  const device = stage.start({
    name: "device process",
    command: [...selfCommand(), ...adapter, ...object],
    given: far,
  });
  const vmm = stage.start({ name: "VMM", command: guestCommand(kernel, GIVEN_DEVICE), given: near });
  stage.giveAway();
  return { vmm, device };
}

/** Has programs killed after a while, in any order, and calls `until` meanwhile, which returns when they have ended. */
function killing(killer: Killer, programs: readonly Program[], most: number, until: () => void): void {
  const pidfds = programs.map(({ pid }) => checked(`pidfd_open(${pid})`, syscalls().pidfd_open(pid, 0)));
  try {
    killer.arm(happens(0.5) ? pidfds : pidfds.toReversed(), delay(most));
    until();
  } finally {
    killer.wait();
    pidfds.forEach(closeFd);
  }
}

function assertKilled(program: Program): void {
  assertEquals(program.wait(), { signal: Signal.KILL }, program.name);
}

/** A device process whose VMM has gone says so at most, when it was in the middle of an answer. */
function assertEndedByItself(device: Program): void {
  const status: ExitStatus = device.wait();
  assert("code" in status && (status.code === 0 || status.code === 1), device.report());
}

/** What of a machine is killed, as often as it stands here. */
const TARGETS: readonly Target[] = ["machine", "both", "machine", "both", "VMM", "both", "machine", "device process"];

/** An image whose machine is killed. */
class MachineImage implements Victim {
  readonly #image: CrashImage;
  readonly #folder: string;
  readonly #killer: Killer;
  readonly #journal: Journal;

  constructor({ image, folder, killer, journal }: Scene) {
    this.#image = image;
    this.#folder = folder;
    this.#killer = killer;
    this.#journal = journal;
  }

  kill(): void {
    this.#kill(pick(TARGETS));
  }

  /** Starts a machine, has its guest write, and kills what is to be killed. */
  #kill(target: Target): void {
    const atStart = (target === "machine" || target === "both") && happens(0.2);
    // A device process that ends by itself closes the image in good order.
    const setup = { whole: target === "machine", closes: target === "VMM" };
    this.#run(setup, ({ vmm, device }) => {
      if (!atStart) vmm.waitFor(WRITER_READY);
      const targets = { machine: [vmm], both: [vmm, device!], VMM: [vmm], "device process": [device!] }[target];
      killing(this.#killer, targets, LONGEST, () => targets.forEach(assertKilled));
      if (target === "VMM") assertEndedByItself(device!);
      if (target === "device process") {
        vmm.waitFor(WRITER_ALONE);
        assertEquals(vmm.wait(), { code: 0 });
      }
    });
  }

  end(): void {
    this.#run({ whole: true, closes: true }, ({ vmm }) => {
      vmm.waitFor(WRITER_READY);
      vmm.waitFor("flushed ");
      vmm.send("x");
      assertEquals(vmm.wait(), { code: 0 });
      assertEquals(vmm.errors, "");
    });
    requireNoErrors(this.#image);
    checkBystanders(this.#image, this.#folder);
  }

  /**
   * Runs a machine to its end, one way or another, and looks at what it left.
   *
   * @param whole Whether the VMM starts the device process.
   * @param closes Whether the device process closes the image, after which there may be no leaks that were not there before.
   */
  #run({ whole, closes }: { whole: boolean; closes: boolean }, body: (machine: Machine) => void): void {
    const { sectors, nextValue } = this.#journal;
    const run: WriterRun = { firstId: nextValue, seed: Math.floor(Math.random() * 2 ** 32), sectors };
    const leaked = hasLeaks(this.#image, this.#folder);
    let said = "";
    onStage((stage) => {
      const machine = startMachine(stage, this.#image, run, whole);
      body(machine);
      said = machine.vmm.console;
    })();
    if (closes && !leaked) assertEquals(hasLeaks(this.#image, this.#folder), false, "clusters have leaked");
    examine(this.#image);
    const content = contentByQemu(this.#image, this.#folder);
    recordRun(this.#journal, run, said, content);
    try {
      verify(content, this.#journal);
    } catch (cause) {
      throw new Error(`with the writes from ${run.firstId}, of which ${lastFlushed(said)} was flushed`, { cause });
    }
  }
}

testCrashes({
  killed: "its machine's processes",
  needs: [KVM, QEMU_IMG],
  kinds: MACHINE_KINDS,
  kills: MACHINE_KILLS,
  makeVictim: (scene) => new MachineImage(scene),
});
