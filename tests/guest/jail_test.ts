/** What a machine's device processes are behind, as the host's kernel tells of them (proc(5)). */
import { assert, assertEquals } from "@std/assert";
import { listDirectory } from "../../src/ffi/file.ts";
import { NAMESPACES, ROOT } from "../support/jail.ts";
import { childrenOf, commandLineOf, readProc, threadsOf } from "../support/process_tree.ts";
import { KVM, testNeeding } from "../support/requirements.ts";
import { onStage, type Program, type Stage } from "../support/stage.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import { startGuest } from "./guests.ts";

/** Two controllers, each with a disk. */
function controllers(stage: Stage, properties = ""): string[] {
  return ["lsi0", "lsi1"].flatMap((id) => {
    const image = `${stage.directory}/${id}.img`;
    Deno.writeFileSync(image, new Uint8Array(1 << 20));
    const disk = [
      "-drive",
      `id=d-${id},file=${image},format=raw,if=none`,
      "-device",
      `scsi-hd,drive=d-${id},bus=${id}.0`,
    ];
    return ["-device", `lsi53c895a,id=${id}${properties}`, ...disk];
  });
}

/** The fields of a process's status. */
function statusOf(pid: number): Map<string, string> {
  const lines = readProc(`/proc/${pid}/status`).trimEnd().split("\n");
  return new Map(lines.map((line) => line.split(/:\s*/, 2) as [string, string]));
}

/** The device processes of a machine that runs: each has answered, so each is behind all its walls. */
function deviceProcesses(vmm: Program): number[] {
  vmm.waitFor("waiting\r\n");
  const children = childrenOf(vmm.pid);
  for (const pid of children) assert(commandLineOf(pid).includes("-machine remote"), commandLineOf(pid));
  return children;
}

const NOTHING = "0".repeat(16);
const FILTERED = "2";

testNeeding(
  [KVM, NAMESPACES, ROOT],
  "each device process of a machine is in a jail of its own",
  onStage((stage) => {
    const vmm = startGuest(stage, idle, { options: controllers(stage) });
    const processes = deviceProcesses(vmm);
    assertEquals(processes.length, 2);
    for (const pid of processes) {
      const status = statusOf(pid);
      assertEquals(status.get("NSpid"), `${pid}\t1`);
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) assertEquals(status.get(set), NOTHING);
      assertEquals([status.get("NoNewPrivs"), status.get("Groups")?.trim()], ["1", ""]);
      for (const thread of threadsOf(pid)) {
        assertEquals(/^Seccomp:\s*(\d)/m.exec(readProc(`/proc/${pid}/task/${thread}/status`))?.[1], FILTERED);
      }
      // What it started from was mounted on these, and has been taken away.
      const left = listDirectory(`/proc/${pid}/root`).filter((name) => listed(`/proc/${pid}/root/${name}`).length > 0);
      assertEquals(left.filter((name) => !onlyFolders(`/proc/${pid}/root/${name}`)), []);
      assert(readProc(`/proc/${pid}/limits`).match(/^Max core file size\s+0\s+0/m));
    }
    const users = processes.map((pid) => statusOf(pid).get("Uid")!.split("\t"));
    for (const ids of users) assert(new Set(ids).size === 1 && Number(ids[0]) >= 0x7000_0000, ids.join());
    assert(users[0][0] !== users[1][0], "they are different users");
    assertEquals(vmm.errors, "");
  }),
);

/** What is in a folder; nothing in what is none. */
function listed(path: string): string[] {
  try {
    return listDirectory(path);
  } catch {
    return [];
  }
}

/** Whether there is no file that has contents below a folder. */
function onlyFolders(path: string): boolean {
  return listed(path).every((name) => onlyFolders(`${path}/${name}`)) && readProc(path) === "";
}

testNeeding(
  [KVM],
  "a device process with sandbox=off has the rights of its VMM",
  onStage((stage) => {
    const vmm = startGuest(stage, idle, { options: controllers(stage, ",sandbox=off") });
    const own = statusOf(vmm.pid);
    for (const pid of deviceProcesses(vmm)) {
      const status = statusOf(pid);
      for (const field of ["Uid", "Gid", "CapEff", "NoNewPrivs", "Seccomp"]) {
        assertEquals(status.get(field), own.get(field), field);
      }
      assertEquals(status.get("NSpid"), String(pid));
    }
  }),
);

testNeeding(
  [KVM, NAMESPACES],
  "-sandbox off is for all devices but those that say otherwise",
  onStage((stage) => {
    const options = controllers(stage).map((word) => word.replace("id=lsi1", "id=lsi1,sandbox=on"));
    const processes = deviceProcesses(startGuest(stage, idle, { options: ["-sandbox", "off", ...options] }));
    const jailed = processes.filter((pid) => statusOf(pid).get("NoNewPrivs") === "1");
    assertEquals(jailed.map((pid) => /id=lsi\d/.exec(commandLineOf(pid))?.[0]), ["id=lsi1"]);
  }),
);
