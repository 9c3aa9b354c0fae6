/**
 * What a device process that somebody has taken over can try, tried by a program in each of four places: without a jail, where it has
 * to succeed, or the others would show nothing; behind the walls without filters; behind the filter without walls, as the same user in the
 * same namespaces; and in a whole jail.
 */
import { assert, assertEquals } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import type { Filter } from "../../src/ffi/jail/seccomp.ts";
import { type ChildProcess, type ExitStatus, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { listenAt } from "../../src/ffi/unix_socket.ts";
import { freshIdentity, spawnJailed } from "../../src/proxy/jail.ts";
import { SELF_ENVIRONMENT } from "../../src/vmm/self_command.ts";
import { readAll } from "../support/child.ts";
import { NAMESPACES, ROOT } from "../support/jail.ts";
import { leakingNothing } from "../support/leaks.ts";
import { type Requirement, testNeeding } from "../support/requirements.ts";

const REPOSITORY = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const CACHE = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
const ENV = { ...SELF_ENVIRONMENT, NO_COLOR: "1", HOME: "/nowhere", DENO_DIR: CACHE };
const NO_FILTER: Filter = { rules: [], otherwise: "allow" };
const SIGSYS = 31;
const ENOPROTOOPT = 92;

/** Where a program tries something. */
type Place = "no jail" | "walls" | "filter" | "jail";

interface Outcome {
  readonly status: ExitStatus;
  /** What the kernel answered; `undefined` where the program did not live to tell. */
  readonly result: number | undefined;
}

function startAt(place: Place, command: readonly string[], output: number): ChildProcess {
  const descriptors = new Map([[0, null], [1, output], [2, output]]);
  if (place === "no jail" || place === "filter") return spawn({ command, env: ENV, descriptors });
  const filter = place === "walls" ? NO_FILTER : undefined;
  return spawnJailed({
    command,
    env: ENV,
    descriptors,
    readable: [REPOSITORY, CACHE],
    identity: freshIdentity(),
    filter,
  }).process;
}

/** Tries something, with somebody who listens. */
function attempt(name: string, place: Place): Outcome {
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-escape-" });
  const listener = listenAt(`${folder}/socket`);
  const [ours, theirs] = createSocketPair();
  try {
    const mode = place === "jail" || place === "filter" ? "locked" : "free";
    const process = startAt(place, [
      ...[Deno.execPath(), "run", "--quiet", "--allow-ffi", "--allow-read", "--no-prompt", "--no-code-cache"],
      ...[`--config=${REPOSITORY}/deno.json`, `${REPOSITORY}/tests/proxy/escaping_program.ts`],
      ...[name, mode, String(Deno.pid), `${folder}/socket`],
    ], theirs);
    closeFd(theirs);
    const text = readAll(ours).trim();
    const status = process.wait();
    process.close();
    if (!/^(-?\d+)?$/.test(text)) throw new Error(`The program says: ${text}`);
    return { status, result: text === "" ? undefined : Number(text) };
  } finally {
    closeFd(ours);
    listener.close();
    Deno.removeSync(folder, { recursive: true });
  }
}

/** What stands in the way behind the walls alone: the call is made, and fails. */
const DENIED_BY_WALLS = [
  "open a file",
  "look at its parent in /proc",
  "connect",
  "execute a program",
  "trace its parent",
  "signal its parent",
  "signal a thread of its parent",
  "look at its parent's limits",
  "set its parent's limits",
  "get hold of its parent",
  "mount",
  "become root",
];

const PEER_PIDFD = "get a pidfd of who has a socket's other end";

/** What is harmless behind the walls, or of no use, and denied by the filter all the same. */
const DENIED_BY_FILTER = ["fork", "open a socket", "map code out of a file", "set up io_uring", PEER_PIDFD];

const PEER_PIDFDS: Requirement = {
  name: "pidfds of peers",
  remedy: "boot Linux 6.5 or later",
  isMet: () => attempt(PEER_PIDFD, "no jail").result !== -ENOPROTOOPT,
};

testNeeding([NAMESPACES], "a process that tries nothing lives on in a jail as without one", () => {
  assert(attempt("live on", "no jail").result! > 1);
  for (const place of ["walls", "jail"] as const) {
    assertEquals(attempt("live on", place), { status: { code: 0 }, result: 1 }, place);
  }
});

testNeeding([NAMESPACES], "a process can signal itself anywhere, as abort(3) does", () => {
  for (const place of ["no jail", "walls", "filter", "jail"] as const) {
    assertEquals(attempt("signal itself", place), { status: { code: 0 }, result: 0 }, place);
  }
});

for (const name of [...DENIED_BY_WALLS, ...DENIED_BY_FILTER]) {
  testNeeding(
    [NAMESPACES, ROOT, ...name === PEER_PIDFD ? [PEER_PIDFDS] : []],
    `a process tries to ${name}: it can without a jail, and cannot in one`,
    leakingNothing(() => {
      const free = attempt(name, "no jail");
      assertEquals(free.status, { code: 0 });
      // Whoever executes another program has nothing more to say.
      assert(free.result === undefined ? name === "execute a program" : free.result >= 0, `${free.result}`);
      if (DENIED_BY_WALLS.includes(name)) assert(attempt(name, "walls").result! < 0);
      for (const place of ["filter", "jail"] as const) {
        const { status, result } = attempt(name, place);
        if (result === undefined) assertEquals(status, { signal: SIGSYS }, place);
        else assert(result < 0, `${place}: ${result}`);
      }
    }),
  );
}
