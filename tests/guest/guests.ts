/**
 * Small guests, and the machines that they run in.
 *
 * @module
 */
import { buildPvhGuest } from "../../guests/pvh_guest.ts";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { KVM, testNeeding } from "../support/requirements.ts";
import { GIVEN_FD, onStage, type Program, type Stage } from "../support/stage.ts";

/** A test that plays on a stage, with /dev/kvm. */
export function testOnKvm(name: string, body: (stage: Stage) => void): void {
  testNeeding([KVM], name, onStage(body));
}

/** How a guest runs. */
export interface GuestOptions {
  /** Symbols that its source uses. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Sources that it includes besides those of every guest, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Further options of the command line. */
  readonly options?: readonly string[];
  /** What the command line is run by: a program and its first arguments. */
  readonly by?: readonly string[];
  /** Where the debug console's output goes. @default {`debug.txt` on the stage} */
  readonly debugFile?: string;
  /** A descriptor for the VMM, which has it as {@linkcode GIVEN_FD}. */
  readonly given?: number;
  /** Options for the serial ports. @default {COM1 is on standard input and output} */
  readonly serial?: readonly string[];
}

const ON_STDIO = ["-serial", "stdio"];

/** The command line of a machine without firmware. */
export function guestCommand(
  kernel: string,
  options: readonly string[] = [],
  debugFile = "/dev/null",
  serial: readonly string[] = ON_STDIO,
): string[] {
  return [
    ...[...selfCommand(), "-machine", "q35,accel=kvm", "-m", "16M", "-nodefaults", ...serial],
    ...["-device", "isa-debug-exit", "-debugcon", `file:${debugFile}`],
    ...["-kernel", kernel, ...options],
  ];
}

/** Runs a guest from its source in a machine without firmware, with COM1 as its console. */
export function startGuest(stage: Stage, source: string, guest: GuestOptions = {}): Program {
  const { constants = {}, files, options, by = [], debugFile = `${stage.directory}/debug.txt`, given, serial } = guest;
  const kernel = `${stage.directory}/guest.elf`;
  Deno.writeFileSync(kernel, buildPvhGuest(source, { constants, files }));
  return stage.start({ name: "VMM", command: [...by, ...guestCommand(kernel, options, debugFile, serial)], given });
}

/**
 * Options for an LSI 53C895A with a disk at slot 1, in a device process that the VMM starts.
 *
 * @param properties More of them, for the adapter. @default {none}
 */
export function localDisk(stage: Stage, properties?: string): string[] {
  const image = `${stage.directory}/disk.img`;
  Deno.writeFileSync(image, new Uint8Array(1 << 20));
  return [
    ...["-drive", `id=d0,file=${image},format=raw,if=none`, "-device"],
    ["lsi53c895a,id=lsi0,addr=1", properties].filter((part) => part !== undefined).join(","),
    ...["-device", "scsi-hd,drive=d0,bus=lsi0.0,scsi-id=0"],
  ];
}

/** Options for a device at slot 1, over the descriptor that the VMM is given. */
export const GIVEN_DEVICE = ["-device", `pci-proxy-dev,id=lsi0,addr=1,fd=${GIVEN_FD}`] as const;
