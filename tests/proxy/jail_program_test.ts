/** `splitvm jail`, used as one who starts device processes for another VMM uses it. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, createPipe, listDirectory, openFile, OpenFlags, readFd, writeFd } from "../../src/ffi/file.ts";
import { type ChildProcess, Signal, spawn } from "../../src/ffi/process.ts";
import { closeAll, createSocketPair } from "../../src/ffi/socket.ts";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { childEnvironment, readAll } from "../support/child.ts";
import { NAMESPACES } from "../support/jail.ts";
import { leakingNothing } from "../support/leaks.ts";
import { Board } from "../support/lsi_driver/board.ts";
import { LsiDriver, ramNeeded } from "../support/lsi_driver/lsi_driver.ts";
import { execute, makeReady, read10, SECTOR, write10 } from "../support/lsi_driver/scsi_disk.ts";
import { childrenOf, descriptorsOf, readProc, waitForState } from "../support/process_tree.ts";
import { testNeeding } from "../support/requirements.ts";

const LINK = 3;
const CONTROL = 40;
const READY = 41;
const FILE = 42;
const PATIENCE = 60_000;

/** A jailed device process with its jailer, from outside. */
interface Fixture {
  readonly image: string;
  readonly jailer: ChildProcess;
  /** Ends of the link, and of the socket for QMP. */
  readonly link: number;
  readonly control: number;
  readonly ready: number;
  readonly errors: number;
}

/** What is on descriptors of the jailer that its command line does not name. */
interface Options {
  readonly words?: readonly string[];
  /** A further descriptor for it: {@linkcode FILE}. */
  readonly file?: number;
}

function start(image: string, { words = [], file }: Options = {}): Fixture {
  const [[link, there], [control, controlThere]] = [createSocketPair(), createSocketPair()];
  const [[errors, errorsThere], [ready, readyThere]] = [createSocketPair(), createPipe()];
  const command = [
    ...[...selfCommand(), "jail", "--", "-machine", "remote", "-device", "lsi53c895a,id=lsi0"],
    ...["-drive", `id=d0,file=${image},format=raw,if=none`, "-device", "scsi-hd,drive=d0,bus=lsi0.0,scsi-id=0"],
    ...["-object", `remote-object,id=r,devid=lsi0,fd=${LINK}`, "-run-with", `ready-fd=${READY}`],
    ...["-chardev", `socket,id=c,fd=${CONTROL}`, "-mon", "chardev=c,mode=control", ...words],
  ];
  const gap = Array.from({ length: CONTROL - LINK - 1 }, (_, i): [number, null] => [LINK + 1 + i, null]);
  const given: [number, number | null][] = [[LINK, there], ...gap, [CONTROL, controlThere], [READY, readyThere]];
  const descriptors: [number, number | null][] = [[0, null], [1, null], [2, errorsThere], ...given];
  if (file !== undefined) descriptors.push([FILE, file]);
  const jailer = spawn({ command, env: childEnvironment(), descriptors: new Map(descriptors), ownGroup: true });
  closeAll([there, controlThere, errorsThere, readyThere]);
  return { image, jailer, link, control, ready, errors };
}

/** Waits until the device process has all open. */
function waitUntilReady({ ready }: Fixture): void {
  assert(pollFd(ready, Ready.IN, PATIENCE) !== 0);
  const text = new Uint8Array(8);
  assertEquals([readFd(ready, text), text[0]], [1, 0x0a]);
}

/** Waits for the jailer's end. */
function finish({ jailer, errors, control, ready }: Fixture) {
  if (pollFd(jailer.pidfd, Ready.IN, PATIENCE) === 0) jailer.kill(Signal.KILL);
  const status = jailer.wait();
  jailer.close();
  const text = readAll(errors);
  closeAll([errors, control, ready]);
  return { status, errors: text };
}

/** A test with an image of 64 KiB. */
function testJail(name: string, body: (image: string) => void): void {
  testNeeding(
    [NAMESPACES],
    name,
    leakingNothing(() => {
      const image = Deno.makeTempFileSync({ dir: "/var/tmp", prefix: "splitvm-jail-" });
      try {
        Deno.truncateSync(image, 65536);
        body(image);
      } finally {
        Deno.removeSync(image);
      }
    }),
  );
}

const field = (pid: number, name: string) =>
  new RegExp(`^${name}:\\s*(.*)`, "m").exec(readProc(`/proc/${pid}/status`))?.[1];

/** Writes a sector over the link and reads it back. */
function useDisk(fixture: Fixture): void {
  const board = new Board(fixture.link, ramNeeded({}));
  try {
    board.enableDevice();
    const driver = new LsiDriver(board, {});
    makeReady(driver);
    driver.buffer(0).set(new Uint8Array(SECTOR).fill(7));
    execute(driver, write10(3, 1), "out", SECTOR);
    execute(driver, read10(3, 1), "in", SECTOR);
    assertEquals(driver.buffer(0).slice(0, SECTOR), new Uint8Array(SECTOR).fill(7));
  } finally {
    board.close();
  }
}

testJail("splitvm jail serves a disk from a jail, and ends as the device process does", (image) => {
  const fixture = start(image);
  waitUntilReady(fixture);
  const [device, ...others] = childrenOf(fixture.jailer.pid);
  assertEquals(others, []);
  assertEquals([field(device, "NSpid"), field(device, "NoNewPrivs")], [`${device}\t1`, "1"]);
  assertEquals([field(device, "CapEff"), field(device, "Seccomp_filters")], ["0".repeat(16), "2"]);
  assertEquals(listDirectory(`/proc/${device}/root/proc`), []);
  useDisk(fixture);
  assertEquals(finish(fixture), { status: { code: 0 }, errors: "" });
  assertEquals(Deno.readFileSync(image).slice(3 * SECTOR, 4 * SECTOR), new Uint8Array(SECTOR).fill(7));
});

testJail("a device process in splitvm jail has the descriptors that its options name, and no other", (image) => {
  const secret = openFile("/etc/passwd", OpenFlags.O_RDONLY);
  const fixture = start(image, { file: secret });
  closeFd(secret);
  waitUntilReady(fixture);
  const [device] = childrenOf(fixture.jailer.pid);
  const numbers = descriptorsOf(device);
  assert(numbers.includes(LINK) && numbers.includes(CONTROL) && !numbers.includes(FILE), numbers.join());
  const greeting = new Uint8Array(4096);
  assertMatch(new TextDecoder().decode(greeting.subarray(0, readFd(fixture.control, greeting))), /^\{"QMP"/);
  closeFd(fixture.link);
  assertEquals(finish(fixture).status, { code: 0 });
});

testJail("an image that is open already is handed on, whatever its path is", (image) => {
  const file = openFile(image, OpenFlags.O_RDWR);
  const fixture = start("/nowhere/disk", { words: ["-add-fd", `fd=${FILE},set=1,opaque=/nowhere/disk`], file });
  closeFd(file);
  useDisk(fixture);
  assertEquals(finish(fixture).status, { code: 0 });
  assertEquals(Deno.readFileSync(image)[3 * SECTOR], 7);
});

testJail("an error of the device process is told as without a jail, and its status is passed on", (image) => {
  const fixture = start(image);
  waitUntilReady(fixture);
  writeFd(fixture.link, new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const { status, errors } = finish(fixture);
  closeFd(fixture.link);
  assertEquals(status, { code: 1 });
  assertMatch(errors, /^splitvm: [^\n]*remote-object r[^\n]*\n$/);
});

testJail("an image that is not there is an error before anything is started", (_image) => {
  const fixture = start("/nowhere/disk");
  const { status, errors } = finish(fixture);
  closeFd(fixture.link);
  assertEquals(status, { code: 1 });
  assertMatch(errors, /^splitvm jail: drive d0: Cannot open \/nowhere\/disk: there is no such file[^\n]*\n$/);
});

testJail("a descriptor that is not open, or is the runtime's own, is not taken for one that was given", (image) => {
  for (const number of [FILE, 200]) {
    const fixture = start(image, { words: ["-qmp", "chardev:q", "-chardev", `socket,id=q,fd=${number}`] });
    const { status, errors } = finish(fixture);
    closeFd(fixture.link);
    const why =
      `splitvm jail: character device q: fd ${number} is not an open descriptor that this process was given\n`;
    assertEquals([status, errors], [{ code: 1 }, why]);
  }
});

for (const name of ["TERM", "INT", "HUP", "QUIT"] as const) {
  testJail(`SIG${name} ends the device process, and then its jailer`, (image) => {
    const fixture = start(image);
    waitUntilReady(fixture);
    const [device] = childrenOf(fixture.jailer.pid);
    fixture.jailer.kill(Signal[name]);
    assertEquals(finish(fixture), { status: { code: 128 + Signal[name] }, errors: "" });
    assertEquals(readProc(`/proc/${device}/status`), "");
    closeFd(fixture.link);
  });
}

testJail("a device process does not outlive a jailer that is killed", (image) => {
  const fixture = start(image);
  waitUntilReady(fixture);
  fixture.jailer.kill(Signal.KILL);
  assertEquals(finish(fixture).status, { signal: Signal.KILL });
  // Its end of the link closes when it has ended.
  assert(pollFd(fixture.link, Ready.IN, PATIENCE) !== 0);
  closeFd(fixture.link);
});

testJail("a device process stops and goes on with its jailer", (image) => {
  const fixture = start(image);
  waitUntilReady(fixture);
  const [device] = childrenOf(fixture.jailer.pid);
  fixture.jailer.kill(Signal.TSTP);
  waitForState(() => device, "T");
  waitForState(() => fixture.jailer.pid, "T");
  fixture.jailer.kill(Signal.CONT);
  useDisk(fixture);
  assertEquals(finish(fixture).status, { code: 0 });
});

testJail("a device process that is ended by force is told of", (image) => {
  const fixture = start(image);
  waitUntilReady(fixture);
  const [device] = childrenOf(fixture.jailer.pid);
  Deno.kill(device, "SIGKILL");
  const { status, errors } = finish(fixture);
  closeFd(fixture.link);
  assertEquals(status, { code: 128 + Signal.KILL });
  assertEquals(errors, "splitvm: the device process was ended by signal 9\n");
});
