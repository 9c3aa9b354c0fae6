/**
 * The guest of the lab's scenarios: a Debian kernel with an initramfs that carries out one scenario and switches itself off.
 *
 * @module
 */
import { basename } from "@std/path";
import { mustRun } from "./command.ts";
import { buildInitramfs } from "./initramfs.ts";
import { resolveModules } from "./kernel.ts";
import { type Lab, runFolder, runInLab } from "./lab.ts";

/** Modules for the LSI controller, its disks, and file systems on them. */
const GUEST_MODULES = ["sym53c8xx", "sd_mod", "crc32c_generic", "ext4"];

/** Programs of this host that guests run; the lab's own ones come on top. */
const GUEST_PROGRAMS = ["/sbin/mke2fs", "/sbin/e2fsck"];

/** What a guest is to do, and on what machine. */
export interface GuestRun {
  /** Names the run's folder in `dist/lab/runs`. */
  readonly name: string;
  /** @default {"bzImage"} */
  readonly kernel?: "bzImage" | "vmlinux";
  /** A shell script that the guest runs with `set -e`. */
  readonly scenario: string;
  /** What the LSI disk holds at first. */
  readonly disk: Uint8Array<ArrayBuffer>;
  /** More words of the kernel's command line. @default {""} */
  readonly append?: string;
  /** More words of splitvm's command line. @default {[]} */
  readonly options?: readonly string[];
  /** What is typed on the console once the guest has said `guest: ready`. @default {""} */
  readonly input?: string;
  /** Seconds until the virtual machine is killed. @default {120} */
  readonly timeout?: number;
}

/** How it went. */
export interface GuestResult {
  /** splitvm's exit status; 124 when it was killed for taking too long. */
  readonly status: number;
  /** All that the guest wrote to its serial port. */
  readonly console: string;
  /** What splitvm wrote to standard error. */
  readonly stderr: string;
  /** The disk's image file afterwards. */
  readonly disk: string;
  /** Status of the scenario, once for each time that the guest came so far. */
  readonly scenarioStatuses: readonly number[];
  /** Kernel messages of the level "warning" and worse. */
  readonly complaints: readonly string[];
}

/** Runs a guest in the lab, under the executable that `deno task compile` has written: it starts much faster there than the source. */
export async function runGuest(lab: Lab, run: GuestRun): Promise<GuestResult> {
  const { name, input = "", timeout = 120 } = run;
  const folder = await runFolder(name);
  await Deno.writeFile(`${folder}/initrd`, await buildGuest(lab, run.scenario));
  await Deno.writeFile(`${folder}/disk.img`, run.disk);
  await Deno.writeTextFile(`${folder}/input`, input);
  const script = [
    "cp /lab/disk.img /tmp/disk.img",
    "touch /lab/console.log",
    ...input === "" ? [":"] : [`timeout ${timeout} sh -c '${WAIT_FOR_GUEST}; cat /lab/input'`],
  ].join("\n") + ` | timeout ${timeout} dist/splitvm ${commandLine(lab, run)} \
  > /lab/console.log 2> /lab/stderr.log
status=$?
cp /tmp/disk.img /lab/disk.img
exit $status
`;
  const status = await runInLab(lab, { script, folder, timeout: timeout + 60 });
  const console = await Deno.readTextFile(`${folder}/console.log`);
  return {
    status,
    console,
    stderr: await Deno.readTextFile(`${folder}/stderr.log`),
    disk: `${folder}/disk.img`,
    scenarioStatuses: [...console.matchAll(/^guest: status (\d+)/gm)].map(([, text]) => Number(text)),
    complaints: [...console.matchAll(/^guest: kernel (.*?)\r?$/gm)].map(([, text]) => text),
  };
}

const WAIT_FOR_GUEST = 'until grep -q "^guest: ready" /lab/console.log; do sleep 1; done';

/** splitvm's command line, quoted for the shell. */
function commandLine(lab: Lab, { kernel = "bzImage", append = "", options = [] }: GuestRun): string {
  const words = [
    ...["-machine", "q35", "-m", "512M", "-serial", "stdio"],
    ...["-kernel", kernel === "vmlinux" ? lab.vmlinux : lab.kernel.vmlinuz, "-initrd", "/lab/initrd"],
    ...["-append", `console=ttyS0 quiet panic=-1 ${append}`],
    ...["-drive", "id=d0,file=/tmp/disk.img,format=raw,if=none", "-device", "lsi53c895a,id=lsi0"],
    ...["-device", "scsi-hd,drive=d0,bus=lsi0.0,scsi-id=0"],
    ...options,
  ];
  return words.map((word) => `'${word}'`).join(" ");
}

async function buildGuest(lab: Lab, scenario: string): Promise<Uint8Array<ArrayBuffer>> {
  const init = await Deno.readTextFile(new URL("guest_init.sh", import.meta.url));
  const modules = await resolveModules(lab.kernel, GUEST_MODULES);
  const files = new Map([["/scenario", new TextEncoder().encode(scenario)]]);
  for (const program of [...GUEST_PROGRAMS, lab.sgReset]) {
    files.set(`/sbin/${basename(program)}`, await Deno.readFile(program));
    for (const path of await librariesOf(program)) files.set(path, await Deno.readFile(path));
  }
  return await buildInitramfs({ busybox: lab.busybox, modules, init, files });
}

/** The shared libraries that a program needs, the dynamic linker among them, by path. */
async function librariesOf(program: string): Promise<string[]> {
  const libraries = await mustRun("ldd", [program]);
  return [...libraries.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path);
}
