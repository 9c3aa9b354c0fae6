import { assert, assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { openDriveFiles } from "../../src/block/image_files.ts";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { SyscallError } from "../../src/ffi/errno.ts";
import { closeFd, isOpenFd, readFd, writeFd } from "../../src/ffi/file.ts";
import { securityModule } from "../../src/ffi/jail/security_context.ts";
import type { Filter } from "../../src/ffi/jail/seccomp.ts";
import { Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import type { ControllerConfig, DriveConfig } from "../../src/options/storage.ts";
import { reapDeviceProcess, spawnJailedDeviceProcess } from "../../src/proxy/device_process.ts";
import { freshIdentity, type Isolation, type JailedProcess, spawnJailed } from "../../src/proxy/jail.ts";
import { SELF_ENVIRONMENT, selfCommand } from "../../src/vmm/self_command.ts";
import { IO_URING } from "../block/host_support.ts";
import { readAll } from "../support/child.ts";
import { LANDLOCK, NAMESPACES, ROOT } from "../support/jail.ts";
import { leakingNothing } from "../support/leaks.ts";
import { Board } from "../support/lsi_driver/board.ts";
import { LsiDriver, ramNeeded } from "../support/lsi_driver/lsi_driver.ts";
import { execute, makeReady, read10, SECTOR, synchronizeCache10, write10 } from "../support/lsi_driver/scsi_disk.ts";
import { rawSyscall } from "../support/raw_syscall.ts";
import { testNeeding } from "../support/requirements.ts";

const SHELL = "/bin/sh";
const ENV = { PATH: "/usr/bin:/bin" };

/** Where the modules are that splitvm is run from here. */
const REPOSITORY = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const CACHE = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;

/** A shell makes other system calls than a device process: what these walls are for, they have to do by themselves. */
const NO_FILTER: Filter = { rules: [], otherwise: "allow" };

/** A shell in a jail, with a socket on descriptor 3. */
function jailedShell(script: string, options: { isolations?: Isolation[]; readable?: string[] } = {}) {
  const [ours, theirs] = createSocketPair();
  const identity = freshIdentity();
  const command = [SHELL, "-c", script];
  const descriptors = new Map([[0, null], [1, theirs], [2, theirs], [3, theirs]]);
  const jailed = spawnJailed({ command, env: ENV, descriptors, identity, filter: NO_FILTER, ...options });
  closeFd(theirs);
  return { ...jailed, identity, socket: ours };
}

/** All that a shell prints, and how it ended. */
function finish({ process, socket }: Pick<JailedProcess, "process"> & { readonly socket: number }) {
  const text = readAll(socket);
  const status = process.wait();
  process.close();
  closeFd(socket);
  return { text, status };
}

/** The same script without a jail. */
function freeShell(script: string) {
  const [socket, theirs] = createSocketPair();
  const descriptors = new Map([[0, null], [1, theirs], [2, theirs], [3, theirs]]);
  const process = spawn({ command: [SHELL, "-c", script], env: ENV, descriptors });
  closeFd(theirs);
  return finish({ process, socket });
}

const STATUS = "while read -r line; do echo $line; done < /proc/self/status";

function statusFields(text: string): Map<string, string> {
  return new Map(text.split("\n").map((line) => line.split(": ") as [string, string]));
}

testNeeding(
  [NAMESPACES],
  "a jailed process is the first of its pid namespace, and has no capabilities and no way to any",
  leakingNothing(() => {
    const { text, status } = finish(jailedShell(STATUS));
    const fields = statusFields(text);
    assertEquals(status, { code: 0 });
    assertEquals(fields.get("Pid"), "1");
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) assertEquals(fields.get(set), "0".repeat(16));
    assertEquals([fields.get("NoNewPrivs"), fields.get("Seccomp")], ["1", "2"]);
  }),
);

testNeeding([NAMESPACES, ROOT], "root's jailed processes have an identity each, and nothing is missing", () => {
  const shells = [jailedShell(STATUS), jailedShell(STATUS)];
  for (const shell of shells) {
    const fields = statusFields(finish(shell).text);
    assertEquals(fields.get("Uid"), new Array(4).fill(shell.identity.uid).join(" "));
    assertEquals(fields.get("Gid"), new Array(4).fill(shell.identity.gid).join(" "));
    assertEquals(fields.get("Groups") ?? "", "");
    assertEquals(shell.missing, []);
  }
  assert(shells[0].identity.uid !== shells[1].identity.uid);
});

/** What comes of something that is done while this process's files would have no other permissions. */
function underUmask<T>(mask: number, action: () => T): T {
  const before = rawSyscall("umask", mask);
  try {
    return action();
  } finally {
    rawSyscall("umask", before);
  }
}

for (const mask of [0, 0o027, 0o077, 0o777]) {
  const name = mask.toString(8).padStart(3, "0");
  testNeeding(
    [NAMESPACES],
    `started under umask ${name}, a process is jailed as under any other, and makes nothing for others`,
    () => {
      const folder = Deno.makeTempDirSync({ dir: "/var/tmp" });
      Deno.chmodSync(folder, 0o755);
      Deno.writeTextFileSync(`${folder}/words`, "words\n");
      Deno.chmodSync(`${folder}/words`, 0o644);
      const script = `while read -r line; do echo $line; done < ${folder}/words; ${STATUS}`;
      for (const isolation of ["full", "host pids"] as const) {
        const shell = underUmask(mask, () => jailedShell(script, { isolations: [isolation], readable: [folder] }));
        const { text, status } = finish(shell);
        assertEquals([text.split("\n")[0], status], ["words", { code: 0 }]);
        assertEquals(statusFields(text).get("Umask"), "0077");
      }
      // Whatever is missing here is missing under any umask.
      const usual = jailedShell("exit 0");
      finish(usual);
      const shell = underUmask(mask, () => jailedShell("exit 0"));
      assertEquals([finish(shell).status, shell.missing], [{ code: 0 }, usual.missing]);
      Deno.removeSync(folder, { recursive: true });
    },
  );
}

/** What a shell tries: it ends with status 0 where it can. */
const ATTEMPTS: Readonly<Record<string, string>> = {
  "to read a file": ": < /etc/passwd",
  "to make a file": `: > /var/tmp/splitvm-jail-${Deno.pid}`,
  "to change into the folder of others": "cd /usr/share",
  "to look at its parent": `: < /proc/${Deno.pid}/status`,
  "to signal its parent": `kill -0 ${Deno.pid}`,
  "to execute a program": "exec /bin/true",
  "to open a device": ": < /dev/zero",
};

for (const [name, script] of Object.entries(ATTEMPTS)) {
  testNeeding([NAMESPACES], `a jailed process is not able ${name}, as one without a jail is`, () => {
    assertEquals(freeShell(script).status, { code: 0 });
    assertNotEquals(finish(jailedShell(script)).status, { code: 0 });
  });
}

testNeeding([LANDLOCK], "without namespaces the other walls stand, and the jail says so", () => {
  const isolations: Isolation[] = ["none"];
  const shell = jailedShell(STATUS, { isolations });
  const fields = statusFields(finish(shell).text);
  assertEquals([fields.get("CapEff"), fields.get("Seccomp")], ["0".repeat(16), "2"]);
  assertEquals(shell.missing[0], { wall: "namespaces", why: "it was not asked for" });
  for (const name of ["to read a file", "to make a file", "to execute a program"]) {
    assertNotEquals(finish(jailedShell(ATTEMPTS[name], { isolations })).status, { code: 0 });
  }
});

testNeeding([NAMESPACES], "with the host's process ids, a jailed process has all the rest", () => {
  const shell = jailedShell(STATUS, { isolations: ["host pids"] });
  const fields = statusFields(finish(shell).text);
  assertEquals([fields.get("CapEff"), shell.missing[0]], [
    "0".repeat(16),
    { wall: "a pid namespace", why: "it was not asked for" },
  ]);
  assertNotEquals(finish(jailedShell(": < /etc/passwd", { isolations: ["host pids"] })).status, { code: 0 });
});

testNeeding([NAMESPACES], "a root that is emptied has nothing any more, under a process that runs", () => {
  // What something was mounted on stays, and is empty.
  const shell = jailedShell(
    "echo runs; read x <&3; for f in /sh /proc/self /lib64/*.so*; do test -s $f && echo $f; done; echo end",
  );
  // Until it says so, it may have to open its libraries yet.
  const greeting = new Uint8Array(64);
  assertEquals(new TextDecoder().decode(greeting.subarray(0, readFd(shell.socket, greeting))), "runs\n");
  assertEquals(shell.emptyRoot(), undefined);
  writeFd(shell.socket, new TextEncoder().encode("go\n"));
  assertEquals(finish(shell), { text: "end\n", status: { code: 0 } });
});

testNeeding([NAMESPACES], "a root that cannot be emptied is a wall that is missing", () => {
  const shell = jailedShell("exit 0");
  const { process, socket } = shell;
  readAll(socket);
  process.wait();
  const { wall, why } = shell.emptyRoot()!;
  assertEquals(wall, "an empty root");
  assertMatch(why, /^openat\(\/proc\/\d+\/root\)/);
  process.close();
  closeFd(socket);
});

testNeeding([NAMESPACES], "what is readable besides is there, and cannot be written", () => {
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp" });
  Deno.chmodSync(folder, 0o777);
  Deno.writeTextFileSync(`${folder}/words`, "words\n");
  const script = `read -r word < ${folder}/words; echo $word; : > ${folder}/new`;
  const { text, status } = finish(jailedShell(script, { readable: [folder] }));
  assert(text.startsWith("words\n"), text);
  assertNotEquals(status, { code: 0 });
  Deno.removeSync(folder, { recursive: true });
});

Deno.test(
  "a program that cannot be started is an error, and leaves nothing",
  leakingNothing(() => {
    const options = { command: ["/no/such"], env: {}, descriptors: new Map(), identity: freshIdentity() };
    assertThrows(() => spawnJailed(options), SyscallError, "ENOENT");
  }),
);

Deno.test(
  "a context that the host has no module for, or does not know, is an error, and leaves nothing",
  leakingNothing(() => {
    const options = { command: [SHELL], env: {}, descriptors: new Map(), identity: freshIdentity() };
    const spawn = () => spawnJailed({ ...options, securityContext: "splitvm-no-such-profile" });
    if (securityModule() === undefined) {
      assertThrows(spawn, Error, "secontext=splitvm-no-such-profile: this host has neither SELinux nor AppArmor on");
    } else {
      assertThrows(spawn, SyscallError);
    }
  }),
);

testNeeding([NAMESPACES], "a jailed process does not outlive whoever started it", () => {
  const [ours, theirs] = createSocketPair();
  const module = new URL("./jailing_program.ts", import.meta.url).pathname;
  const parent = spawn({
    command: [Deno.execPath(), "run", "--quiet", "--allow-ffi", `--config=${REPOSITORY}/deno.json`, module],
    env: { ...SELF_ENVIRONMENT, HOME: Deno.env.get("HOME") ?? "/", DENO_DIR: CACHE },
    descriptors: new Map([[0, null], [1, theirs], [2, theirs], [3, theirs]]),
  });
  closeFd(theirs);
  const greeting = new Uint8Array(64);
  const length = readFd(ours, greeting);
  assertEquals(new TextDecoder().decode(greeting.subarray(0, length)), "jailed\n");
  parent.kill(Signal.KILL);
  parent.wait();
  parent.close();
  // The end comes when nobody has the other end any more: the jailed process had it, and waits for nothing else.
  assert(pollFd(ours, Ready.IN, 30_000) !== 0);
  assertEquals(readAll(ours), "");
  closeFd(ours);
});

const DRIVE: Omit<DriveConfig, "file" | "aio"> = {
  ...{ id: "d0", format: "raw", readOnly: false, snapshot: false, cache: "writeback" },
  ...{ discard: true, detectZeroes: "off" },
};

function controllerWith(drive: DriveConfig): ControllerConfig {
  const disk = {
    ...{ id: undefined, drive, scsiId: 0, lun: 0, serial: undefined, vendor: "V", product: "P", version: "1" },
    ...{ wwn: undefined, logicalBlockSize: 512, physicalBlockSize: 512 },
    ...{ readErrors: "report", writeErrors: "report" } as const,
  };
  return { driver: "lsi53c895a", id: "lsi0", disks: [disk] };
}

for (const aio of ["threads", "io_uring"] as const) {
  testNeeding([NAMESPACES, IO_URING], `a jailed device process serves a disk by aio=${aio}`, () => {
    const file = Deno.makeTempFileSync({ dir: "/var/tmp", prefix: "splitvm-jail-" });
    Deno.truncateSync(file, 65536);
    const drive = { ...DRIVE, file, aio };
    const files = openDriveFiles(drive);
    const self = { command: selfCommand(), env: { ...SELF_ENVIRONMENT, HOME: "/nowhere", DENO_DIR: CACHE } };
    const jailed = spawnJailedDeviceProcess(self, controllerWith(drive), { files, readable: [REPOSITORY, CACHE] });
    assertEquals(files.filter(({ fd }) => isOpenFd(fd)), []);
    const board = new Board(jailed.fd, ramNeeded({}));
    try {
      board.enableDevice();
      const driver = new LsiDriver(board, {});
      makeReady(driver);
      assertEquals(jailed.emptyRoot(), undefined);
      driver.buffer(0).set(new Uint8Array(8 * SECTOR).fill(7));
      execute(driver, write10(3, 8), "out", 8 * SECTOR);
      execute(driver, synchronizeCache10());
      execute(driver, read10(10, 1), "in", SECTOR);
      assertEquals(driver.buffer(0).slice(0, SECTOR), new Uint8Array(SECTOR).fill(7));
    } finally {
      board.close();
      closeFd(jailed.control);
      assertEquals(reapDeviceProcess(jailed), { code: 0 });
    }
    assertEquals(Deno.readFileSync(file).slice(3 * SECTOR, 11 * SECTOR), new Uint8Array(8 * SECTOR).fill(7));
    Deno.removeSync(file);
  });
}
