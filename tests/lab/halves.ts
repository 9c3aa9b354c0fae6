/**
 * Command lines of machines whose halves, VMM and device process, are splitvm's or stock QEMU's.
 *
 * @module
 */

/**
 * Whose halves. Both splitvm's, the VMM starting its device process, with the ring between them or the plain wire only; or, started as a
 * pair, VMM and device process of one or the other; or QEMU as people run it, with the device in its own process.
 */
export type Halves =
  | "splitvm"
  | "splitvm, plain wire"
  | "splitvm, disk in QEMU"
  | "QEMU, disk in splitvm"
  | "QEMU, disk in QEMU"
  | "QEMU";

/** What both halves have to know. Paths are the lab's. */
export interface MachineParts {
  /** The kernel to start without firmware; `undefined` when firmware is to find one on the disk. */
  readonly direct: { readonly kernel: string; readonly initrd: string; readonly append: string } | undefined;
  readonly disk: { readonly file: string; readonly format: string; readonly adapter?: string } | undefined;
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
  const [splitvm, qemu] = [[SPLITVM, ...splitvmWords()], [QEMU, ...qemuWords()]].map((vmm) => [
    ...vmm,
    ...commonWords(parts),
  ]);
  switch (halves) {
    case "splitvm":
      return quoted([...splitvm, ...diskWords(parts, parts.disk?.adapter && `,${parts.disk.adapter}`)]);
    case "splitvm, plain wire":
      return quoted([...splitvm, ...diskWords(parts, ",accel=off")]);
    case "splitvm, disk in QEMU":
      return pairCommand(splitvm, qemuRemote(parts));
    case "QEMU, disk in splitvm":
      return pairCommand(qemu, [SPLITVM, "-machine", "remote", ...remoteWords(parts)]);
    case "QEMU, disk in QEMU":
      return pairCommand(qemu, qemuRemote(parts));
    case "QEMU":
      return quoted([...qemu, ...diskWords(parts)]);
  }
}

/** See `pair.ts`. */
function pairCommand(vmm: readonly string[], device: readonly string[]): string {
  const pair = [Deno.execPath(), "run", "--quiet", "--allow-all", "tests/lab/pair.ts"];
  return quoted([...pair, ...device, "--", ...vmm, "-device", `x-pci-proxy-dev,id=lsi0,fd=${LINK_FD}`]);
}

function qemuRemote(parts: MachineParts): string[] {
  return [QEMU, "-machine", "x-remote", ...remoteWords(parts), ...QEMU_WITHOUT_CONSOLES, "-serial", "none"];
}

function remoteWords(parts: MachineParts): string[] {
  return [...diskWords(parts), "-object", `x-remote-object,id=r0,devid=lsi0,fd=${LINK_FD}`];
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

/** The adapter and its disk, in words that splitvm and QEMU share. @param adapter More properties of the adapter. */
function diskWords({ disk }: MachineParts, adapter = ""): string[] {
  if (disk === undefined) return [];
  return [
    ...["-device", `lsi53c895a,id=lsi0${adapter}`, "-drive", `id=d0,file=${disk.file},format=${disk.format},if=none`],
    ...["-device", "scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0"],
  ];
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}
