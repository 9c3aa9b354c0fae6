/**
 * Runs real executables: deno with a probe for a program. It takes no QEMU, no KVM and no network.
 */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { cString, syscalls } from "../../../src/ffi/syscall.ts";
import { buildExecutable, writeExecutable } from "../../../tools/compile/executable.ts";

const MAIN_URL = "file:///proc/self/fd/219?219,220";
const PERMISSIONS = ["--allow-read", "--allow-ffi", "--allow-env"];

let folder: string;
let executable: string;

async function build(): Promise<Uint8Array<ArrayBuffer>> {
  return await buildExecutable({
    deno: Deno.execPath(),
    modules: [
      await Deno.readFile(new URL("probe.js", import.meta.url)),
      new TextEncoder().encode('export const name = "the other module";'),
    ],
    permissions: PERMISSIONS,
  });
}

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
  executable = `${folder}/bin/probe`;
  await writeExecutable(executable, await build());
});

Deno.test.afterAll(async () => {
  await Deno.remove(folder, { recursive: true });
});

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(command: string, args: string[], options: Deno.CommandOptions = {}): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, ...options }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Runs the probe. */
const probe = (args: string[], options?: Deno.CommandOptions) => run(executable, args, options);

/** Runs a shell command in which `"$0"` is the probe. */
const shell = (script: string, options?: Deno.CommandOptions) => run("sh", ["-c", script, executable], options);

/** What the probe says of itself. */
function report(outcome: Outcome) {
  assertEquals([outcome.code, outcome.stderr], [0, ""]);
  return JSON.parse(outcome.stdout);
}

Deno.test("Arguments arrive as they were given, those that deno would understand included", async () => {
  const args = ["-A", "--allow-net", "--help", "--", "", "two words", "@file", "-"];
  assertEquals(report(await probe(["report", ...args])).args, args);
});

Deno.test("Thousands of arguments and variables arrive", async () => {
  const args = Array.from({ length: 20_000 }, (_, i) => `a${i}`);
  const env = Object.fromEntries(args.map((name) => [name, "1"]));
  const { args: arrived, environment } = report(await probe(["report", ...args], { env, clearEnv: true }));
  assertEquals(arrived.length, args.length);
  assertEquals([environment.a0, environment.a19999], ["1", "1"]);
});

Deno.test("The exit status is the program's", async () => {
  assertEquals((await probe(["exit", "42"])).code, 42);
});

Deno.test("The program is the main module, and the executable's path is its own", async () => {
  const { url, main, exe } = report(await probe(["report"]));
  assertEquals([url, main, exe], [MAIN_URL, true, await Deno.realPath(executable)]);
});

Deno.test("An uncaught error shows the program's names and lines", async () => {
  const { code, stderr } = await probe(["throw"], { env: { NO_COLOR: "1" } });
  assertEquals(code, 1);
  assertMatch(stderr, /TypeError: the probe's error/);
  assertMatch(stderr, /at Object\.throw \(file:\/\/\/proc\/self\/fd\/219\?219,220:\d+:\d+\)/);
});

Deno.test("The main module imports the others by the descriptors that its URL names", async () => {
  assertEquals(report(await probe(["import"])), "the other module");
});

Deno.test("Workers start from the main module's URL and open libraries", async () => {
  assertEquals(report(await probe(["worker"])), { url: MAIN_URL, system: 0 });
});

Deno.test("A descriptor that the caller leaves open is inherited", async () => {
  assertEquals((await shell('exec "$0" write 5 5>&1')).stdout, MAIN_URL);
});

Deno.test("A descriptor that the caller has where the program should be is left alone", async () => {
  // Not every shell knows descriptors of more than one digit, so a shell is not the one who opens it.
  const s = syscalls();
  const file = `${folder}/inherited`;
  const fd = s.openat(-100, cString(file), 0o102, 0o600); // AT_FDCWD, O_RDWR | O_CREAT, not closed on exec
  assert(fd >= 0);
  try {
    const F_DUPFD = 0;
    assertEquals(s.fcntl(fd, F_DUPFD, 219), 219);
    assertEquals((await probe(["write", "219"])).code, 0);
    assertEquals(await Deno.readTextFile(file), "file:///proc/self/fd/220?220,221");
  } finally {
    s.close(219);
    s.close(fd);
  }
});

Deno.test("A limit on descriptors below the program's moves the program", async () => {
  const { url } = report(await shell('ulimit -n 100; exec "$0" report'));
  assertMatch(url, /^file:\/\/\/proc\/self\/fd\/([3-9]|\d\d)\?\1,\d+$/);
});

Deno.test("A process that cannot store the program says in one line which call failed", async () => {
  const EMFILE = 24;
  assertEquals(await shell('ulimit -n 4; exec "$0" report'), {
    code: 1,
    stdout: "",
    stderr: `splitvm: cannot place the program in memory: fcntl failed with errno ${EMFILE}\n`,
  });
});

Deno.test("A child that is the executable again has a program of its own", async () => {
  assertEquals(report(await probe(["child"])).url, MAIN_URL);
});

Deno.test("The stored program cannot be overwritten", async () => {
  assertEquals(report(await probe(["overwrite"])), -1);
});

Deno.test("Closed standard streams are survived", async () => {
  assertEquals((await shell('"$0" exit 5 <&- >&- 2>&-')).code, 5);
});

Deno.test("Signals reach the program", async () => {
  const process = new Deno.Command(executable, { args: ["signal"], stdout: "piped" }).spawn();
  const reader = process.stdout.getReader();
  await reader.read();
  process.kill("SIGTERM");
  assertEquals((await process.status).code, 7);
  await reader.cancel();
});

Deno.test("It runs in an empty environment, by way of a symbolic link", async () => {
  const link = `${folder}/link`;
  // Deno's own function would need to be allowed to write anywhere.
  assertEquals((await shell(`ln -s "$0" '${link}'`)).code, 0);
  assertEquals(report(await run(link, ["report"], { clearEnv: true, cwd: "/" })).url, MAIN_URL);
});

Deno.test("Variables that configure deno do nothing and do not arrive; others do", async () => {
  const hostile = {
    DENO_V8_FLAGS: "--no-such-flag",
    DENO_COVERAGE_DIR: folder,
    NODE_OPTIONS: "--require=/nonexistent",
    NPM_CONFIG_REGISTRY: "not a URL",
    OTEL_DENO: "true",
    RUST_MIN_STACK: "1",
  };
  const { environment } = report(await probe(["report"], { env: { ...hostile, DENOMINATOR: "1", HOMER: "2" } }));
  for (const name of Object.keys(hostile)) assertEquals(environment[name], undefined, name);
  assertEquals([environment.DENOMINATOR, environment.HOMER], ["1", "2"]);
});

Deno.test("Configuration files in the working and home folders do nothing, and nothing is written there", async () => {
  const home = `${folder}/home`;
  const files = ["deno.json", "package.json", ".npmrc", ".env"];
  await Deno.mkdir(home);
  for (const name of files) await Deno.writeTextFile(`${home}/${name}`, "@scope:registry={not a URL\n");
  const { args } = report(await probe(["report", "a"], { cwd: home, env: { HOME: home, XDG_CACHE_HOME: home } }));
  assertEquals(args, ["a"]);
  assertEquals(Array.from(Deno.readDirSync(home), ({ name }) => name).sort(), files.sort());
});

/** Runs a shell command with a terminal for its standard input and error; returns its standard output and the terminal's. */
async function onTerminal(script: string): Promise<{ stdout: string; terminal: string }> {
  const [TIOCSPTLCK, TIOCGPTN] = [0x40045431, 0x80045430]; // asm-generic/ioctls.h
  const s = syscalls();
  const master = s.openat(-100, cString("/dev/ptmx"), 0o2004402, 0); // O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC
  assert(master >= 0);
  try {
    const number = new Uint8Array(4);
    assertEquals(s.ioctl_buffer(master, TIOCSPTLCK, number), 0);
    assertEquals(s.ioctl_buffer(master, TIOCGPTN, number), 0);
    const terminal = `/dev/pts/${new DataView(number.buffer).getInt32(0, true)}`;
    const { stdout } = await shell(`${script} <${terminal} 2>${terminal}`);
    const output = new Uint8Array(4096);
    const length = s.read(master, output, output.length);
    return { stdout, terminal: new TextDecoder().decode(output.subarray(0, Math.max(length, 0))) };
  } finally {
    s.close(master);
  }
}

Deno.test("On a terminal deno says nothing of its own, and does not ask for permissions", async () => {
  assertEquals(await onTerminal('exec "$0" denied'), { stdout: '"NotCapable"\n', terminal: "" });
});

Deno.test("On a terminal errors are shown", async () => {
  assertMatch((await onTerminal('NO_COLOR=1 exec "$0" throw')).terminal, /TypeError: the probe's error/);
});

Deno.test("The same program gives the same executable", async () => {
  const digest = async (bytes: Uint8Array<ArrayBuffer>) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  assertEquals(await digest(await build()), await digest(await Deno.readFile(executable)));
});

Deno.test("An executable replaces another that is running, whole and executable for everyone", async () => {
  const process = new Deno.Command(executable, { args: ["signal"], stdout: "piped" }).spawn();
  const reader = process.stdout.getReader();
  await reader.read();
  const before = await Deno.stat(executable);
  await writeExecutable(executable, await Deno.readFile(executable));
  const after = await Deno.stat(executable);
  process.kill("SIGTERM");
  assertEquals((await process.status).code, 7);
  await reader.cancel();
  assertNotEquals(after.ino, before.ino);
  assertEquals(after.mode! & 0o777, 0o755);
  assertEquals(Array.from(Deno.readDirSync(`${folder}/bin`), ({ name }) => name), ["probe"]);
});

Deno.test("A deno that is a script is refused with its path", async () => {
  const script = `${folder}/deno`;
  await Deno.writeTextFile(script, "#!/usr/bin/env node\n");
  await assertRejects(
    () => buildExecutable({ deno: script, modules: [new Uint8Array(1)], permissions: [] }),
    Error,
    `Cannot use ${script} as the deno executable`,
  );
});
