import { assertEquals } from "@std/assert";
import { type ChildProcess, Signal, spawn } from "../../src/ffi/process.ts";
import { LinkError } from "../../src/link/link_error.ts";
import { DeviceProcessState, DeviceProcessStatus } from "../../src/vmm/device_process_status.ts";
import { leakingNothing } from "../support/leaks.ts";

const closed = () => new LinkError("the peer closed the link", "closed");

/** A test with a child that runs a script, in a device process's place. */
function withChild(script: string, body: (status: DeviceProcessStatus, child: ChildProcess) => void): () => void {
  return leakingNothing(() => {
    const child = spawn({ command: ["/bin/sh", "-c", script], env: {} });
    try {
      const { pid, pidfd } = child;
      body(new DeviceProcessStatus(DeviceProcessState.allocate(), { pid, pidfd, sandboxed: false }), child);
    } finally {
      child.kill(Signal.KILL);
      child.wait();
      child.close();
    }
  });
}

Deno.test(
  "a child that closed its link by exiting has died, with its status; it is left to whoever waits for it",
  withChild("exit 7", (status, child) => {
    const failure = { reason: "died", detail: "its process exited with status 7", status: { code: 7 } } as const;
    assertEquals(status.fail(closed()), failure);
    assertEquals([status.failure, status.failures], [failure, 1]);
    assertEquals(child.wait(), { code: 7 });
  }),
);

Deno.test(
  "so has one that dies in the middle of a message",
  withChild("kill -SEGV $$", (status) => {
    assertEquals(
      status.fail(new LinkError("the peer closed the link after 5 of the 16 bytes of a header", "truncated")),
      {
        ...{ reason: "died", detail: "its process was killed by signal 11" } as const,
        status: { signal: 11 },
      },
    );
  }),
);

Deno.test(
  "one that closed its link and lives on is not believed, and killed",
  withChild("exec sleep 1000", (status, child) => {
    const { reason, detail, status: end } = status.fail(closed());
    assertEquals([reason, detail, end], ["closed", "the peer closed the link", undefined]);
    assertEquals(child.wait(), { signal: Signal.KILL });
  }),
);

Deno.test(
  "one that hangs is killed, even when it is stopped",
  withChild("kill -STOP $$; exec sleep 1000", (status, child) => {
    const { reason, detail, status: end } = status.fail(new LinkError("a ping has had no answer for 5 ms", "timeout"));
    assertEquals([reason, detail, end], ["hung", "its process hangs: a ping has had no answer for 5 ms", undefined]);
    assertEquals(child.wait(), { signal: Signal.KILL });
  }),
);

Deno.test(
  "one that talks nonsense is killed; how it ended is no news",
  withChild("exec sleep 1000", (status, child) => {
    assertEquals(status.fail(new LinkError("unknown command 99")), {
      ...{ reason: "protocol", detail: "unknown command 99", status: undefined } as const,
    });
    assertEquals(child.wait(), { signal: Signal.KILL });
  }),
);

Deno.test("of a process of somebody else's it is known only what it did to its link", () => {
  const status = new DeviceProcessStatus(DeviceProcessState.allocate(), undefined);
  assertEquals(status.fail(closed()).reason, "closed");
  assertEquals(status.fail(new LinkError("the link's socket failed", "system")).reason, "closed");
  assertEquals(status.failures, 2);
});

Deno.test("another thread reads what was noted, cut where it is too long, and fit for a terminal", () => {
  const state = DeviceProcessState.allocate({ shared: true });
  const status = new DeviceProcessStatus(state, undefined);
  const other = new DeviceProcessStatus(DeviceProcessState.attach(state.buffer), undefined);
  assertEquals([other.failures, other.failure], [0, undefined]);
  status.fail(new LinkError(`\x1b[31m${"ü".repeat(300)}`));
  assertEquals(other.failure!.detail, `\\x1b[31m${"ü".repeat(124)}`);
  assertEquals(other.failures, 1);
});
