/**
 * The machine, in one sentence: what explains figures, and nothing that names it.
 *
 * @module
 */
import { readProc } from "../tests/support/process_tree.ts";
import { runTool } from "../tests/support/tool.ts";

/** CPU, memory, kernel, file system of `folder`, versions. */
export function describeHost(folder: string): string {
  const cpu = /^model name\s*:\s*(.*)$/m.exec(readProc("/proc/cpuinfo"))?.[1] ?? "unknown CPU";
  const memory = Math.round(Number(/^MemTotal:\s*(\d+)/m.exec(readProc("/proc/meminfo"))?.[1]) / 1024 / 1024);
  const release = /^\d+\.\d+/.exec(readProc("/proc/sys/kernel/osrelease"))?.[0];
  const guest = /^flags\s*:.*\bhypervisor\b/m.test(readProc("/proc/cpuinfo")) ? ", itself a virtual machine" : "";
  const fileSystem = runTool("stat", "--file-system", "--format=%T", folder).trim().replace("ext2/ext3", "ext4");
  const qemu = /version ([\d.]+)/.exec(runTool("qemu-system-x86_64", "--version"))?.[1];
  return `${cpu}, ${navigator.hardwareConcurrency} CPUs, ${memory} GiB${guest}; Linux ${release}; images on ` +
    `${fileSystem}; QEMU ${qemu}; Deno ${Deno.version.deno}.`;
}
