/**
 * Both halves of a machine, splitvm's and stock QEMU's, in all pairings.
 *
 * @module
 */
import { selfCommand } from "../../src/vmm/self_command.ts";
import { GIVEN_FD, type Program, type Stage } from "./stage.ts";

/** A way to start splitvm. */
export interface Build {
  readonly name: string;
  /** The program's path, and its leading arguments. */
  readonly command: readonly string[];
}

/** splitvm by way of `deno run`. */
export const SOURCE: Build = { name: "from source", command: selfCommand() };

/** splitvm as the one file that `deno task compile` writes. */
export const EXECUTABLE: Build = {
  name: "dist/splitvm",
  command: [new URL("../../dist/splitvm", import.meta.url).pathname],
};

/** Both. */
export const BUILDS = [SOURCE, EXECUTABLE];

/** A build whose device processes are jailed, whoever runs the VMM. */
export function jailing({ name, command }: Build): Build {
  return { name: `${name} jail`, command: [...command, "jail", "--"] };
}

/** Whose half: QEMU's or that of a build of splitvm. */
export type Half = "qemu" | Build;

const QEMU = "qemu-system-x86_64";
const MEMORY = "256M";

/** The adapter and its disk, in words that splitvm and QEMU share. */
export function diskArguments(image: string): string[] {
  return [
    ...["-device", "lsi53c895a,id=lsi0"],
    ...["-drive", `id=d0,file=${image},format=raw,if=none`],
    ...["-device", "scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0"],
  ];
}

/** Starts a VMM whose adapter is at the other end of `link`. */
export function startVmm(stage: Stage, half: Half, link: number, options: readonly string[] = []): Program {
  const all = ["-device", `x-pci-proxy-dev,id=lsi0,fd=${GIVEN_FD}`, ...options];
  const command = half === "qemu" ? [...qemuVmm(), ...all] : splitvmVmm(half, all);
  return stage.start({ name: "VMM", command, given: link });
}

/** Starts a VMM with no device, but for those that `options` tell it to have. */
export function startLoneVmm(stage: Stage, build: Build, options: readonly string[]): Program {
  return stage.start({ name: "VMM", command: splitvmVmm(build, options) });
}

/** Starts a VMM that spawns the device process by itself. */
export function startWholeMachine(
  stage: Stage,
  build: Build,
  image: string,
  options: readonly string[] = [],
): Program {
  return startLoneVmm(stage, build, [...diskArguments(image), ...options]);
}

/** Starts a device process that serves the disk over `link`. */
export function startRemote(stage: Stage, half: Half, image: string, link: number): Program {
  const object = ["-object", `x-remote-object,id=r0,devid=lsi0,fd=${GIVEN_FD}`];
  const command = half === "qemu"
    ? [QEMU, "-machine", "x-remote", ...diskArguments(image), ...object, ...QEMU_WITHOUT_CONSOLES, "-serial", "none"]
    : [...half.command, "-machine", "remote", ...diskArguments(image), ...object];
  return stage.start({ name: "device process", command, given: link });
}

/** Without these QEMU makes devices and windows of its own accord. */
const QEMU_WITHOUT_CONSOLES = ["-nodefaults", "-display", "none", "-monitor", "none"];

/** `-cpu host` without what KVM offers and cannot set on some nested hosts: IA32_ARCH_CAPABILITIES. */
function qemuVmm(): string[] {
  return [
    ...[QEMU, "-machine", "q35,accel=kvm", "-cpu", "host,-arch-capabilities", "-m", MEMORY],
    // The device process maps guest RAM, so it has to be a file.
    ...["-object", `memory-backend-memfd,id=mem,size=${MEMORY},share=on`, "-numa", "node,memdev=mem"],
    ...[...QEMU_WITHOUT_CONSOLES, "-serial", "stdio", "-no-reboot"],
  ];
}

/** `options` may give the machine another size. */
function splitvmVmm(build: Build, options: readonly string[]): string[] {
  const size = options.includes("-m") ? [] : ["-m", MEMORY];
  return [...build.command, "-machine", "q35,accel=kvm", ...size, "-serial", "stdio", "-no-reboot", ...options];
}
