/** What the command line says about a machine is what its guest finds. */
import { assert, assertEquals } from "@std/assert";
import options from "./asm/options.asm" with { type: "text" };
import { startGuest, testOnKvm } from "./guests.ts";
import type { Stage } from "../support/stage.ts";

const TOKYO = "Asia/Tokyo";

/** What the guest found, by name. */
function findings(stage: Stage, args: readonly string[], by?: readonly string[]): Record<string, string> {
  const vmm = startGuest(stage, options, { options: args, by });
  assertEquals(vmm.wait(), { code: 0 });
  assertEquals(vmm.errors, "");
  return Object.fromEntries(vmm.console.trimEnd().split("\r\n").map((line) => line.split(/: ?(.*)/s)));
}

/** Day, hour and minute as the clock registers have them: BCD, 24 hours. */
function clockText(time: number): string {
  const date = new Date(time);
  const [day, hour, minute] = [date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes()];
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(day)} ${two(hour)}:${two(minute)}`;
}

/** The clock shows a moment between two others, less the zone's offset in hours. */
function assertClock(shown: string, before: number, offset: number): void {
  const moments = [before, Date.now()].map((time) => clockText(time + offset * 3_600_000));
  assert(moments.includes(shown), `${shown} is not one of ${moments}`);
}

testOnKvm("command line, vCPUs, UUID, boot order, menu and files reach the guest", (stage) => {
  const found = findings(stage, [
    ...["-append", "console=ttyS0 quiet", "-smp", "3", "-cpu", "max"],
    ...["-uuid", "00112233-4455-6677-8899-aabbccddeeff", "-boot", "order=dc,menu=on"],
    ...["-fw_cfg", "name=opt/org.example/greeting,string=hello,, firmware"],
  ]);
  assertEquals(found["command line"], "console=ttyS0 quiet");
  assertEquals(found.cpus, "3");
  assertEquals(found.uuid, "00112233445566778899aabbccddeeff");
  // CMOS 0x3d: first device in the low half, second in the high one; 3 is the CD-ROM, 2 the disk (SeaBIOS, src/boot.c).
  assertEquals(found["boot order"].slice(0, 2), "23");
  assertEquals(found.menu, "1");
  assertEquals(found.file, "hello, firmware");
  assertEquals(found.hypervisor, "KVMKVMKVM");
});

testOnKvm("what the command line leaves out has its default", (stage) => {
  const before = Date.now();
  const found = findings(stage, [], ["env", `TZ=${TOKYO}`]);
  assertEquals(found["command line"], "");
  assertEquals([found.cpus, found.menu, found.file, found.uuid], ["1", "0", "?", "0".repeat(32)]);
  assertClock(found.clock, before, 0);
});

testOnKvm("-fw_cfg file= brings a file of the host", (stage) => {
  const path = `${stage.directory}/greeting.txt`;
  Deno.writeTextFileSync(path, "from a file");
  assertEquals(findings(stage, ["-fw_cfg", `name=opt/org.example/greeting,file=${path}`]).file, "from a file");
});

testOnKvm("-rtc base=localtime shows the time of the host's zone", (stage) => {
  const before = Date.now();
  const { clock } = findings(stage, ["-rtc", "base=localtime"], ["env", `TZ=${TOKYO}`]);
  assertClock(clock, before, 9);
});
