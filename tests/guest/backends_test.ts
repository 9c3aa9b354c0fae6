/** What serial ports can be connected to, each in both directions, with a guest that sends back what comes. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { closeFd, writeFd } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { connectTo, listenAt } from "../../src/ffi/unix_socket.ts";
import { GIVEN_FD, type Program, type Stage } from "../support/stage.ts";
import { descriptorsOf } from "../support/process_tree.ts";
import { openSlave, waitForText } from "../support/terminal.ts";
import { waitForClient } from "../support/unix_server.ts";
import echo from "./asm/echo.asm" with { type: "text" };
import { startGuest, testOnKvm } from "./guests.ts";

/** Ends the machine. */
const EOT = "\x04";
/** Has the guest send 65536 characters. */
const FLOOD = "\x06";

function send(fd: number, text: string): void {
  writeFd(fd, new TextEncoder().encode(text));
}

/** Sends something and waits for it to come back. */
function echoes(fd: number, text: string): void {
  send(fd, text);
  waitForText(fd, text);
}

/** Connects to a machine's socket, which may not be there yet or have its queue full. */
function connect(vmm: Program, path: string): number {
  for (;;) {
    try {
      return connectTo(path);
    } catch (error) {
      if (vmm.hasEnded) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** A machine with COM1 on its standard streams and COM2 on something else. */
function withSecond(stage: Stage, target: string, given?: number): Program {
  return startGuest(stage, echo, { serial: ["-serial", "stdio", "-serial", target], given });
}

function end(vmm: Program): void {
  vmm.send(EOT);
  assertEquals(vmm.wait(), { code: 0 });
}

testOnKvm("a socket that listens has one client after the other, and takes its path away", (stage) => {
  const path = `${stage.directory}/com2`;
  const vmm = withSecond(stage, `unix:${path},server=on,wait=off`);
  for (const text of ["first", "second"]) {
    const client = connect(vmm, path);
    echoes(client, text);
    closeFd(client);
  }
  end(vmm);
  assertEquals([...Deno.readDirSync(stage.directory)].some(({ name }) => name === "com2"), false);
  assertEquals(vmm.errors, "");
});

testOnKvm("a second client waits until the first has gone", (stage) => {
  const path = `${stage.directory}/com2`;
  const vmm = withSecond(stage, `unix:${path},server=on,wait=off`);
  const first = connect(vmm, path);
  echoes(first, "first");
  const second = connect(vmm, path);
  send(second, "second");
  echoes(first, "still first");
  closeFd(first);
  waitForText(second, "second");
  closeFd(second);
  end(vmm);
});

testOnKvm("a machine that waits for its first client sends it all that the guest prints", (stage) => {
  const path = `${stage.directory}/com1`;
  const vmm = startGuest(stage, echo, { serial: ["-serial", `unix:${path},server=on`] });
  vmm.waitForError(`waiting for a connection on unix:${path},server=on`);
  const client = connect(vmm, path);
  waitForText(client, "#");
  send(client, EOT);
  assertEquals(vmm.wait(), { code: 0 });
  closeFd(client);
});

for (const [name, signal] of [["SIGINT", Signal.INT], ["SIGTERM", Signal.TERM], ["SIGHUP", Signal.HUP]] as const) {
  testOnKvm(`${name} ends a machine that waits for its first client, and no path stays behind`, (stage) => {
    const paths = ["qmp", "com1", "com2"].map((file) => `${stage.directory}/${file}`);
    const [qmp, com1, com2] = paths.map((path) => `unix:${path},server=on`);
    const serial = ["-serial", `${com1},wait=off`, "-serial", com2, "-qmp", qmp];
    const vmm = startGuest(stage, echo, { serial });
    vmm.waitForError(`waiting for a connection on ${com2}`);
    const client = connect(vmm, paths[2]);
    vmm.waitForError(`waiting for a connection on ${qmp}`);
    vmm.signal(signal);
    assertEquals(vmm.wait(), { code: 128 + signal });
    const files = [...Deno.readDirSync(stage.directory)].map(({ name }) => name);
    assertEquals(files.toSorted(), ["debug.txt", "guest.elf"]);
    closeFd(client);
  });
}

testOnKvm("a pseudo-terminal whose path cannot be printed is an error that says so", (stage) => {
  const vmm = startGuest(stage, echo, { serial: ["-serial", "pty"], by: ["sh", "-c", 'exec "$@" >/dev/full', "sh"] });
  assertEquals(vmm.wait(), { code: 1 });
  assertMatch(
    vmm.errors,
    /^splitvm: character device serial0: Cannot print to standard output where .*: No space left/,
  );
});

testOnKvm("a serial port connects to somebody who listens", (stage) => {
  const server = listenAt(`${stage.directory}/com2`);
  const vmm = withSecond(stage, `unix:${stage.directory}/com2`);
  const client = waitForClient(server.fd);
  echoes(client, "hello");
  closeFd(client);
  server.close();
  vmm.waitFor("#");
  end(vmm);
});

testOnKvm("a serial port is on a socket that the machine inherits", (stage) => {
  const [ours, theirs] = createSocketPair();
  const chardev = ["-chardev", `socket,id=c,fd=${GIVEN_FD}`, "-serial", "chardev:c"];
  const vmm = startGuest(stage, echo, { serial: chardev, given: theirs });
  closeFd(theirs);
  echoes(ours, "hello");
  send(ours, EOT);
  assertEquals(vmm.wait(), { code: 0 });
  closeFd(ours);
});

/** Waits until a machine has said where its pseudo-terminal is. */
function pseudoTerminal(vmm: Program): string {
  vmm.waitFor("char device redirected to ");
  const path = vmm.waitFor(" ");
  assertEquals(vmm.waitFor("\n"), "(label serial1)");
  return path;
}

testOnKvm("a pseudo-terminal can be closed and opened again, and keeps nothing meanwhile", (stage) => {
  const vmm = withSecond(stage, "pty");
  const path = pseudoTerminal(vmm);
  for (const text of ["first", "second"]) {
    const slave = openSlave(path);
    echoes(slave, text);
    send(slave, "lost");
    closeFd(slave);
  }
  end(vmm);
});

testOnKvm("four serial ports have input of their own", (stage) => {
  const paths = [1, 2, 3, 4].map((n) => `${stage.directory}/com${n}`);
  const serial = paths.flatMap((path) => ["-serial", `unix:${path},server=on,wait=off`]);
  const vmm = startGuest(stage, echo, { serial });
  const clients = paths.map((path) => connect(vmm, path));
  clients.forEach((client, i) => send(client, `to ${i + 1}`));
  clients.forEach((client, i) => waitForText(client, `to ${i + 1}`));
  send(clients[3], EOT);
  assertEquals(vmm.wait(), { code: 0 });
  clients.forEach(closeFd);
});

testOnKvm("a guest goes on when a client does not read, on a socket or a pseudo-terminal", (stage) => {
  for (const target of [`unix:${stage.directory}/com2,server=on,wait=off`, "pty"]) {
    const vmm = withSecond(stage, target);
    const client = target === "pty" ? openSlave(pseudoTerminal(vmm)) : connect(vmm, `${stage.directory}/com2`);
    send(client, FLOOD);
    vmm.waitFor("flooded");
    end(vmm);
    closeFd(client);
  }
});

testOnKvm("a client that was flooded and reads again gets what is printed then", (stage) => {
  const path = `${stage.directory}/com2`;
  const vmm = withSecond(stage, `unix:${path},server=on,wait=off`);
  const client = connect(vmm, path);
  send(client, FLOOD);
  vmm.waitFor("flooded");
  const drain = waitForText(client, ".".repeat(16));
  assert(drain.length > 0);
  echoes(client, "hello");
  closeFd(client);
  end(vmm);
});

testOnKvm("clients that come by the thousand, send garbage and go leave nothing behind", (stage) => {
  const path = `${stage.directory}/com2`;
  const vmm = withSecond(stage, `unix:${path},server=on,wait=off`);
  const first = connect(vmm, path);
  echoes(first, "hello");
  closeFd(first);
  const again = connect(vmm, path);
  echoes(again, "hello");
  const before = descriptorsOf(vmm.pid).length;
  closeFd(again);
  const codes = Array.from({ length: 128 }, (_, code) => code);
  const garbage = String.fromCharCode(...codes).replace(EOT, "").replace(FLOOD, "");
  for (let i = 0; i < 2000; i++) {
    const client = connect(vmm, path);
    if (i % 2 === 0) send(client, garbage);
    closeFd(client);
  }
  const last = connect(vmm, path);
  echoes(last, "hello");
  assertEquals(descriptorsOf(vmm.pid).length, before);
  closeFd(last);
  end(vmm);
  assertEquals(vmm.errors, "");
});

testOnKvm("a client that sends more than a guest takes, and goes, is followed by the next", (stage) => {
  const path = `${stage.directory}/com2`;
  // The guest stands still.
  const vmm = startGuest(stage, echo, {
    serial: ["-serial", "stdio", "-serial", `unix:${path},server=on,wait=off`],
    options: ["-S", "-qmp", `unix:${stage.directory}/qmp,server=on,wait=off`],
  });
  const first = connect(vmm, path);
  send(first, "x".repeat(30_000));
  closeFd(first);
  const second = connect(vmm, path);
  const qmp = connect(vmm, `${stage.directory}/qmp`);
  waitForText(qmp, "QMP");
  send(qmp, `{"execute":"qmp_capabilities"}{"execute":"cont"}`);
  echoes(second, "hello");
  [second, qmp].forEach(closeFd);
  end(vmm);
});

testOnKvm("SIGTERM ends a machine whose client does not read", (stage) => {
  const path = `${stage.directory}/com2`;
  const vmm = withSecond(stage, `unix:${path},server=on,wait=off`);
  const client = connect(vmm, path);
  echoes(client, "hello");
  send(client, FLOOD);
  vmm.signal(Signal.TERM);
  assertEquals(vmm.wait(), { code: 0 });
  closeFd(client);
});
