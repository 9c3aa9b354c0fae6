/**
 * A Debian kernel: its bzImage, the ELF file in it, and its modules.
 *
 * @module
 */
import { basename, dirname, join } from "@std/path";
import { run } from "./command.ts";
import { exists, listFiles, replaceFile } from "./files.ts";
import { kernelPackage, unpackPackage } from "./packages.ts";

/** An unpacked kernel package. */
export interface Kernel {
  /** The bzImage. */
  readonly bzImage: string;
  /** The ELF file in it, which boots by PVH. */
  readonly vmlinux: string;
  /** Paths of all modules by name, with underscores for dashes. */
  readonly modules: ReadonlyMap<string, string>;
}

/** Unpacks the kernel that a meta-package names. The ELF file comes to lie beside the bzImage. */
export async function unpackKernel(meta: string, cache: string): Promise<Kernel> {
  const known = join(cache, `${meta}.name`);
  const name = await exists(known) ? await Deno.readTextFile(known) : await kernelPackage(meta);
  const folder = await unpackPackage(name, cache);
  await Deno.writeTextFile(known, name);
  const [bzImage] = await listFiles(join(folder, "boot"), (path) => basename(path).startsWith("vmlinuz-"));
  const modules = await listFiles(join(folder, "lib/modules"), (path) => path.endsWith(".ko"));
  if (bzImage === undefined || modules.length === 0) throw new Error(`${name} holds no kernel with plain modules`);
  const vmlinux = join(dirname(bzImage), "vmlinux");
  if (!await exists(vmlinux)) await extractVmlinux(bzImage, vmlinux);
  return { bzImage, vmlinux, modules: new Map(modules.map((path) => [moduleName(path), path])) };
}

function moduleName(path: string): string {
  return basename(path, ".ko").replaceAll("-", "_");
}

/**
 * Modules with all that they depend on, each after what it needs.
 *
 * @param names What is wanted; those built into this kernel are left out.
 * @returns Paths of `.ko` files.
 */
export async function resolveModules({ modules }: Kernel, names: readonly string[]): Promise<string[]> {
  const resolved = new Set<string>();
  const visit = async (name: string) => {
    const path = modules.get(name);
    if (path === undefined || resolved.has(path)) return;
    for (const dependency of await dependencies(path)) await visit(dependency);
    resolved.add(path);
  };
  for (const name of names) await visit(name);
  return [...resolved];
}

/** The `depends=` line of a module's `.modinfo` section, a list of NUL-terminated strings. */
async function dependencies(path: string): Promise<string[]> {
  const text = new TextDecoder("latin1").decode(await Deno.readFile(path));
  const list = /\0depends=([\w,-]*)\0/.exec(text)?.[1] ?? "";
  return list.split(",").filter((name) => name !== "").map((name) => name.replaceAll("-", "_"));
}

/** Programs that unpack what a bzImage holds, by the first bytes of the payload. */
const DECOMPRESSORS = [
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], program: "xz", args: ["--decompress", "--stdout", "--single-stream"] },
  { magic: [0x02, 0x21, 0x4c, 0x18], program: "lz4", args: ["--decompress", "--stdout"] },
] as const;

/**
 * Writes the ELF kernel inside a bzImage to a file.
 *
 * Source: Linux `Documentation/arch/x86/boot.rst`, `payload_offset` and `payload_length`. The payload ends with four bytes of the
 * unpacked size that are not part of the compressed stream.
 */
async function extractVmlinux(bzImage: string, vmlinux: string): Promise<void> {
  const image = await Deno.readFile(bzImage);
  const view = new DataView(image.buffer);
  const start = (view.getUint8(0x1f1) + 1) * 512 + view.getUint32(0x248, true);
  const payload = image.subarray(start, start + view.getUint32(0x24c, true) - 4);
  const decompressor = DECOMPRESSORS.find(({ magic }) => magic.every((byte, i) => payload[i] === byte));
  if (decompressor === undefined) throw new Error(`${bzImage} is compressed in an unknown way`);
  const packed = `${vmlinux}.packed`;
  await Deno.writeFile(packed, payload);
  const { program, args } = decompressor;
  const { status, stdout, stderr } = await run(program, [...args, packed]);
  if (status !== 0 || stdout.length === 0) throw new Error(`${program} cannot unpack ${bzImage}: ${stderr.trim()}`);
  await replaceFile(vmlinux, stdout);
  await Deno.remove(packed);
}
