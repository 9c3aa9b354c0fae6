/** The terminal that a machine was started from: its keys, and its mode afterwards. */
import { assertEquals, assertMatch } from "@std/assert";
import { closeFd, writeFd } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { connectTo } from "../../src/ffi/unix_socket.ts";
import type { Program, Stage } from "../support/stage.ts";
import { childrenOf, waitForState } from "../support/process_tree.ts";
import { LocalMode, Terminal, waitForText } from "../support/terminal.ts";
import consoleGuest from "./asm/console.asm" with { type: "text" };
import echo from "./asm/echo.asm" with { type: "text" };
import idle from "./asm/idle.asm" with { type: "text" };
import { startGuest, testOnKvm } from "./guests.ts";

/** Line editing and echo, as a shell leaves them. */
const LINE_MODES = LocalMode.ICANON | LocalMode.ECHO;
const ALL_MODES = LINE_MODES | LocalMode.ISIG;

const CTRL_A = "\x01";
const CTRL_C = "\x03";
const EOT = "\x04";
/** A console that is shared with a monitor. */
const SHARED = ["-serial", "mon:stdio"];

/** A machine on a terminal, which is as before when the machine has ended. */
function onTerminal(
  stage: Stage,
  source: string,
  body: (vmm: Program, terminal: Terminal) => void,
  { serial = ["-serial", "stdio"], options = [] as readonly string[] } = {},
): void {
  const terminal = new Terminal();
  try {
    assertEquals(terminal.localModes & ALL_MODES, ALL_MODES);
    // As the terminal's own session, so that its keys can be signals.
    const by = ["sh", "-c", 'exec setsid --ctty "$@" <"$0" >"$0"', terminal.path];
    body(startGuest(stage, source, { by, serial, options }), terminal);
    assertEquals(terminal.localModes & ALL_MODES, ALL_MODES);
  } finally {
    terminal.close();
  }
}

/** Waits until a machine without the monitor has its terminal. */
function waitForKeys(terminal: Terminal): void {
  terminal.waitForModes(ALL_MODES, LocalMode.ISIG);
}

/** Waits until such a machine's control thread listens, too: to its guest's input, and to signals. @param reply What the guest makes of `x`. */
function waitForControl(terminal: Terminal, reply: string): void {
  waitForKeys(terminal);
  terminal.type("x");
  terminal.waitFor(reply);
}

testOnKvm(
  "a terminal gives the guest each key as it is typed, and is as before when the machine has ended",
  (stage) => {
    onTerminal(stage, consoleGuest, (vmm, terminal) => {
      terminal.waitFor("ready");
      waitForKeys(terminal);
      terminal.type(`a${EOT}`);
      terminal.waitFor("1 characters, sum 97");
      assertEquals(vmm.wait(), { code: 0 });
    });
  },
);

for (const name of ["TERM", "INT", "HUP", "QUIT"] as const) {
  testOnKvm(`a terminal is as before after SIG${name}`, (stage) => {
    onTerminal(stage, idle, (vmm, terminal) => {
      waitForControl(terminal, "ready");
      vmm.signal(Signal[name]);
      assertEquals(vmm.wait(), { code: 0 });
    });
  });
}

testOnKvm("a terminal is as before after SIGKILL", (stage) => {
  onTerminal(stage, idle, (vmm, terminal) => {
    waitForKeys(terminal);
    vmm.signal(Signal.KILL);
    assertEquals(vmm.wait(), { signal: Signal.KILL });
    terminal.waitForModes(ALL_MODES, ALL_MODES);
  });
});

testOnKvm("Ctrl-C on a plain console ends the machine with status 0", (stage) => {
  onTerminal(stage, idle, (vmm, terminal) => {
    waitForControl(terminal, "ready");
    terminal.type(CTRL_C);
    assertEquals(vmm.wait(), { code: 0 });
  });
});

testOnKvm("a machine that is suspended leaves the terminal as before, and takes it again", (stage) => {
  onTerminal(stage, echo, (vmm, terminal) => {
    waitForControl(terminal, "x");
    terminal.type("\x1a");
    waitForState(() => vmm.pid, "T");
    assertEquals(terminal.localModes & ALL_MODES, ALL_MODES);
    vmm.signal(Signal.CONT);
    waitForKeys(terminal);
    terminal.type("hello");
    terminal.waitFor("hello");
    terminal.type(EOT);
    assertEquals(vmm.wait(), { code: 0 });
  });
});

testOnKvm("a machine that is started in the background stops until it is in the foreground", (stage) => {
  const terminal = new Terminal();
  try {
    // A shell with job control, which brings the machine to the foreground when something is typed.
    const shell = `exec setsid --ctty sh -c 'set -m; "$@" & read line; fg' sh "$@" <"$0" >"$0" 2>&1`;
    const program = startGuest(stage, echo, { by: ["sh", "-c", shell, terminal.path] });
    waitForState(() => childrenOf(program.pid)[0] ?? -1, "T");
    assertEquals(terminal.localModes & ALL_MODES, ALL_MODES);
    terminal.type("\n");
    waitForKeys(terminal);
    terminal.type(`hello${EOT}`);
    terminal.waitFor("hello");
    assertEquals(program.wait(), { code: 0 });
    assertEquals(terminal.localModes & ALL_MODES, ALL_MODES);
  } finally {
    terminal.close();
  }
});

testOnKvm("a machine in the background of a shell that has gone goes on", (stage) => {
  const terminal = new Terminal();
  const path = `${stage.directory}/monitor`;
  try {
    // The subshell that starts the machine ends at once; what is left of its process group is an orphan, which nobody could continue.
    const shell = `exec setsid --ctty sh -c 'set -m; ("$@" <&3 3<&- &) 3<&0; read line' sh "$@" <"$0" >"$0" 2>&1`;
    const options = ["-monitor", `unix:${path},server=on,wait=off`];
    const program = startGuest(stage, echo, { by: ["sh", "-c", shell, terminal.path], options });
    terminal.waitFor("#");
    const client = connectTo(path);
    waitForText(client, "(splitvm) ");
    writeFd(client, new TextEncoder().encode("quit\r"));
    waitForText(client, "quit\r\n");
    closeFd(client);
    assertEquals(terminal.localModes & ALL_MODES, ALL_MODES);
    terminal.type("\n");
    assertEquals(program.wait(), { code: 0 });
  } finally {
    terminal.close();
  }
});

testOnKvm("keys are the guest's before it does anything", (stage) => {
  onTerminal(stage, echo, (vmm, terminal) => {
    terminal.waitFor("#");
    assertEquals(terminal.localModes & ALL_MODES, 0);
    terminal.type(`hello${CTRL_C}`);
    terminal.waitFor(`hello${CTRL_C}`);
    terminal.type(EOT);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

for (const name of ["TERM", "INT", "HUP", "KILL"] as const) {
  testOnKvm(`a terminal is as before after a SIG${name} that comes as soon as it is changed`, (stage) => {
    onTerminal(stage, idle, (vmm, terminal) => {
      waitForKeys(terminal);
      vmm.signal(Signal[name]);
      vmm.wait();
      terminal.waitForModes(ALL_MODES, ALL_MODES);
    });
  });
}

testOnKvm("on a shared console, Ctrl-C is the guest's", (stage) => {
  onTerminal(stage, echo, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type(CTRL_C);
    terminal.waitFor(CTRL_C);
    terminal.type(EOT);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("Ctrl-A x ends the machine with status 0, and the terminal is as before", (stage) => {
  onTerminal(stage, idle, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type(`${CTRL_A}x`);
    terminal.waitFor("splitvm: Terminated");
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("Ctrl-A c leads to the monitor and back to the guest", (stage) => {
  onTerminal(stage, echo, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type(`${CTRL_A}c`);
    terminal.waitFor("(splitvm) ");
    terminal.type("info status\r");
    terminal.waitFor("VM status: running");
    terminal.type(`${CTRL_A}cguest`);
    terminal.waitFor("guest");
    terminal.type(EOT);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("a machine that is ended by its monitor leaves the terminal as before", (stage) => {
  onTerminal(stage, idle, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type(`${CTRL_A}cquit\r`);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("Ctrl-A b is a break on the guest's line, and Ctrl-A Ctrl-A is Ctrl-A", (stage) => {
  onTerminal(stage, echo, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type(`a${CTRL_A}bb${CTRL_A}${CTRL_A}c`);
    terminal.waitFor(`a!b${CTRL_A}c`);
    terminal.type(EOT);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("Ctrl-A t begins lines with the time", (stage) => {
  onTerminal(stage, echo, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type(`${CTRL_A}t\nhello`);
    assertMatch(terminal.waitFor("hello"), /\n\[00:00:\d\d\.\d{3}\] hello/);
    terminal.type(EOT);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("another escape key can be chosen", (stage) => {
  onTerminal(stage, idle, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    terminal.type("\x14x");
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED, options: ["-echr", "0x14"] });
});

testOnKvm("a guest that takes no input does not keep the escape key from being obeyed", (stage) => {
  onTerminal(stage, idle, (vmm, terminal) => {
    terminal.waitForModes(ALL_MODES, 0);
    for (let i = 0; i < 16; i++) terminal.type("x".repeat(1000));
    terminal.type(`${CTRL_A}x`);
    assertEquals(vmm.wait(), { code: 0 });
  }, { serial: SHARED });
});

testOnKvm("a monitor on a socket greets each client, and lets one go by Ctrl-D", (stage) => {
  const path = `${stage.directory}/monitor`;
  const vmm = startGuest(stage, echo, { options: ["-monitor", `unix:${path},server=on,wait=off`] });
  vmm.waitFor("#");
  for (let i = 0; i < 2; i++) {
    const client = connectTo(path);
    waitForText(client, "(splitvm) ");
    writeFd(client, new TextEncoder().encode("info status\rinfo chardev\r"));
    const answer = waitForText(client, `compat_monitor0: filename=unix:${path},server=on\r\n`);
    assertMatch(answer, /VM status: running\r\n[^]*serial0: filename=stdio\r\n/);
    writeFd(client, new TextEncoder().encode(EOT));
    closeFd(client);
  }
  const client = connectTo(path);
  writeFd(client, new TextEncoder().encode("quit\r"));
  assertEquals(vmm.wait(), { code: 0 });
  closeFd(client);
});

testOnKvm("a monitor has the commands and topics that docs/hmp.md lists", (stage) => {
  const text = Deno.readTextFileSync(new URL("../../docs/hmp.md", import.meta.url));
  const [commands, topics] = ["command", "topic"].map((heading) => {
    const table = text.slice(text.search(new RegExp(`^\\| ${heading} `, "m"))).split("\n\n")[0];
    return [...table.matchAll(/^\| `(\w+)/gm)].map(([, name]) => name);
  });
  const path = `${stage.directory}/monitor`;
  const vmm = startGuest(stage, echo, { options: ["-monitor", `unix:${path},server=on,wait=off`] });
  vmm.waitFor("#");
  const client = connectTo(path);
  waitForText(client, "(splitvm) ");
  writeFd(client, new TextEncoder().encode("help\rinfo\rquit\r"));
  const answers = waitForText(client, "version --");
  const listed = [...answers.matchAll(/\n(info (?=\w))?(\w+)\S*( \S+)* --/g)];
  assertEquals(listed.filter(([, info]) => info === undefined).map(([, , name]) => name), commands.toSorted());
  assertEquals(listed.filter(([, info]) => info !== undefined).map(([, , name]) => name), topics);
  assertEquals(vmm.wait(), { code: 0 });
  closeFd(client);
});

testOnKvm("a console and its monitor share a socket", (stage) => {
  const path = `${stage.directory}/shared`;
  const vmm = startGuest(stage, echo, { serial: ["-serial", `mon:unix:${path},server=on,wait=on`] });
  vmm.waitForError("waiting for a connection");
  const client = connectTo(path);
  const type = (keys: string) => writeFd(client, new TextEncoder().encode(keys));
  type("hello");
  waitForText(client, "hello");
  type(`${CTRL_A}c`);
  waitForText(client, "(splitvm) ");
  type(`${CTRL_A}x`);
  assertEquals(vmm.wait(), { code: 0 });
  closeFd(client);
});
