/**
 * What is started, and who competes in it.
 *
 * @module
 */
import { type Build, diskArguments, EXECUTABLE, type Half, SOURCE } from "../tests/support/machines.ts";

/** What is waited for. */
export type Goal = "guest" | "reply";

/** Files that starts need. */
export interface StartFiles {
  /** A PVH guest (`guests/startup`). */
  readonly kernel: string;
  /** A raw image. */
  readonly disk: string;
}

/** A competitor. */
export interface Subject {
  readonly name: string;
  /** What others are compared with. */
  readonly isReference?: boolean;
  /** A VMM's command line. */
  command?(files: StartFiles): readonly string[];
  /** Whose device process is started. */
  readonly half?: Half;
}

/** Something that is started. */
export interface Scenario {
  readonly name: string;
  readonly goal: Goal;
  readonly subjects: readonly Subject[];
}

/** Where a program finds the pipe for the guest's debug console. */
export const DEBUG_FD = 3;

const MEMORY = ["-m", "256M"];

/** The same consoles for all: the debug console on a pipe, the serial port on standard output. */
const CONSOLES = ["-debugcon", `file:/dev/fd/${DEBUG_FD}`, "-serial", "stdio"];

function splitvm(build: Build, { kernel }: StartFiles): string[] {
  return [...build.command, "-machine", "q35,accel=kvm", ...MEMORY, ...CONSOLES, "-kernel", kernel];
}

/** `-cpu host` without what KVM offers and cannot set on some nested hosts: IA32_ARCH_CAPABILITIES. */
function qemu(machine: string, { kernel }: StartFiles): string[] {
  return [
    ...["qemu-system-x86_64", "-machine", machine, "-accel", "kvm", "-cpu", "host,-arch-capabilities"],
    ...[...MEMORY, "-nodefaults", "-display", "none", "-monitor", "none", ...CONSOLES, "-kernel", kernel],
  ];
}

/** QEMU's smallest firmware, which does nothing but to enter the kernel. */
const QBOOT = ["-bios", "qboot.rom"];

const REFERENCE = { name: `splitvm, ${EXECUTABLE.name}`, isReference: true } as const;
const FROM_SOURCE = { name: `splitvm, ${SOURCE.name}` };

const MACHINES: readonly Subject[] = [
  { ...REFERENCE, command: (files) => splitvm(EXECUTABLE, files) },
  { ...FROM_SOURCE, command: (files) => splitvm(SOURCE, files) },
  { name: "QEMU microvm", command: (files) => qemu("microvm", files) },
  { name: "QEMU q35, qboot", command: (files) => [...qemu("q35", files), ...QBOOT] },
  { name: "QEMU q35, SeaBIOS", command: (files) => qemu("q35", files) },
];

const MACHINES_WITH_DISK: readonly Subject[] = [
  {
    ...REFERENCE,
    command: (files) => [...splitvm(EXECUTABLE, files), ...diskArguments(files.disk)],
  },
  {
    name: "QEMU q35, qboot, disk in process",
    command: (files) => [...qemu("q35", files), ...QBOOT, ...diskArguments(files.disk)],
  },
];

const DEVICE_PROCESSES: readonly Subject[] = [
  { ...REFERENCE, half: EXECUTABLE },
  { ...FROM_SOURCE, half: SOURCE },
  { name: "QEMU x-remote", half: "qemu" },
];

/** All that is started, in the order in which it is measured and shown. */
export const SCENARIOS: readonly Scenario[] = [
  { name: "start-up: PVH guest", goal: "guest", subjects: MACHINES },
  { name: "start-up: PVH guest, disk in a device process", goal: "guest", subjects: MACHINES_WITH_DISK },
  { name: "start-up: device process", goal: "reply", subjects: DEVICE_PROCESSES },
];
