/**
 * `deno task demo`: a guest whose disk lives in another process.
 *
 * Starts two processes with the two ends of a socketpair, as a user would who starts them by hand: the device process, which has the disk,
 * and the VMM, which has the guest. Then looks at the image.
 *
 * @module
 */
import { closeFd, listDirectory, readFd, readLink } from "../../src/ffi/file.ts";
import { Kvm } from "../../src/ffi/kvm.ts";
import { type ChildProcess, type ExitStatus, Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { errorChain } from "../../src/error_chain.ts";
import { SELF_ENVIRONMENT, selfCommand } from "../../src/vmm/self_command.ts";
import {
  buildDemoDisk,
  buildDemoKernel,
  DEMO_FAILURE,
  DEMO_SUCCESS,
  DemoDisk,
  textOfSector,
} from "../../guests/demo/mod.ts";

const LINK_FD = 3;
const STDOUT_FD = 1;

/** A temporary folder's files. */
interface Files {
  readonly image: string;
  readonly kernel: string;
}

function print(line = ""): void {
  console.log(line);
}

/** One line that shows an argument list, with the folder's path left out. */
function shown(args: readonly string[], folder: string): string {
  return ["splitvm", ...args].map((arg) => arg.replaceAll(`${folder}/`, "")).join(" ");
}

function startDevice(link: number, files: Files, folder: string): ChildProcess {
  const args = [
    ...["-machine", "remote"],
    ...["-device", "lsi53c895a,id=lsi0"],
    ...["-drive", `id=d0,file=${files.image},format=raw,if=none`],
    ...["-device", "scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0"],
    ...["-object", `remote-object,id=robj0,devid=lsi0,fd=${LINK_FD}`],
  ];
  const descriptors = new Map([[0, null], [LINK_FD, link]]);
  const child = spawn({ command: [...selfCommand(), ...args], env: SELF_ENVIRONMENT, descriptors });
  print(`device process, pid ${child.pid}: ${shown(args, folder)}`);
  return child;
}

function startVmm(link: number, output: number, files: Files, folder: string): ChildProcess {
  const args = [
    ...["-machine", "q35,accel=kvm", "-m", "64M"],
    ...["-kernel", files.kernel],
    ...["-device", `pci-proxy-dev,id=lsi0,fd=${LINK_FD}`],
    ...["-serial", "stdio"],
  ];
  const descriptors = new Map([[0, null], [STDOUT_FD, output], [2, 2], [LINK_FD, link]]);
  const child = spawn({ command: [...selfCommand(), ...args], env: SELF_ENVIRONMENT, descriptors });
  print(`VMM process,    pid ${child.pid}: ${shown(args, folder)}`);
  return child;
}

/** Whether a process has a file open, as /proc shows it. */
function hasOpen(pid: number, path: string): boolean {
  const directory = `/proc/${pid}/fd`;
  return listDirectory(directory).some((fd) => {
    try {
      return readLink(`${directory}/${fd}`) === path;
    } catch {
      return false; // closed meanwhile
    }
  });
}

/** Prints what the guest says on its serial line as it comes. @returns all of it. */
function relaySerialLine(fd: number, firstLine: () => void): string {
  const buffer = new Uint8Array(4096);
  let text = "";
  for (let length; (length = readFd(fd, buffer)) > 0;) {
    if (text === "") firstLine();
    const part = buffer.slice(0, length);
    text += new TextDecoder().decode(part);
    Deno.stdout.writeSync(part);
  }
  return text;
}

function reportImageHolders(vmm: number, device: number, image: string): void {
  const holders = [["the VMM", vmm], ["the device process", device]] as const;
  const names = holders.filter(([, pid]) => hasOpen(pid, image)).map(([name]) => name);
  print(`The disk image is open in: ${names.join(" and ")}.`);
  print();
}

/** Waits for both. @throws {Error} when one did not end well. */
function checkedEnd(children: readonly (readonly [string, ChildProcess])[]): void {
  for (const [name, child] of children) {
    const status: ExitStatus = child.wait();
    if (!("code" in status) || status.code !== 0) throw new Error(`${name} ended with ${JSON.stringify(status)}`);
  }
}

function runGuest(files: Files, folder: string): string {
  const [vmmLink, deviceLink] = createSocketPair();
  const [serialOurs, serialTheirs] = createSocketPair();
  const children: [string, ChildProcess][] = [];
  try {
    const device = startDevice(deviceLink, files, folder);
    children.push(["The device process", device]);
    const vmm = startVmm(vmmLink, serialTheirs, files, folder);
    children.push(["The VMM", vmm]);
    [vmmLink, deviceLink, serialTheirs].forEach(closeFd);
    const story = relaySerialLine(serialOurs, () => reportImageHolders(vmm.pid, device.pid, files.image));
    checkedEnd(children);
    return story;
  } finally {
    for (const [, child] of children) {
      child.kill(Signal.KILL);
      child.wait();
      child.close();
    }
    closeFd(serialOurs);
  }
}

/** Runs the demo. @throws {Error} when anything in it went otherwise than it should. */
function demo(folder: string): void {
  const files = { image: `${folder}/disk.img`, kernel: `${folder}/guest.elf` };
  Deno.writeFileSync(files.kernel, buildDemoKernel());
  Deno.writeFileSync(files.image, buildDemoDisk());
  const story = runGuest(files, folder);
  if (story.includes(DEMO_FAILURE) || !story.includes(DEMO_SUCCESS)) {
    throw new Error("The guest did not reach the end of its story");
  }
  const written = textOfSector(Deno.readFileSync(files.image), DemoDisk.WRITE_SECTOR);
  print();
  print(`disk.img, sector ${DemoDisk.WRITE_SECTOR}: was empty, now says ${JSON.stringify(written)}`);
  if (written !== DemoDisk.MESSAGE) throw new Error("The image does not hold what the guest wrote");
}

/** Says in one line what is missing, before anything is started. */
function requireKvm(): void {
  Kvm.open().close();
}

if (import.meta.main) {
  const folder = Deno.makeTempDirSync({ dir: "/tmp", prefix: "splitvm-demo-" });
  try {
    requireKvm();
    demo(Deno.realPathSync(folder));
  } catch (error) {
    console.error(`demo: ${errorChain(error)}`);
    Deno.exitCode = 1;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
