/** A machine whose standard error takes nothing. */
import { assertEquals } from "@std/assert";
import { Signal } from "../../src/ffi/process.ts";
import { childrenOf, signalProcess } from "../support/process_tree.ts";
import idle from "./asm/idle.asm" with { type: "text" };
import interrupt from "./asm/interrupt.asm" with { type: "text" };
import { localDisk, startGuest, testOnKvm } from "./guests.ts";

/** Full, as a file on a full disk is. */
const FULL = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"];
/** A pipe that blocks, and that nobody reads; the reader is the VMM itself, so that it stays open. */
const UNREAD = [
  "sh",
  "-c",
  'mkfifo "$0"; exec 9<>"$0"; dd if=/dev/zero of="$0" bs=4096 oflag=nonblock 2>/dev/null; exec "$@" 2>"$0"',
];

/** Starts a DMA transfer of fw_cfg whose description is not in RAM (QEMU, docs/specs/fw_cfg): the machine warns of it. */
const MISTAKE = `
        mov     dx, 0x518
        mov     eax, 0xf0ffffff         ; big-endian
        out     dx, eax
`;
const MISTAKEN = idle.replace("say     `waiting\\n`", `${MISTAKE}        say     \`waiting\\n\``);

testOnKvm("a guest's mistake is told once", (stage) => {
  const vmm = startGuest(stage, MISTAKEN);
  vmm.waitFor("waiting\r\n");
  assertEquals(vmm.errors, "splitvm: guest: fw_cfg: the address of a DMA transfer's description is not in RAM\n");
});

testOnKvm("a guest goes on after a mistake of which nobody can be told", (stage) => {
  const vmm = startGuest(stage, MISTAKEN, { by: FULL });
  vmm.waitFor("waiting\r\n");
  vmm.send("x");
  vmm.waitFor("ready\r\n");
});

testOnKvm("a guest whose device process dies goes on when nobody can be told", (stage) => {
  const vmm = startGuest(stage, interrupt, { constants: { RESET_FIRST: 0 }, options: localDisk(stage), by: FULL });
  vmm.waitFor("waiting\r\n");
  for (const child of childrenOf(vmm.pid)) signalProcess(child, Signal.KILL);
  vmm.send("x");
  assertEquals(vmm.wait(), { code: 0 });
});

testOnKvm("a machine whose start is traced starts when nobody can be told", (stage) => {
  const vmm = startGuest(stage, idle, { by: ["env", "SPLITVM_DEBUG=startup", ...FULL], options: localDisk(stage) });
  vmm.waitFor("waiting\r\n");
  vmm.send("x");
  vmm.waitFor("ready\r\n");
});

testOnKvm("a signal ends a machine whose lines fill a pipe that nobody reads", (stage) => {
  const by = [...UNREAD, `${stage.directory}/pipe`];
  const vmm = startGuest(stage, MISTAKEN, { by, options: localDisk(stage) });
  vmm.waitFor("waiting\r\n");
  vmm.send("x");
  vmm.waitFor("ready\r\n"); // what gives the guest its input is what listens to signals
  vmm.signal(Signal.TERM);
  assertEquals(vmm.wait(), { code: 0 });
});
