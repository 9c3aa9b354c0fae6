/**
 * Command lines of machines whose halves, VMM and device process, are splitvm's or stock QEMU's.
 *
 * @module
 */

/** Whose halves: both splitvm's, the VMM starting its device process; or, started as a pair, VMM of one and device process of the other. */
export type Halves = "splitvm" | "splitvm, disk in QEMU" | "QEMU, disk in splitvm";

/** What both halves have to know. Paths are the lab's. */
export interface MachineParts {
  /** The kernel to start without firmware; `undefined` when firmware is to find one on the disk. */
  readonly direct: { readonly kernel: string; readonly initrd: string; readonly append: string } | undefined;
  readonly disk: { readonly file: string; readonly format: string } | undefined;
  /** More words for the VMM. */
  readonly options: readonly string[];
}

const SPLITVM = "dist/splitvm";
const QEMU = "qemu-system-x86_64";
/** Without these QEMU makes devices and windows of its own accord. */
const QEMU_WITHOUT_CONSOLES = ["-nodefaults", "-display", "none", "-monitor", "none"];
/** RAM of a guest, unless its options say otherwise. */
const MEMORY = "512M";
/** The link's descriptor in both processes of a pair: see `pair.ts`. */
const LINK_FD = 3;

/** A shell command that runs the machine, its console on standard input and output. */
export function machineCommand(halves: Halves, parts: MachineParts): string {
  if (halves === "splitvm") return quoted([SPLITVM, ...splitvmWords(), ...commonWords(parts), ...diskWords(parts)]);
  const link = ["-device", `x-pci-proxy-dev,id=lsi0,fd=${LINK_FD}`];
  const remote = [...diskWords(parts), "-object", `x-remote-object,id=r0,devid=lsi0,fd=${LINK_FD}`];
  const [vmm, device] = halves === "splitvm, disk in QEMU"
    ? [
      [SPLITVM, ...splitvmWords(), ...commonWords(parts), ...link],
      [QEMU, "-machine", "x-remote", ...remote, ...QEMU_WITHOUT_CONSOLES, "-serial", "none"],
    ]
    : [
      [QEMU, ...qemuWords(), ...commonWords(parts), ...link],
      [SPLITVM, "-machine", "remote", ...remote],
    ];
  return quoted([Deno.execPath(), "run", "--quiet", "--allow-all", "tests/lab/pair.ts", ...device, "--", ...vmm]);
}

function splitvmWords(): string[] {
  return ["-machine", "q35"];
}

/** The device process maps guest RAM, so it has to be a file. */
function qemuWords(): string[] {
  return [
    ...["-machine", "q35,accel=kvm", "-cpu", "host", ...QEMU_WITHOUT_CONSOLES],
    ...["-object", `memory-backend-memfd,id=mem,size=${MEMORY},share=on`, "-numa", "node,memdev=mem"],
  ];
}

function commonWords({ direct, options }: MachineParts): string[] {
  return [
    ...options.includes("-m") ? [] : ["-m", MEMORY],
    ...["-serial", "stdio"],
    ...direct === undefined ? [] : ["-kernel", direct.kernel, "-initrd", direct.initrd, "-append", direct.append],
    ...options,
  ];
}

/** The adapter and its disk, in words that splitvm and QEMU share. */
function diskWords({ disk }: MachineParts): string[] {
  if (disk === undefined) return [];
  return [
    ...["-device", "lsi53c895a,id=lsi0", "-drive", `id=d0,file=${disk.file},format=${disk.format},if=none`],
    ...["-device", "scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0"],
  ];
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}
