/**
 * Tests that need something which not every machine has. Where it is missing, a test is ignored under a name that says what to
 * install; where `SPLITVM_REQUIRE_ALL=1` is set, as in CI, it fails instead.
 *
 * @module
 */
import type { Build } from "./machines.ts";
import { closeFd, openFile, OpenFlags } from "../../src/ffi/file.ts";

/** Something that a test needs. */
export interface Requirement {
  readonly name: string;
  /** What to do where it is missing. */
  readonly remedy: string;
  isMet(): boolean;
}

/** Whether a missing requirement is a failure. */
const REQUIRE_ALL = Deno.env.get("SPLITVM_REQUIRE_ALL") === "1";

/** Debian keeps mkfs in folders that only root has on PATH. */
export const PROGRAM_PATH = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"]
  .filter((folder) => folder.startsWith("/"));

/** Where a program is. */
export function findProgram(name: string): string | undefined {
  return PROGRAM_PATH.map((folder) => `${folder}/${name}`).find((path) => exists(path));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** A program on PATH, out of one of Debian's packages. */
export function program(name: string, debianPackage: string): Requirement {
  return {
    name,
    remedy: `install Debian's ${debianPackage}`,
    isMet: () => findProgram(name) !== undefined,
  };
}

/** A file, out of one of Debian's packages. */
export function file(path: string, debianPackage: string): Requirement {
  return { name: path, remedy: `install Debian's ${debianPackage}`, isMet: () => exists(path) };
}

/** A build of splitvm. */
export function built({ name, command }: Build): Requirement {
  return { name, remedy: "run deno task compile", isMet: () => exists(command[0]) };
}

/** The kernel's virtual machines, and the right to use them. */
export const KVM: Requirement = {
  name: "/dev/kvm",
  remedy: "load kvm-intel or kvm-amd, and be root or in the group kvm",
  isMet() {
    try {
      closeFd(openFile("/dev/kvm", OpenFlags.O_RDWR));
      return true;
    } catch {
      return false;
    }
  },
};

/** Stock QEMU. */
export const QEMU = program("qemu-system-x86_64", "qemu-system-x86");

/** QEMU's tool for images. */
export const QEMU_IMG = program("qemu-img", "qemu-utils");

/** The firmware that the VMM takes where `-bios` names no other. */
export const SEABIOS = file("/usr/share/seabios/bios-256k.bin", "seabios");

/** Registers a test that needs something. */
export function testNeeding(needs: readonly Requirement[], name: string, body: () => void | Promise<void>): void {
  const missing = needs.filter((need) => !need.isMet());
  const complaint = missing.map(({ name, remedy }) => `needs ${name}: ${remedy}`).join("; ");
  if (missing.length === 0) {
    Deno.test(name, body);
  } else if (REQUIRE_ALL) {
    Deno.test(name, () => {
      throw new Error(complaint);
    });
  } else {
    Deno.test({ name: `${name} (${complaint})`, ignore: true, fn: body });
  }
}
