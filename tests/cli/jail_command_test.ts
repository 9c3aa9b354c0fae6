import { assertEquals, assertThrows } from "@std/assert";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { deviceWords, type JailCommand, parseJailCommand } from "../../src/cli/jail_command.ts";
import { OptionError } from "../../src/options/option_error.ts";

const DEVICE = "-machine remote -device lsi53c895a,id=lsi0 -object remote-object,id=r,devid=lsi0,fd=3";
const DISK = "-drive id=d0,file=a -device scsi-hd,drive=d0";

const parse = (line: string) => parseJailCommand(line.split(" "));

/** What is to be jailed. */
function jailed(line: string): JailCommand {
  const request = parse(line);
  if (request.kind !== "jail") throw new Error(`${line} asks for ${request.kind}`);
  return request;
}

function refuses(line: string, message: string): void {
  assertEquals(assertThrows(() => parse(line), OptionError).message, message);
}

/** What the process in the jail makes of its command line. */
function configurationThere(line: string) {
  const command = parseCommandLine(deviceWords(jailed(line), { files: [{ path: "a,b", fd: 5 }] }, 4));
  if (command.kind !== "remote") throw new Error(`${line} is not for a device process`);
  return command.config;
}

Deno.test("a process in a jail gets the command line behind --, and what is open for it", () => {
  const { config } = jailed(`-- ${DEVICE} ${DISK}`);
  const there = configurationThere(`-- ${DEVICE} ${DISK}`);
  assertEquals(there.objects, config.objects);
  assertEquals([there.files, there.ready], [[{ path: "a,b", fd: 5 }], 4]);
});

Deno.test("a process in a jail ends with its parent, whatever is asked of that", () => {
  for (const options of ["", " -run-with exit-with-parent=off", " -run-with ready-fd=9"]) {
    const { exitWithParent, ready } = configurationThere(`-- ${DEVICE}${options}`);
    assertEquals([exitWithParent, ready], [true, 4]);
  }
  assertEquals(jailed(`-- ${DEVICE} -run-with ready-fd=9`).config.ready, 9);
});

Deno.test("a process in a jail says where it is asked to why it cannot start", () => {
  assertEquals(configurationThere(`-- ${DEVICE} -run-with start-error=qmp`).startError, "qmp");
});

Deno.test("a process in a jail gives up system calls, unless that is switched off", () => {
  const filtered = (options: string) => configurationThere(`-- ${DEVICE}${options}`).sandbox;
  assertEquals(["", " -sandbox on", " -sandbox off"].map(filtered), [true, true, false]);
});

Deno.test("files that are open already are handed over under other numbers", () => {
  const line = `-- ${DEVICE} ${DISK} -add-fd fd=7,set=1,opaque=a`;
  assertEquals(jailed(line).config.files, [{ path: "a", fd: 7 }]);
  assertEquals(configurationThere(line).files, [{ path: "a,b", fd: 5 }]);
});

Deno.test("words that look like options of splitvm jail belong to the device process behind --", () => {
  assertEquals(jailed(`-- ${DEVICE} -name -- `.trim()).config.name, "--");
  assertEquals(parse(`-help -- ${DEVICE}`), { kind: "help" });
});

Deno.test("a context is taken as it is, commas included", () => {
  assertEquals(jailed(`-secontext u:r:t:s0:c1,c2 -- ${DEVICE}`).securityContext, "u:r:t:s0:c1,c2");
  assertEquals(jailed(`--secontext profile -- ${DEVICE}`).securityContext, "profile");
  assertEquals(jailed(`-- ${DEVICE}`).securityContext, undefined);
  refuses("-secontext", "-secontext: its argument is missing");
  refuses(`-secontext a -secontext b -- ${DEVICE}`, "'-secontext': is given twice");
  refuses(
    `-secontext a\n -- ${DEVICE}`,
    "-secontext: 'a\\x0a' is not accepted; expected a context of SELinux or a profile of AppArmor: " +
      "1 to 1024 printable ASCII characters",
  );
});

Deno.test("without words, splitvm jail says how it is used", () => {
  assertEquals(parseJailCommand([]), { kind: "usage" });
});

Deno.test("what cannot be jailed is refused", () => {
  refuses(DEVICE, "'-machine': expected -- and the options of a device process");
  refuses("-secontext a", "--: is missing, and the options of a device process behind it");
  refuses(`-hlep -- ${DEVICE}`, "'-hlep': did you mean '-help'?");
  refuses("-- -m 512", "--: expected a device process: -machine remote");
  for (const rest of ["", " -help", " -version", " -machine remote -help", " -device help"]) {
    refuses(`--${rest}`, "--: expected a device process: -machine remote");
  }
});

Deno.test("a socket that would have to be opened in the jail is refused, one that is open is not", () => {
  const chardev = (where: string) => `-- ${DEVICE} -chardev socket,id=c,${where} -mon chardev=c,mode=control`;
  const expected = "expected a socket that is open: -chardev socket,id=c,fd=<fd>";
  for (const where of ["path=/run/qmp,server=on,wait=off", "path=/run/qmp"]) {
    refuses(chardev(where), `character device c: in a jail there is no /run/qmp; ${expected}`);
  }
  assertEquals(jailed(chardev("fd=8")).config.monitors.length, 1);
  assertEquals(jailed(chardev("fd=8,server=on,wait=off")).config.monitors.length, 1);
});
