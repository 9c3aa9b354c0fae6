/** Each wall by itself: what a child can do before it, and cannot behind it. */
import { assert, assertEquals } from "@std/assert";
import { Errno } from "../../../src/ffi/errno.ts";
import { createMemoryFile } from "../../../src/ffi/memory.ts";
import { closeFd, openFile, OpenFlags } from "../../../src/ffi/file.ts";
import { call, type ScriptCall } from "../../../src/ffi/jail/child_script.ts";
import { FileAccess, landlockVersion, restrictFiles } from "../../../src/ffi/jail/landlock.ts";
import { limitResources } from "../../../src/ffi/jail/limits.ts";
import { hideHostName, Namespace, replaceRoot, writeFile } from "../../../src/ffi/jail/namespaces.ts";
import {
  assumeIdentity,
  denyNewPrivileges,
  dropCapabilities,
  emptyBoundingSet,
  keepingDumpable,
} from "../../../src/ffi/jail/privileges.ts";
import { cString, syscalls } from "../../../src/ffi/syscall.ts";
import { behind, enterUserNamespace, LANDLOCK, NAMESPACES, ROOT, USER_NAMESPACE } from "../../support/jail.ts";
import { testNeeding } from "../../support/requirements.ts";

const AT_FDCWD = -100;
const [AF_INET, SOCK_STREAM] = [2, 1];
const ID = 0x7abc_def0;

function open(path: string, flags: number = OpenFlags.O_RDONLY): ScriptCall {
  return call("openat", [AT_FDCWD, cString(path), flags | OpenFlags.O_CLOEXEC, 0o600]);
}

/** Results as 0 for success, whatever it returned. */
function failures(results: readonly (number | undefined)[]): (number | undefined)[] {
  return results.map((result) => result !== undefined && result >= 0 ? 0 : result);
}

testNeeding([NAMESPACES], "a new root has what was put there, for reading only, and nothing else", () => {
  // This process's own, so that nothing but the root is in the way of writing.
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-root-" });
  Deno.writeTextFileSync(`${folder}/words`, "words");
  const entries = [
    { source: `${folder}/words`, target: "/data/file", isDirectory: false },
    { source: folder, target: "/usr/folder", isDirectory: true },
  ];
  const root = replaceRoot(entries, { links: [{ target: "/link", to: "usr/folder" }] });
  const calls = [
    ...["/data/file", "/link/words", "/..", "/etc/passwd", "/tmp", "/proc"].map((path) => open(path)),
    ...["/data/file", "/usr/folder/words"].map((path) => open(path, OpenFlags.O_WRONLY)),
    ...["/new", "/usr/folder/new"].map((path) => open(path, OpenFlags.O_WRONLY | OpenFlags.O_CREAT)),
  ];
  const { results } = behind([...enterUserNamespace(), ...root], calls, USER_NAMESPACE | Namespace.MOUNT);
  Deno.removeSync(folder, { recursive: true });
  assertEquals(failures(results.slice(0, 6)), [0, 0, 0, -Errno.ENOENT, -Errno.ENOENT, -Errno.ENOENT]);
  assertEquals(results.slice(6), new Array(4).fill(-Errno.EROFS));
});

Deno.test("a limit that is lower already stays as it is", () => {
  const lower = limitResources({ DESCRIPTORS: 20 });
  const higher = new Uint8Array(BigUint64Array.of(21n, 21n).buffer);
  const [, stillLow] = behind([...dropCapabilities(), ...lower, ...limitResources({ DESCRIPTORS: 1024 })], [
    call("getpid", []),
    call("prlimit64", [0, 7, higher, 0]),
  ]).results;
  assertEquals(stillLow, -Errno.EPERM);
});

testNeeding([NAMESPACES], "a /proc of its own shows a process no other", () => {
  const root = replaceRoot([], { proc: true });
  const calls = [
    call("getpid", []),
    open("/proc/self/status"),
    open("/proc/1/status"),
    open(`/proc/${Deno.pid}/status`),
  ];
  const namespaces = USER_NAMESPACE | Namespace.MOUNT | Namespace.PID;
  const { results: [pid, ...others] } = behind([...enterUserNamespace(), ...root], calls, namespaces);
  assertEquals([pid, failures(others)], [1, [0, 0, -Errno.ENOENT]]);
});

testNeeding([NAMESPACES], "a network of its own leads nowhere", () => {
  // 127.0.0.1:1, whose loopback interface is down.
  const address = Uint8Array.of(AF_INET, 0, 0, 1, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0);
  const fd = 900;
  const socket = call("socket", [AF_INET, SOCK_STREAM, 0]);
  const place = call("dup3", [{ resultOf: socket }, fd, 0]);
  const connect = call("connect", [fd, address, address.length]);
  const outcome = behind([...enterUserNamespace(), socket, place], [connect], USER_NAMESPACE | Namespace.NETWORK);
  assertEquals(outcome.results, [-101]); // ENETUNREACH
});

testNeeding([NAMESPACES], "the host's name is hidden without a change to it", () => {
  const names = [new Uint8Array(390), new Uint8Array(390)]; // struct utsname: six names of 65 bytes, the host's second
  const nodeName = (bytes: Uint8Array) => new TextDecoder().decode(bytes.subarray(65, bytes.indexOf(0, 65)));
  behind(
    [...enterUserNamespace(), hideHostName("nobody")],
    [call("uname", [names[0]])],
    USER_NAMESPACE | Namespace.UTS,
  );
  behind([], [call("uname", [names[1]])]);
  assertEquals(nodeName(names[0]), "nobody");
  assert(nodeName(names[1]) !== "nobody");
});

testNeeding([ROOT], "another identity is for good, and has no supplementary groups", () => {
  const calls = [
    ...[call("getuid", []), call("getegid", []), call("setresuid", [0, 0, 0])],
    ...[call("setgroups", [0, 0]), open("/etc/shadow")],
  ];
  const { results } = keepingDumpable(() => behind(assumeIdentity({ uid: ID, gid: ID }), calls));
  assertEquals(results, [ID, ID, -Errno.EPERM, -Errno.EPERM, -Errno.EACCES]);
});

testNeeding([ROOT], "this process can still be looked at after a child of its memory has changed its identity", () => {
  const PR_GET_DUMPABLE = 3;
  const before = syscalls().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
  keepingDumpable(() => behind(assumeIdentity({ uid: ID, gid: ID }), []));
  assertEquals(syscalls().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), before);
});

testNeeding([NAMESPACES], "capabilities that were dropped do not come back", () => {
  const header = new Uint8Array(Uint32Array.of(0x20080522, 0).buffer);
  const sets = new Uint32Array(6); // effective, permitted and inheritable, twice 32 bits of each
  const bytes = new Uint8Array(sets.buffer);
  const dropped = [...emptyBoundingSet(), ...dropCapabilities()];
  const all = new Uint8Array(24).fill(0xff);
  const calls = [
    call("capget", [header, bytes]),
    call("capset", [header, all]),
    call("prctl", [23, 0, 0, 0, 0]), // PR_CAPBSET_READ, CAP_CHOWN
    call("sethostname", [cString("x"), 1]),
  ];
  const namespaces = USER_NAMESPACE | Namespace.UTS;
  const { results } = behind([...enterUserNamespace(), ...dropped], calls, namespaces);
  assertEquals([results, [...sets]], [[0, -Errno.EPERM, 0, -Errno.EPERM], new Array(6).fill(0)]);
});

testNeeding([LANDLOCK], "Landlock leaves nothing but what is allowed, and what is open", () => {
  const inherited = openFile("/etc/passwd", OpenFlags.O_RDONLY);
  const access = FileAccess.READ_FILE | FileAccess.READ_DIRECTORY;
  const allowed = [
    { path: "/usr/bin", access, isDirectory: true },
    { path: "/etc/hostname", access, isDirectory: false },
    { path: "/no/such", access, isDirectory: true },
  ];
  const steps = [denyNewPrivileges(), ...restrictFiles(landlockVersion(), allowed)];
  const calls = [
    ...["/usr/bin/sh", "/usr/bin", "/etc/hostname", "/etc/passwd", "/usr", "/"].map((path) => open(path)),
    open("/etc/hostname", OpenFlags.O_WRONLY),
    open("/tmp/splitvm-no", OpenFlags.O_WRONLY | OpenFlags.O_CREAT),
    call("read", [inherited, new Uint8Array(4), 4]),
  ];
  const { results } = behind(steps, calls);
  closeFd(inherited);
  assertEquals(failures(results), [0, 0, 0, ...new Array(5).fill(-Errno.EACCES), 0]);
});

testNeeding([LANDLOCK], "where nothing is allowed, Landlock leaves nothing", () => {
  const execute = call("execve", [cString("/bin/true"), [cString("true")], []]);
  const steps = [denyNewPrivileges(), ...restrictFiles(landlockVersion(), [])];
  const { results, status } = behind(steps, [open("/"), open("/dev/null"), execute]);
  assertEquals([results, status], [new Array(3).fill(-Errno.EACCES), { code: 0 }]);
});

Deno.test("limits hold, and cannot be raised again but by root", () => {
  const memory = createMemoryFile("limits", 4096, false);
  const higher = new Uint8Array(BigUint64Array.of(1000n, 1000n).buffer);
  const drop = ROOT.isMet() ? dropCapabilities() : [];
  const steps = [...limitResources({ DESCRIPTORS: 20, FILE_SIZE: 8192 }), ...drop];
  const calls = [
    call("fcntl", [memory, 0, 30]), // F_DUPFD
    call("ftruncate", [memory, 8192]),
    call("prlimit64", [0, 7, higher, 0]),
  ];
  const { results } = behind(steps, calls);
  closeFd(memory);
  assertEquals(results, [-Errno.EINVAL, 0, -Errno.EPERM]);
});

Deno.test("text is written to a file by a script", () => {
  const path = Deno.makeTempFileSync();
  behind(writeFile(path, "words"), []);
  assertEquals(Deno.readTextFileSync(path), "words");
  Deno.removeSync(path);
});
