/**
 * A guest's accesses to its device: which are measured, on which machines, and how long they may take.
 *
 * @module
 */
import type { AccessName } from "../guests/registers/mod.ts";
import { diskArguments, EXECUTABLE } from "../tests/support/machines.ts";
import { atMost, type Goal } from "./goals.ts";
import type { Contest, Task } from "./machine_results.ts";

/** A kind of access. */
export interface Access extends Task {
  readonly name: AccessName;
}

/** The device in the VMM's own process: what isolation is measured by. */
const IN_PROCESS = "QEMU in process";

function access(name: AccessName, title: string, goal?: Goal): Access {
  return { name, title, unit: "µs", goals: goal === undefined ? {} : { [IN_PROCESS]: goal } };
}

/** All that are measured, in the order in which they are shown. */
const ACCESSES: readonly Access[] = [
  access("load", "BAR load (DSP)", atMost(1.15)),
  access("load-effect", "BAR load with a side effect (DSTAT)", atMost(1.15)),
  access("store", "BAR store (SCRATCHA)", atMost(1.1)),
  access("store-ram", "BAR store (SCRIPTS RAM)", atMost(1.1)),
  access("store-load", "BAR store and load (SCRATCHA)"),
  access("config-read", "config read (ports 0xcf8 and 0xcfc)", atMost(1.15)),
];

/** Files that the machines need. */
export interface AccessFiles {
  /** A PVH guest (`guests/registers`). */
  readonly kernel: string;
  /** A raw image. */
  readonly disk: string;
}

/** Command lines of a machine. Where it has two, the link is descriptor {@linkcode LINK_FD} of both. */
export interface MachineCommands {
  readonly vmm: readonly string[];
  readonly device?: readonly string[];
}

/** Who competes. */
export interface Competitor {
  readonly name: string;
  /** How many accesses of each kind come first: until V8 has compiled them, where there is JavaScript. */
  readonly warmUp: number;
  commands(files: AccessFiles): MachineCommands;
}

/** The number of the link in both processes. */
export const LINK_FD = 3;

const MEMORY = "256M";
const COMMON = ["-m", MEMORY, "-nodefaults", "-serial", "stdio"];

function splitvm({ kernel, disk }: AccessFiles, device = "lsi53c895a"): MachineCommands {
  const [option, , ...rest] = diskArguments(disk);
  const adapter = [option, `${device},id=lsi0`, ...rest];
  return { vmm: [...EXECUTABLE.command, "-machine", "q35,accel=kvm", ...COMMON, "-kernel", kernel, ...adapter] };
}

const QEMU = "qemu-system-x86_64";
const WITHOUT_CONSOLES = ["-nodefaults", "-display", "none", "-monitor", "none"];

/**
 * With qboot, which does nothing but to enter the kernel. `-cpu host` without what KVM offers and cannot set on some
 * nested hosts: IA32_ARCH_CAPABILITIES.
 */
function qemu({ kernel }: AccessFiles, devices: readonly string[]): string[] {
  return [
    ...[QEMU, "-machine", "q35", "-accel", "kvm", "-cpu", "host,-arch-capabilities", "-bios", "qboot.rom"],
    ...[...COMMON, ...WITHOUT_CONSOLES, "-kernel", kernel, ...devices],
  ];
}

/** The device process maps guest RAM, so it has to be a file. */
const SHARED_MEMORY = ["-object", `memory-backend-memfd,id=mem,size=${MEMORY},share=on`, "-numa", "node,memdev=mem"];

function qemuPair(files: AccessFiles): MachineCommands {
  const remote = ["-object", `x-remote-object,id=r0,devid=lsi0,fd=${LINK_FD}`];
  return {
    vmm: qemu(files, [...SHARED_MEMORY, "-device", `x-pci-proxy-dev,id=lsi0,fd=${LINK_FD}`]),
    device: [
      ...[QEMU, "-machine", "x-remote", ...WITHOUT_CONSOLES, "-serial", "none"],
      ...[...diskArguments(files.disk), ...remote],
    ],
  };
}

/** After how many accesses V8 has compiled all that one executes. */
const COMPILED = 3000;

/** All that compete, in the order in which they are shown. */
export const COMPETITORS: readonly Competitor[] = [
  { name: "splitvm", warmUp: COMPILED, commands: (files) => splitvm(files) },
  {
    name: "splitvm, accel=off",
    warmUp: COMPILED / 10,
    commands: (files) => splitvm(files, "lsi53c895a,accel=off"),
  },
  {
    name: IN_PROCESS,
    warmUp: 100,
    commands: (files) => ({ vmm: qemu(files, diskArguments(files.disk)) }),
  },
  { name: "QEMU multi-process", warmUp: 100, commands: qemuPair },
];

/** The table. */
export const ACCESS_CONTEST: Contest<Access> = {
  tasks: ACCESSES,
  machines: COMPETITORS.map(({ name }) => name),
  reference: IN_PROCESS,
};
