/**
 * The lab: a machine with hardware virtualization, emulated by QEMU, in which an unmodified Linux can be splitvm's guest wherever
 * the tests run.
 *
 * QEMU's TCG emulates AMD's SVM. Debian's kernel inside it loads kvm-amd, sees this host's files through 9p, and runs splitvm from
 * them. Nothing is installed: packages are unpacked into `dist/lab/packages`, and what is written inside is gone afterwards, except
 * below `/lab`, which is the run's folder on this host.
 *
 * @module
 */
import { fromFileUrl, join } from "@std/path";
import { run } from "./command.ts";
import { buildInitramfs } from "./initramfs.ts";
import { extractVmlinux, type Kernel, resolveModules, unpackKernel } from "./kernel.ts";
import { exists, unpackPackage } from "./packages.ts";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));
const CACHE = join(ROOT, "dist/lab");
const KERNEL = "linux-image-amd64";

/** Modules of the lab's own kernel: 9p over virtio for files, overlayfs over them, and KVM. */
const LAB_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay", "kvm_amd"];

/** What {@linkcode prepareLab} leaves on the host, for the lab and its guests. */
export interface Lab {
  readonly kernel: Kernel;
  /** The ELF kernel of the same build. */
  readonly vmlinux: string;
  readonly busybox: string;
  /** A program that resets SCSI devices, buses and controllers. */
  readonly sgReset: string;
  readonly initramfs: string;
}

/** How a command is run in the lab. */
export interface LabCommand {
  /** Lines for a POSIX shell. The working directory is the repository, and `/lab` is {@linkcode LabCommand.folder}. */
  readonly script: string;
  /** A folder of the host, writable inside. */
  readonly folder: string;
  /** After so many seconds the lab is switched off. */
  readonly timeout: number;
  /** @default {2} */
  readonly cpus?: number;
  /** RAM of the lab in MiB. @default {3072} */
  readonly memory?: number;
}

/** Unpacks Debian's packages and builds the lab's initramfs; nearly nothing is left to do the second time. */
export async function prepareLab(): Promise<Lab> {
  const packages = join(CACHE, "packages");
  await Deno.mkdir(packages, { recursive: true });
  const kernel = await unpackKernel(KERNEL, packages);
  const busybox = join(await unpackPackage("busybox-static", packages), "bin/busybox");
  const sgReset = join(await unpackPackage("sg3-utils", packages), "usr/bin/sg_reset");
  const vmlinux = join(CACHE, "vmlinux");
  if (!await exists(vmlinux)) await extractVmlinux(kernel.vmlinuz, vmlinux);
  const initramfs = join(CACHE, "lab.cpio");
  const init = await Deno.readTextFile(new URL("lab_init.sh", import.meta.url));
  const modules = await resolveModules(kernel, LAB_MODULES);
  await Deno.writeFile(initramfs, await buildInitramfs({ busybox, modules, init }));
  return { kernel, vmlinux, busybox, sgReset, initramfs };
}

/** A new, empty folder for one run. */
export async function runFolder(name: string): Promise<string> {
  const folder = join(CACHE, "runs", name);
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  return folder;
}

/**
 * Boots the lab and runs a command in it. What the lab prints, the command's output included, goes to `lab.log` in the folder.
 *
 * @returns the command's exit status.
 * @throws {Error} when the lab ended without one, with the last lines that it printed.
 */
export async function runInLab(lab: Lab, command: LabCommand): Promise<number> {
  const { folder, script, timeout, cpus = 2, memory = 3072 } = command;
  await Deno.writeTextFile(join(folder, "command"), `cd '${ROOT}'\n${ENVIRONMENT}\n${script}`);
  const log = join(folder, "lab.log");
  const args = qemuArguments(lab, { folder, log, cpus, memory });
  const { stderr } = await run("timeout", ["--kill-after=5", `${timeout}`, "qemu-system-x86_64", ...args]);
  const status = join(folder, "status");
  if (await exists(status)) return Number(await Deno.readTextFile(status));
  const lines = (await Deno.readTextFile(log).catch(() => "")).trimEnd().split("\n").slice(-20);
  throw new Error(`The lab ended within ${timeout} s without a result: ${stderr}\n${lines.join("\n")}`);
}

/** Settings that Deno needs inside: it finds its caches through HOME, and must not look for updates. */
const ENVIRONMENT = [
  `export HOME='${Deno.env.get("HOME") ?? "/root"}'`,
  "export DENO_NO_UPDATE_CHECK=1 DENO_DISABLE_NODE_SHIM=1 NO_COLOR=1",
].join("\n");

/**
 * Without XSAVE and protection keys: TCG does not intercept XSETBV, so KVM would never see a guest's XCR0, and a guest's PKRU would stay
 * in force on the host, where V8 uses keys of its own.
 */
const CPU = "max,-xsave,-pku";

function qemuArguments(
  { kernel, initramfs }: Lab,
  { folder, log, cpus, memory }: { folder: string; log: string; cpus: number; memory: number },
): string[] {
  const share = (
    path: string,
    tag: string,
    more: string,
  ) => ["-virtfs", `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap${more}`];
  return [
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", `${cpus}`, "-m", `${memory}`],
    ...["-nodefaults", "-display", "none", "-no-reboot", "-serial", `file:${log}`],
    ...["-kernel", kernel.vmlinuz, "-initrd", initramfs],
    ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off"],
    ...share("/", "root", ",readonly=on"),
    ...share(folder, "lab", ""),
  ];
}
