/**
 * What cannot work: one line says why, the status is 1, and nothing is left behind. The stage fails a test that leaves a process or a
 * descriptor; none waits for a deadline of splitvm's.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { buildHelloKernel } from "../../guests/hello/mod.ts";
import { writeFd } from "../../src/ffi/file.ts";
import { selfCommand } from "../../src/vmm/self_command.ts";
import { Message } from "../../src/link/message.ts";
import type { Program, Stage } from "../support/stage.ts";
import { GIVEN_DEVICE, guestCommand, testOnKvm } from "./guests.ts";

/** The command line of a machine that would work, but for what `options` add. */
function helloCommand(stage: Stage, options: readonly string[]): string[] {
  const kernel = `${stage.directory}/hello.elf`;
  Deno.writeFileSync(kernel, buildHelloKernel());
  return guestCommand(kernel, options);
}

function start(stage: Stage, options: readonly string[], given?: number): Program {
  return stage.start({ name: "VMM", command: helloCommand(stage, options), given });
}

function startKernel(stage: Stage, kernel: string): Program {
  return stage.start({ name: "VMM", command: guestCommand(kernel) });
}

/** The machine has said why it cannot go on, in one line, and ended. */
function assertRefused(vmm: Program, why: RegExp): void {
  assertEquals(vmm.wait(), { code: 1 });
  assertMatch(vmm.errors, /^splitvm: [^\n]*\n$/);
  assertMatch(vmm.errors, why);
  assert(!vmm.errors.includes("internal error"), vmm.errors);
  assertEquals(vmm.console, "");
}

testOnKvm("a kernel that is not there", (stage) => {
  assertRefused(startKernel(stage, "/nonexistent/vmlinux"), /Cannot read the kernel \/nonexistent\/vmlinux: /);
});

testOnKvm("a kernel, firmware image or fw_cfg file that has no end", (stage) => {
  const why = /Cannot read the .*\/dev\/zero: it is not a regular file/;
  assertRefused(startKernel(stage, "/dev/zero"), why);
  assertRefused(start(stage, ["-fw_cfg", "name=opt/x,file=/dev/zero"]), why);
  assertRefused(stage.start({ name: "VMM", command: [...selfCommand(), "-nodefaults", "-bios", "/dev/zero"] }), why);
});

testOnKvm("an initrd that is larger than RAM", (stage) => {
  const initrd = `${stage.directory}/initrd`;
  Deno.writeFileSync(initrd, new Uint8Array());
  Deno.truncateSync(initrd, 3 * 2 ** 30);
  assertRefused(
    start(stage, ["-initrd", initrd]),
    /Cannot read the initrd .*: it has 3221225472 bytes, and 16777216 are/,
  );
});

testOnKvm("a disk image that is not there, which is told once", (stage) => {
  const disk = ["-drive", "id=d0,file=/nonexistent/disk.img", "-device", "lsi53c895a", "-device", "scsi-hd,drive=d0"];
  assertRefused(start(stage, disk), /drive d0: Cannot open \/nonexistent\/disk.img: there is no such file/);
});

testOnKvm("a security context that the host has no module for, or does not know", (stage) => {
  const vmm = start(stage, ["-device", "lsi53c895a,id=lsi0,secontext=splitvm-no-such-profile"]);
  assertRefused(vmm, /Cannot start the device process of lsi0: (secontext=splitvm-no-such-profile: |write\(|execve\()/);
});

testOnKvm("a debug port where the machine has another one", (stage) => {
  const vmm = start(stage, ["-device", "isa-debugcon,iobase=0xcf8,chardev=c", "-chardev", "null,id=c"]);
  assertRefused(vmm, /-device isa-debugcon: iobase=0xcf8 is taken: /);
});

testOnKvm("a kernel that is a directory", (stage) => {
  assertRefused(startKernel(stage, stage.directory), /Cannot read the kernel [^ ]+: /);
});

testOnKvm("an initrd that is not there", (stage) => {
  assertRefused(start(stage, ["-initrd", "/nonexistent/initrd"]), /Cannot read the initrd \/nonexistent\/initrd: /);
});

testOnKvm("a kernel that is no kernel", (stage) => {
  const kernel = `${stage.directory}/noise`;
  Deno.writeFileSync(kernel, crypto.getRandomValues(new Uint8Array(10_000)).fill(0, 0, 4));
  assertRefused(startKernel(stage, kernel), /Cannot boot .*noise: it is neither an ELF file nor a Linux bzImage/);
});

testOnKvm("a kernel that RAM has no room for", (stage) => {
  const kernel = `${stage.directory}/large`;
  const image = buildHelloKernel();
  // p_memsz of the first program header: 1 GiB.
  new DataView(image.buffer).setUint32(52 + 20, 0x4000_0000, true);
  Deno.writeFileSync(kernel, image);
  assertRefused(
    startKernel(stage, kernel),
    /Cannot boot .*large: it loads at 0x100000-0x400fffff, which is not usable/,
  );
});

testOnKvm("a console file that cannot be made", (stage) => {
  assertRefused(start(stage, ["-serial", "file:/nonexistent/log"]), /console's output to \/nonexistent\/log: .*ENOENT/);
});

testOnKvm("a fw_cfg file that is not there", (stage) => {
  const vmm = start(stage, ["-fw_cfg", "name=opt/x,file=/nonexistent/file"]);
  assertRefused(vmm, /Cannot read .*\/nonexistent\/file.*/);
});

testOnKvm("a firmware image of a size that no flash has", (stage) => {
  const image = `${stage.directory}/bios.bin`;
  Deno.writeFileSync(image, new Uint8Array(100_000));
  const command = [...selfCommand(), "-nodefaults", "-bios", image];
  const vmm = stage.start({ name: "VMM", command });
  assertRefused(vmm, /Cannot use the firmware image .*bios.bin: it has 100000 bytes/);
});

testOnKvm("a device behind a descriptor that is not open", (stage) => {
  // Among the first numbers, Deno has some of its own.
  for (const fd of [3, 4, 5, 6, 7, 8, 9, 10, 200]) {
    const vmm = start(stage, ["-device", `pci-proxy-dev,id=lsi0,fd=${fd}`]);
    assertRefused(
      vmm,
      new RegExp(`pci-proxy-dev lsi0: fd ${fd} is not a UNIX stream socket that this process was given`),
    );
  }
});

testOnKvm("a device behind a descriptor that is no socket", (stage) => {
  const redirected = ["sh", "-c", 'exec "$@" 3</dev/null', "sh"];
  const vmm = stage.start({ name: "VMM", command: [...redirected, ...helloCommand(stage, GIVEN_DEVICE)] });
  assertRefused(vmm, /pci-proxy-dev lsi0: fd 3 is not a UNIX stream socket/);
});

testOnKvm("a peer that closes its socket at once", (stage) => {
  const [near] = stage.link();
  const vmm = start(stage, GIVEN_DEVICE, near);
  stage.giveAway();
  assertRefused(vmm, /The device process of lsi0 does not answer as a device: the peer closed the link/);
});

testOnKvm("a peer that answers with something that is no message", (stage) => {
  const [near, far] = stage.link();
  writeFd(far, new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const vmm = start(stage, GIVEN_DEVICE, near);
  assertRefused(vmm, /The device process of lsi0 does not answer as a device: /);
});

testOnKvm("a peer that answers a question with another", (stage) => {
  const [near, far] = stage.link();
  const question = new Message();
  question.setConfigRead(0, 4);
  writeFd(far, question.bytes.slice(0, question.length));
  const vmm = start(stage, GIVEN_DEVICE, near);
  assertRefused(vmm, /PCI_CFGREAD came as the reply to PCI_CFGREAD/);
});

testOnKvm("a disk whose image cannot be opened: the device process says so, and nobody else", (stage) => {
  const vmm = start(stage, [
    ...["-drive", "id=d0,file=/nonexistent/disk.img,format=raw,if=none", "-device", "lsi53c895a,id=lsi0"],
    ...["-device", "scsi-hd,drive=d0,bus=lsi0.0,scsi-id=0"],
  ]);
  assertRefused(vmm, /\/nonexistent\/disk\.img.*ENOENT/);
});
