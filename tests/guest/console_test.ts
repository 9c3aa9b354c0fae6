/** The console and the control thread: input, timers, signals. */
import { assert, assertEquals } from "@std/assert";
import { closeFd, createPipe, setNonblocking, writeFd } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { INPUT_RING_SIZE } from "../../src/vmm/platform/serial.ts";
import consoleGuest from "./asm/console.asm" with { type: "text" };
import idle from "./asm/idle.asm" with { type: "text" };
import smp from "./asm/smp.asm" with { type: "text" };
import timer from "./asm/timer.asm" with { type: "text" };
import { GIVEN_FD, type Stage } from "../support/stage.ts";
import { startGuest, testOnKvm } from "./guests.ts";

testOnKvm("input of many times the receiver's size reaches the guest whole", (stage) => {
  const vmm = startGuest(stage, consoleGuest);
  const text = "splitvm ".repeat(INPUT_RING_SIZE);
  vmm.waitFor("ready\r\n");
  vmm.send(`${text}\x04`);
  assertEquals(vmm.wait(), { code: 0 });
  const sum = new TextEncoder().encode(text).reduce((total, byte) => total + byte, 0);
  assertEquals(vmm.console, `ready\r\n${text.length} characters, sum ${sum}\r\n`);
});

/** A cache folder for Deno with the packages that are there, and nothing of this program compiled. */
function coldCache(stage: Stage): string {
  const warm = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const cold = `${stage.directory}/deno`;
  Deno.mkdirSync(cold);
  // Deno's own function would need every permission.
  const { success } = new Deno.Command("ln", { args: ["-s", `${warm}/npm`, cold] }).outputSync();
  assert(success);
  return cold;
}

testOnKvm("a program that is started for the first time, and has to be compiled, takes input", (stage) => {
  const vmm = startGuest(stage, consoleGuest, { by: ["env", `DENO_DIR=${coldCache(stage)}`] });
  vmm.waitFor("ready\r\n");
  vmm.send("a\x04");
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals(vmm.console, "ready\r\n1 characters, sum 97\r\n");
});

testOnKvm("the real-time clock interrupts while nothing else happens", (stage) => {
  const vmm = startGuest(stage, timer, { options: ["-serial", "null"] });
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals(vmm.console, "10 interrupts of the clock\r\n");
});

testOnKvm("the clock goes on after the end of the console's input", (stage) => {
  const vmm = startGuest(stage, timer, { by: ["sh", "-c", 'exec "$@" < /dev/null', "sh"] });
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals([vmm.console, vmm.errors], ["10 interrupts of the clock\r\n", ""]);
});

testOnKvm("a file can be the console's input", (stage) => {
  const input = `${stage.directory}/input`;
  Deno.writeTextFileSync(input, `${"x".repeat(10_000)}\x04`);
  const vmm = startGuest(stage, consoleGuest, { by: ["sh", "-c", 'exec "$@" < "$0"', input] });
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals([vmm.console, vmm.errors], ["ready\r\n10000 characters, sum 1200000\r\n", ""]);
});

const SIGNALS = [["SIGTERM", Signal.TERM], ["SIGINT", Signal.INT], ["SIGHUP", Signal.HUP]] as const;
for (const [name, signal] of SIGNALS) {
  testOnKvm(`${name} ends a machine whose guest sleeps, with status 0`, (stage) => {
    const vmm = startGuest(stage, idle, { options: ["-smp", "2"] });
    // What gives the guest its input is what listens to signals.
    vmm.waitFor("waiting\r\n");
    vmm.send("x");
    vmm.waitFor("ready\r\n");
    vmm.signal(signal);
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals(vmm.errors, "");
  });
}

/** A pipe that is full, and that nobody reads. @returns what both ends are called here. */
function fullPipe(): { reader: number; writer: number } {
  const [reader, writer] = createPipe();
  setNonblocking(writer, true);
  while (writeFd(writer, new Uint8Array(4096)) > 0);
  setNonblocking(writer, false);
  return { reader, writer };
}

testOnKvm("a guest goes on when nobody reads what it prints", (stage) => {
  const { reader, writer } = fullPipe();
  try {
    const constants = { CPUS: 2, ACTION: 0 };
    const output = { debugFile: `/dev/fd/${GIVEN_FD}`, given: writer };
    const vmm = startGuest(stage, smp, { constants, options: ["-smp", "2"], ...output });
    assertEquals(vmm.wait(), { code: 0 });
    assertEquals(vmm.errors, "");
  } finally {
    [reader, writer].forEach(closeFd);
  }
});
