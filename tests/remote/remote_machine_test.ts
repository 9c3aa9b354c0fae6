import { assertEquals, assertThrows } from "@std/assert";
import { closeFd, isOpenFd } from "../../src/ffi/file.ts";
import { createEventFd } from "../../src/ffi/event.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { createDevice, deviceTypes, registerDevice } from "../../src/remote/devices.ts";
import { RemoteMachine } from "../../src/remote/remote_machine.ts";
import { leakingNothing } from "../support/leaks.ts";
import { bytesOf, withRemote } from "../support/remote_harness.ts";
import { TestDevice } from "../support/test_device.ts";

/** What happened to devices of the types that are registered here. */
const events: string[] = [];

registerDevice("test-broken", (_config, { onClose }) => {
  onClose(() => events.push("released first"));
  onClose(() => events.push("released second"));
  throw new Error("no such thing");
});

registerDevice("test-unflushable", ({ id }, { host, onClose, loop }) => {
  onClose(() => {
    loop.turn(false);
    throw new Error(`drive of ${id}: flush: EIO`);
  });
  onClose(() => events.push("released"));
  const device = new TestDevice(host);
  const reset = device.reset.bind(device);
  device.reset = () => {
    events.push("reset");
    reset();
  };
  device.close = () => events.push("closed");
  return device;
});

function withMachine(body: (machine: RemoteMachine, log: string[]) => void): () => void {
  return leakingNothing(() => {
    events.length = 0;
    const log: string[] = [];
    const machine = new RemoteMachine((line) => log.push(line));
    try {
      body(machine, log);
    } finally {
      machine.close();
    }
  });
}

function refused(attempt: () => void): string {
  return (assertThrows(attempt, Error) as Error).message;
}

Deno.test(
  "a descriptor that is no UNIX stream socket is refused, and left alone",
  withMachine((machine) => {
    const device = { driver: "test-device", id: "dev0" };
    const eventFd = createEventFd();
    for (const fd of [eventFd, 987, -1]) {
      assertEquals(
        refused(() => machine.add({ id: "robj0", fd, device })),
        `remote-object robj0: fd ${fd} is not an open UNIX stream socket`,
      );
    }
    assertEquals(isOpenFd(eventFd), true);
    closeFd(eventFd);
    assertEquals(machine.size, 0);
  }),
);

Deno.test(
  "a device that cannot be made gives back what it had, and its socket is closed",
  withMachine((machine) => {
    const [near, far] = createSocketPair();
    const device = { driver: "test-broken", id: "dev0" };
    assertEquals(refused(() => machine.add({ id: "robj0", fd: near, device })), "no such thing");
    assertEquals(isOpenFd(near), false);
    assertEquals(events, ["released second", "released first"]);
    closeFd(far);
  }),
);

Deno.test(
  "when its link ends a device is reset, closed, and then gives back what it had",
  withMachine((machine, log) => {
    const [near, far] = createSocketPair();
    machine.add({ id: "robj0", fd: near, device: { driver: "test-unflushable", id: "dev0" } });
    closeFd(far);
    while (machine.size > 0) machine.turn();
    assertEquals(events, ["reset", "closed", "released"]);
    assertEquals([machine.failed, log], [true, ["remote-object robj0: drive of dev0: flush: EIO"]]);
  }),
);

Deno.test(
  "a machine that is closed closes devices whose proxies are still there",
  withRemote((proxy, log) => {
    proxy.send(bytesOf((m) => m.setConfigRead(0, 4)));
    proxy.machine.close();
    assertEquals([proxy.machine.size, proxy.device.closed, log], [0, 1, []]);
    assertEquals(proxy.reply()?.empty, false);
    assertEquals(proxy.closedByRemote, true);
  }),
);

Deno.test("a type of device is registered once, and known by its name", () => {
  assertEquals(deviceTypes().filter((type) => type.startsWith("test-")), [
    "test-broken",
    "test-device",
    "test-unflushable",
  ]);
  assertThrows(() => registerDevice("test-device", () => undefined as never), TypeError);
  const none = undefined as never;
  const resources = { host: none, loop: none, runState: none, onClose() {} };
  assertEquals(
    refused(() => createDevice({ driver: "nonesuch", id: "dev0" }, resources)),
    "device dev0: unknown type nonesuch (known: test-broken, test-device, test-unflushable)",
  );
});
