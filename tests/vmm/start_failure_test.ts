import { assertEquals, assertStrictEquals } from "@std/assert";
import { errorChain } from "../../src/error_chain.ts";
import { Epoll } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { LinkError } from "../../src/link/link_error.ts";
import type { Watcher } from "../../src/qmp/connection.ts";
import { explainFailedStart } from "../../src/vmm/start_failure.ts";
import { leakingNothingAwaited } from "../support/leaks.ts";

/** Looks once a millisecond, in the place of the control thread's watcher. */
const watcher: Watcher = {
  watch(fd, events, ready) {
    const epoll = new Epoll(1);
    epoll.add(fd, events);
    const timer = setInterval(() => epoll.wait(0, () => ready(events)), 1);
    let open = true;
    return {
      modify() {},
      cancel() {
        clearInterval(timer);
        if (open) epoll.close();
        open = false;
      },
    };
  },
};

const closed = new LinkError("the peer closed the link", "closed");

/** What is told of a process that runs a shell script, its control socket as its standard output. */
async function explain(script: string, error: Error): Promise<unknown> {
  const [control, theirs] = createSocketPair();
  const child = spawn({
    command: ["/bin/sh", "-c", script],
    env: { PATH: "/usr/bin:/bin" },
    descriptors: new Map([[1, theirs]]),
  });
  closeFd(theirs);
  try {
    return await explainFailedStart(error, { pidfd: child.pidfd, control }, watcher);
  } finally {
    child.kill(Signal.KILL);
    child.wait();
    child.close();
    closeFd(control);
  }
}

const refusal = (desc: string) => `{"error": {"class": "GenericError", "desc": ${JSON.stringify(desc)}}}`;

for (
  const { what, script, told } of [
    {
      what: "has said why",
      script: `echo '${refusal("drive d0: its version is 9")}'; exit 1`,
      told: "its process exited with status 1: drive d0: its version is 9",
    },
    { what: "has said nothing", script: "exit 3", told: "its process exited with status 3" },
    { what: "was killed", script: "kill -SEGV $$", told: "its process was killed by signal 11" },
    {
      what: "was lost when it had greeted already",
      script: `echo '{"QMP": {}}'; exit 1`,
      told: "its process exited with status 1",
    },
    {
      what: "has written what a terminal would obey",
      script: `printf '%s' '{"error": {"desc": "\\u001b[2Jx"}}'; exit 1`,
      told: "its process exited with status 1: \\x1b[2Jx",
    },
    {
      what: "has written garbage",
      script: "head -c 3000 /dev/urandom; exit 1",
      told: "its process exited with status 1",
    },
    {
      what: "has written without an end",
      script: "head -c 100000 /dev/zero; exit 1",
      told: "its process exited with status 1",
    },
    {
      what: "has a long story to tell",
      script: `echo '${refusal("x".repeat(5_000))}'; exit 1`,
      told: `its process exited with status 1: ${"x".repeat(1_000)}`,
    },
  ]
) {
  Deno.test(
    `of a new process that ${what}, its end is told`,
    leakingNothingAwaited(async () => assertEquals(errorChain(await explain(script, closed)), told)),
  );
}

Deno.test(
  "of one that closed its link and lives on, it is told that the link was closed",
  leakingNothingAwaited(async () => assertStrictEquals(await explain("exec sleep 1000", closed), closed)),
);

Deno.test(
  "of one that broke the rules, its end is not waited for",
  leakingNothingAwaited(async () => {
    const error = new LinkError("unknown command 99");
    assertStrictEquals(await explain("exit 1", error), error);
  }),
);
