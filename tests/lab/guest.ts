/**
 * The guest of the lab's scenarios: a Debian kernel with an initramfs that carries out steps and switches itself off.
 *
 * @module
 */
import { join } from "@std/path";
import { GuestConsole } from "./guest_console.ts";
import { buildGuestInitramfs } from "./guest_initramfs.ts";
import { type Halves, machineCommand } from "./halves.ts";
import { makeKernelDisk } from "./kernel_disk.ts";
import { keepFolder, type Lab, LabFailure, runFolder } from "./lab.ts";

/** What a guest is to do, and on what machine. */
export interface GuestRun {
  /** Names the run's folder, `dist/lab/runs/NAME`. */
  readonly name: string;
  /** Shell scripts that the guest runs with `set -e` one after another, whether or not those before succeed; by what they show. */
  readonly steps: Readonly<Record<string, string>>;
  /** Whose halves the machine is made of. @default {"splitvm"} */
  readonly halves?: Halves;
  /** The build of Debian's kernel. The cloud kernel has no driver for the LSI controller. @default {"generic"} */
  readonly kernel?: "generic" | "cloud";
  /** The file to boot. The ELF file does so by PVH, and need not unpack itself. @default {"vmlinux"} */
  readonly image?: "bzImage" | "vmlinux";
  /** Whether firmware and GRUB load the bzImage from the LSI disk, which holds nothing else then. @default {false} */
  readonly firmware?: boolean;
  /** Modules that the guest loads, with what they depend on; those that its kernel lacks are left out. @default {DISK_MODULES} */
  readonly modules?: readonly string[];
  /** Paths of this host's programs that the guest is to have in `/sbin`, with their libraries. @default {[]} */
  readonly programs?: readonly string[];
  /** Paths of libraries that these need and this host need not have installed. @default {[]} */
  readonly libraries?: readonly string[];
  /** Makes the image of the LSI disk, a file of this host. Without it, the machine has no device at all. */
  readonly disk?: (path: string) => Promise<void>;
  /** Format of that image. @default {"raw"} */
  readonly format?: "raw" | "qcow2";
  /** More words of the kernel's command line. @default {""} */
  readonly append?: string;
  /** More properties of the LSI controller. @default {""} */
  readonly adapter?: string;
  /** Commands that run in the lab beside the VMM, whose console and standard error are `/lab/console.log` and `/lab/stderr.log` there. */
  readonly beside?: string;
  /** More words of the VMM's command line. @default {[]} */
  readonly options?: readonly string[];
  /** Plays the person at the console while the guest runs. */
  readonly dialogue?: (console: GuestConsole) => Promise<void>;
  /** Seconds until the virtual machine is killed: it hangs then. @default {400} */
  readonly timeout?: number;
}

/** Default of {@linkcode GuestRun.timeout}. */
const PATIENCE = 400;

/** What timeout(1) ends with when it has killed its command. */
const KILLED = 124;

/** The LSI controller and its disks. */
export const DISK_MODULES = ["sym53c8xx", "sd_mod"];
/** Where the disk's image is inside the lab. */
const DISK = "/scratch/disk";

/** A step that the guest has come to. */
export interface StepResult {
  readonly name: string;
  /** Exit status; undefined when the guest did not come to its end. */
  readonly status: number | undefined;
  /** What it wrote to the console, with `\n` for line ends. */
  readonly output: string;
}

/** How it went. */
export interface GuestResult {
  readonly run: GuestRun;
  /** The VMM's exit status; 124 when it was killed for taking too long. */
  readonly status: number;
  /** All that the guest wrote to its serial port, with `\n` for line ends. */
  readonly console: string;
  /** What the VMM and its device process wrote to standard error. */
  readonly stderr: string;
  /** The disk's image file afterwards. */
  readonly disk: string;
  /** In the order in which they began; a guest that reboots comes to them again. */
  readonly steps: readonly StepResult[];
  /** Kernel messages of the level "warning" and worse. */
  readonly complaints: readonly string[];
  /** Where all this can be read. */
  readonly folder: string;
}

/**
 * How often a guest may be tried. Under QEMU's TCG now and then a vCPU does not hear of another one's interrupt: stock QEMU's guests with
 * several vCPUs have stopped in the lab as splitvm's do, and so has the lab's own kernel.
 */
const ATTEMPTS = 3;

/**
 * Runs a guest in the lab, with the executable that `deno task compile` has written: it starts much faster there than the source.
 *
 * It runs again, in a lab that has just booted, when the lab itself fails, or when it has several vCPUs and does not come to its end. Standard
 * error says so then. What a guest has come to its end with is never tried again.
 */
export async function runGuest(lab: Lab, run: GuestRun): Promise<GuestResult> {
  for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
    const result = await tryGuest(lab, run).catch(exceptLabFailure);
    if (result !== undefined && (!hasSeveralCpus(run) || cameToItsEnd(result))) return result;
    const kept = await keepFolder(run.name, attempt);
    console.error(`lab: ${run.name} stopped on the way, see ${kept}; it runs again`);
    await lab.stop();
  }
  return await tryGuest(lab, run);
}

function exceptLabFailure(error: unknown): undefined {
  if (!(error instanceof LabFailure)) throw error;
  console.error(error.message);
}

function hasSeveralCpus({ options = [] }: GuestRun): boolean {
  return options.includes("-smp");
}

/** What Linux says when a CPU of its own has not answered for long, in which it may find its way back. */
const STANDSTILL = /soft lockup|detected stalls|self-detected stall/;

/** Whether it was not killed, did not begin anew by itself, and never stood still. */
function cameToItsEnd({ run, status, steps, complaints }: GuestResult): boolean {
  return status !== KILLED && steps.length <= Object.keys(run.steps).length &&
    !complaints.some((text) => STANDSTILL.test(text));
}

async function tryGuest(lab: Lab, run: GuestRun): Promise<GuestResult> {
  const { name, disk, dialogue, timeout = PATIENCE } = run;
  const folder = await runFolder(name);
  await Deno.writeFile(join(folder, "initrd"), await buildGuestInitramfs(lab.parts, run));
  await disk?.(join(folder, "disk"));
  if (run.firmware === true) await makeBootDisk(lab, run, folder);
  for (const file of ["console.log", "stderr.log", "input"]) await Deno.writeFile(join(folder, file), new Uint8Array());
  const running = lab.run({ name, script: labScript(lab, run), timeout: timeout + 60 });
  if (dialogue !== undefined) await talk(folder, dialogue, running, timeout);
  const status = await running;
  const console = (await Deno.readTextFile(join(folder, "console.log"))).replaceAll("\r\n", "\n");
  const stderr = await Deno.readTextFile(join(folder, "stderr.log"));
  return {
    ...{ run, folder, status, console, stderr, disk: join(folder, "disk") },
    steps: readSteps(console, Object.keys(run.steps)),
    complaints: [...console.matchAll(/^guest: kernel (.*)/gm)].map(([, text]) => text),
  };
}

/** The kernel's command line. */
function kernelArguments({ append = "" }: GuestRun): string {
  return `console=ttyS0 quiet panic=-1 ${append}`.trim();
}

async function makeBootDisk(lab: Lab, run: GuestRun, folder: string): Promise<void> {
  const kernel = lab.parts[run.kernel ?? "generic"].bzImage;
  await makeKernelDisk(join(folder, "disk"), { kernel, initrd: join(folder, "initrd"), append: kernelArguments(run) });
}

/** Plays the dialogue until it or the guest ends. When it fails, so does the run, after its end. */
export async function talk(
  folder: string,
  dialogue: (console: GuestConsole) => Promise<void>,
  running: Promise<number>,
  timeout: number,
): Promise<void> {
  const console = new GuestConsole(folder, timeout);
  const following = console.follow(running);
  try {
    await dialogue(console);
  } catch (cause) {
    await Promise.all([running, following]);
    throw new Error(`The dialogue failed; the console's text is in ${folder}/console.log`, { cause });
  }
  await following;
}

/** A command of the lab that prints what a {@linkcode GuestConsole} types. Of changes through 9p there is no notification. */
export const TYPING = "tail ---disable-inotify -f -c +1 -s 0.2 /lab/input";

/** What the lab does for a guest. The image is in RAM while the guest uses it: writes to files of the host are slow there. */
function labScript(lab: Lab, run: GuestRun): string {
  const { format = "raw", dialogue, timeout = PATIENCE, halves = "splitvm", firmware = false, options = [] } = run;
  const { adapter, beside = ":" } = run;
  const hasDisk = firmware || run.disk !== undefined;
  const direct = {
    kernel: lab.parts[run.kernel ?? "generic"][run.image ?? "vmlinux"],
    initrd: "/lab/initrd",
    append: kernelArguments(run),
  };
  const command = machineCommand(halves, {
    direct: firmware ? undefined : direct,
    disk: hasDisk ? { file: DISK, format, adapter } : undefined,
    options,
  });
  return `
${hasDisk ? `cp /lab/disk ${DISK}` : ""}
mkfifo /scratch/input
${dialogue === undefined ? ":" : TYPING} > /scratch/input &
( ${beside} ) > /lab/beside.log 2>&1 &
beside=$!
timeout ${timeout} ${command} < /scratch/input > /lab/console.log 2> /lab/stderr.log
status=$?
kill $beside 2> /dev/null
${hasDisk ? `cp ${DISK} /lab/disk` : ""}
exit $status
`;
}

/** Finds what `guest_init.sh` says of each step. */
function readSteps(console: string, names: readonly string[]): StepResult[] {
  const pieces = console.split(/^guest: begin (\d+)\n/m).slice(1);
  const steps: StepResult[] = [];
  for (let i = 0; i + 1 < pieces.length; i += 2) {
    const [number, text] = [pieces[i], pieces[i + 1]];
    const end = new RegExp(`^guest: end ${number} (\\d+)$`, "m").exec(text);
    const status = end === null ? undefined : Number(end[1]);
    steps.push({ name: names[Number(number) - 1], status, output: text.slice(0, end?.index) });
  }
  return steps;
}
