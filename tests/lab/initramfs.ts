/**
 * Initial RAM file systems for the lab and for its guests: busybox, kernel modules, and a script that runs as process 1.
 *
 * @module
 */
import { basename } from "@std/path";
import { type CpioEntry, Mode, packCpio } from "./cpio.ts";

/** What goes into an initramfs. */
export interface InitramfsContents {
  /** A statically linked busybox. */
  readonly busybox: string;
  /** Paths of modules; the script finds their names in this order in `/modules/list`. */
  readonly modules: readonly string[];
  /** What `/init` is: a shell script. */
  readonly init: string;
  /** More files, by their absolute path in the guest. */
  readonly files?: ReadonlyMap<string, Uint8Array>;
}

/** Device number of `/dev/console`: without it, process 1 has no standard input and output. */
const CONSOLE = [5, 1] as const;

const FOLDERS = ["bin", "dev", "etc", "proc", "sys", "mnt", "run", "modules"];

/** Builds the archive. */
export async function buildInitramfs(contents: InitramfsContents): Promise<Uint8Array<ArrayBuffer>> {
  const { busybox, modules, init, files = new Map<string, Uint8Array>() } = contents;
  const ofModule = (path: string) => `modules/${basename(path)}`;
  const list = modules.map((path) => `${basename(path)}\n`).join("");
  const programs = [...files].map(([path, content]) => ({ path: path.slice(1), mode: Mode.PROGRAM, content }));
  const folders = new Set([...FOLDERS, ...programs.flatMap(({ path }) => parents(path))]);
  return packCpio([
    ...[...folders].map((path) => ({ path, mode: Mode.FOLDER })),
    { path: "dev/console", mode: Mode.CHARACTER_DEVICE, device: CONSOLE },
    { path: "bin/busybox", mode: Mode.PROGRAM, content: await Deno.readFile(busybox) },
    { path: "bin/sh", mode: Mode.LINK, content: bytes("busybox") },
    ...await Promise.all(modules.map(async (path): Promise<CpioEntry> => ({
      path: ofModule(path),
      mode: Mode.FILE,
      content: await Deno.readFile(path),
    }))),
    { path: "modules/list", mode: Mode.FILE, content: bytes(list) },
    { path: "init", mode: Mode.PROGRAM, content: bytes(init) },
    ...programs,
  ]);
}

/** The folders that lead to a file, outermost first. */
function parents(path: string): string[] {
  const segments = path.split("/").slice(0, -1);
  return segments.map((_, i) => segments.slice(0, i + 1).join("/"));
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
