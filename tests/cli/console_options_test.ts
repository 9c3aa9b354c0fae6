/** Serial ports, debug consoles, monitors, and the character devices that they are on. */
import { assertEquals } from "@std/assert";
import type { CharacterBackend, VmmConfig } from "../../src/vmm/config.ts";
import { characterTarget, humanMonitorTarget, monitorTarget } from "../../src/cli/character_devices.ts";
import { refuses, remote, vmm } from "./parsing.ts";

const STDIO: CharacterBackend = { kind: "stdio", signals: true };
/** Ctrl-C is for the guest. */
const RAW_STDIO: CharacterBackend = { kind: "stdio", signals: false };

/** What each serial port is connected to. */
function serialBackends({ serialPorts, characterDevices }: VmmConfig): (CharacterBackend | undefined)[] {
  return serialPorts.map((index) => index === undefined ? undefined : characterDevices[index].backend);
}

/** What the one serial port of a command line is connected to. */
function serialBackend(target: string): CharacterBackend | undefined {
  return serialBackends(vmm(`-serial ${target}`))[0];
}

Deno.test("serial ports come in order, and none leaves a gap", () => {
  const config = vmm("-serial none -serial file:out.txt -serial null");
  assertEquals(serialBackends(config), [undefined, { kind: "file", path: "out.txt" }, { kind: "null" }]);
  assertEquals(config.characterDevices.map(({ id }) => id), ["serial1", "serial2"]);
});

Deno.test("there is no serial port with -nodefaults", () => {
  assertEquals(vmm("-nodefaults").serialPorts, []);
  assertEquals(serialBackends(vmm("-nodefaults -serial stdio")), [STDIO]);
});

Deno.test("there are at most four serial ports", () => {
  refuses("-serial null ".repeat(5), "-serial: there are 5 of them; expected at most 4");
});

Deno.test("a serial port is on a socket or a pseudo-terminal", () => {
  const listen = { kind: "listen", path: "/tmp/s", wait: true } as const;
  assertEquals(serialBackend("pty"), { kind: "pty" });
  assertEquals(serialBackend("unix:/tmp/s"), { kind: "socket", transport: { kind: "connect", path: "/tmp/s" } });
  assertEquals(serialBackend("unix:/tmp/s,server=on"), { kind: "socket", transport: listen });
  assertEquals(serialBackend("unix:/tmp/s,server,nowait"), { kind: "socket", transport: { ...listen, wait: false } });
});

Deno.test("backends that are not there are refused", () => {
  const socket = "unix:<file>[,server=on|off][,wait=on|off]";
  const expected = `expected none, null, file:<file>, chardev:<id>, [mon:]stdio, [mon:]pty or [mon:]${socket}`;
  for (
    const backend of ["mon:null", "mon:", "mon:mon:stdio", "unix", "file:", "chardev:", "vc"]
  ) {
    refuses(`-serial ${backend}`, `-serial: '${backend}' is not accepted; ${expected}`);
  }
});

Deno.test("what is wrong with a socket's short spelling is said as for -chardev socket", () => {
  const long = `/tmp/${"a".repeat(103)}`;
  const problems = [
    [`unix:${long},server=on`, `path='${long.slice(0, 80)}...' is not accepted; expected a path of at most 107 bytes`],
    ["unix:,server=on", "path='' is not accepted; expected a path of at most 107 bytes"],
    ["unix:", "'path' is missing; expected path=<file>"],
    ["unix:/tmp/s,wait=on", "'wait' is for server=on"],
    ["unix:/tmp/s,nowait", "'wait' is for server=on"],
    ["unix:/tmp/s,server=maybe", "server='maybe' is not accepted; expected on or off"],
    ["unix:/tmp/s,server=on,wait=on,nowait", "'wait' is given twice"],
    ["unix:/tmp/s,foo=on", "unknown property 'foo'; expected path, server, wait"],
    ["unix:/tmp/s,=on", "no name in front of a value in '/tmp/s,=on'; expected name=value"],
  ];
  for (const [spelling, problem] of problems) {
    for (const option of ["-serial", "-monitor", "-qmp"]) refuses(`${option} ${spelling}`, `${option}: ${problem}`);
    refuses(`-serial mon:${spelling}`, `-serial: ${problem}`);
  }
  refuses(`-chardev socket,id=c,path=${long}`, `-chardev socket,id=c: ${problems[0][1]}`);
});

Deno.test("a character device is found by its id", () => {
  const config = vmm(
    "-chardev stdio,id=con -serial chardev:con -chardev file,id=log,path=log.txt -device isa-debugcon,iobase=0x402,chardev=log",
  );
  assertEquals(serialBackends(config), [STDIO]);
  const [{ port, characterDevice }] = config.debugConsoles;
  assertEquals(port, 0x402);
  const log = { id: "log", backend: { kind: "file", path: "log.txt" }, mux: false } as const;
  assertEquals(config.characterDevices[characterDevice], log);
});

Deno.test("a character device has one user unless it is shared", () => {
  refuses(
    "-chardev null,id=c -serial chardev:c -serial chardev:c",
    "-serial: character device 'c' belongs to -serial already; mux=on shares it",
  );
  const config = vmm("-chardev null,id=c,mux=on -serial chardev:c -serial chardev:c -debugcon chardev:c");
  assertEquals([config.serialPorts, config.debugConsoles[0].characterDevice], [[0, 0], 0]);
  assertEquals(config.characterDevices, [{ id: "c", backend: { kind: "null" }, mux: true }]);
  refuses(
    `-chardev null,id=c,mux=on ${"-debugcon chardev:c ".repeat(1)} ${"-serial chardev:c ".repeat(4)}`,
    "-serial: character device 'c' has 4 users already",
  );
});

Deno.test("a character device that nobody uses, or that is not there, is an error", () => {
  refuses(
    "-chardev null,id=c",
    "-chardev null,id=c: nothing uses it; expected for example -serial chardev:c or -mon c,mode=control",
  );
  refuses("-serial chardev:c", "-serial: no -chardev has the id 'c'");
  refuses("-chardev null,id=c -chardev null,id=c", "-chardev null,id=c: its id is taken already");
});

Deno.test("standard input and output have one user", () => {
  refuses("-serial stdio -serial stdio", "-serial: stdio belongs to -serial already");
  refuses("-debugcon stdio -serial stdio", "-serial: stdio belongs to -debugcon already");
  refuses("-monitor stdio -serial stdio", "-serial: stdio belongs to -monitor already");
});

Deno.test("a debug console on stdio takes the place of the serial port that nobody asked for", () => {
  const config = vmm("-debugcon stdio");
  assertEquals(config.serialPorts, []);
  assertEquals(config.debugConsoles, [{ port: 0xe9, characterDevice: 0 }]);
  assertEquals(config.characterDevices[0].backend, STDIO);
});

Deno.test("mon: shares a serial port with a monitor, and gives it Ctrl-C", () => {
  const { characterDevices, serialPorts, humanMonitors } = vmm("-serial mon:stdio");
  assertEquals(characterDevices, [{ id: "serial0", backend: RAW_STDIO, mux: true }]);
  assertEquals([serialPorts, humanMonitors], [[0], [0]]);
  assertEquals(vmm("-serial mon:pty").characterDevices[0].backend, { kind: "pty" });
});

Deno.test("-nographic puts on stdio what nothing else says where to put", () => {
  const shared = vmm("-serial mon:stdio");
  assertEquals(vmm("-nographic"), shared);
  assertEquals(vmm("-nographic -serial mon:stdio"), shared);
  assertEquals(vmm("-nographic -monitor none"), vmm("-serial stdio"));
  const monitor = vmm("-nographic -serial none");
  assertEquals(monitor.characterDevices, [{ id: "compat_monitor0", backend: STDIO, mux: false }]);
  assertEquals([monitor.serialPorts, monitor.humanMonitors], [[undefined], [0]]);
  const apart = vmm("-nographic -monitor pty");
  assertEquals(apart.characterDevices.map(({ backend }) => backend), [{ kind: "pty" }, STDIO]);
  assertEquals([apart.serialPorts, apart.humanMonitors], [[1], [0]]);
  assertEquals(vmm("-nographic -nodefaults"), vmm("-nodefaults"));
  assertEquals(vmm("-nographic -qmp unix:q,server=on,wait=off").humanMonitors, []);
});

Deno.test("-nographic is refused where what it puts on stdio finds somebody else there", () => {
  for (const user of ["-serial", "-monitor", "-debugcon", "-qmp"]) {
    refuses(`-nographic ${user} stdio`, `-nographic: stdio belongs to ${user} already`);
  }
  refuses("-chardev stdio,id=c -mon c -nographic", "-nographic: stdio belongs to -mon already");
  const both = vmm("-nographic -serial null -monitor stdio");
  assertEquals([both.serialPorts.length, both.humanMonitors.length], [1, 1]);
  assertEquals(vmm("-nographic -nodefaults -monitor stdio").serialPorts, []);
});

Deno.test("-chardev says itself whether keys are signals, and whether it is shared", () => {
  const config = vmm("-chardev stdio,id=c,mux=on,signal=off -serial chardev:c -mon chardev=c,mode=readline");
  assertEquals(config.characterDevices, [{ id: "c", backend: RAW_STDIO, mux: true }]);
  assertEquals([config.serialPorts, config.humanMonitors], [[0], [0]]);
  assertEquals(vmm("-chardev stdio,id=c -serial chardev:c").characterDevices[0].backend, STDIO);
});

Deno.test("monitors for people are where somebody can type at them", () => {
  assertEquals(vmm("-monitor none -monitor null").humanMonitors, []);
  assertEquals(vmm("-monitor stdio").characterDevices, [{ id: "compat_monitor0", backend: STDIO, mux: false }]);
  assertEquals(vmm("-chardev pty,id=c -mon c").humanMonitors, [0]);
  const nobody = "-mon: character device 'c' is a null; expected one with input";
  refuses("-chardev null,id=c -mon c", nobody);
  refuses("-chardev pty,id=c,mux=on -mon c -mon c", "-mon: character device 'c' has a monitor already");
  refuses("-chardev pty,id=c -mon c,pretty=on", "-mon: 'pretty' is for mode=control");
});

Deno.test("the escape key is a control character", () => {
  assertEquals(vmm("-echr 20").escapeKey, 20);
  assertEquals(vmm("-echr 0x14").escapeKey, 20);
  refuses("-echr 97", "-echr: '97' is not accepted; expected a whole number from 1 to 31");
});

Deno.test("a device process has no monitor for people", () => {
  const device = "-device lsi53c895a,id=a -object remote-object,id=o,devid=a,fd=5";
  refuses(`-machine remote ${device} -monitor stdio`, "-monitor: a device process has no monitor for people");
  const readline = "-chardev stdio,id=c -mon c";
  refuses(`-machine remote ${device} ${readline}`, "-mon: a device process has no monitor for people");
  assertEquals(remote(`${device} -chardev stdio,id=c -mon c,mode=control`).monitors.length, 1);
});

Deno.test("QMP servers are on sockets and stdio, by -qmp and by -mon", () => {
  const { monitors } = vmm(
    "-qmp unix:a.sock,server=on,wait=off -qmp unix:b.sock -chardev socket,id=c,fd=7 -mon c,mode=control,pretty=on",
  );
  assertEquals(monitors, [
    { id: "compat_monitor0", transport: { kind: "listen", path: "a.sock", wait: false }, pretty: false },
    { id: "compat_monitor1", transport: { kind: "connect", path: "b.sock" }, pretty: false },
    { id: "c", transport: { kind: "fd", fd: 7 }, pretty: true },
  ]);
  const [old, waiting] = vmm("-qmp unix:a.sock,server,nowait -qmp unix:b.sock,server=on").monitors;
  assertEquals(old.transport, { kind: "listen", path: "a.sock", wait: false });
  assertEquals(waiting.transport, { kind: "listen", path: "b.sock", wait: true });
  const [inherited] = vmm("-chardev socket,id=c,fd=7,server=on,wait=off -qmp chardev:c").monitors;
  assertEquals(inherited, { id: "c", transport: { kind: "listen-fd", fd: 7, wait: false }, pretty: false });
});

Deno.test("a QMP server on stdio leaves none to the console", () => {
  const { monitors, serialPorts } = vmm("-qmp stdio");
  assertEquals([monitors[0].transport, serialPorts], [{ kind: "stdio" }, []]);
  refuses("-qmp stdio -serial stdio", "-serial: stdio belongs to -qmp already");
});

Deno.test("QMP servers that nobody could reach are refused", () => {
  const forms = "expected stdio, unix:<file>[,server=on|off][,wait=on|off] or chardev:<id>";
  refuses("-qmp tcp:localhost:4444", `-qmp: 'tcp:localhost:4444' is not accepted; ${forms}`);
  refuses("-qmp chardev:c", "-qmp: no -chardev has the id 'c'");
  refuses("-chardev null,id=c -mon c,mode=control", "-mon: character device 'c' is a null; expected a socket or stdio");
  refuses("-chardev socket,id=c -qmp chardev:c", "-chardev socket,id=c: expected either path= or fd=");
  refuses("-chardev socket,id=c,path=a,wait=off -qmp chardev:c", "-chardev socket,id=c: 'wait' is for server=on");
  const shared = "-chardev socket,id=c,path=a,mux=on -mon c,mode=control -serial chardev:c";
  refuses(shared, "-mon: character device 'c' has mux=on; QMP shares it with nobody");
});

Deno.test("an inherited socket has one user", () => {
  const taken = "-device pci-proxy-dev: fd=7 belongs to -mon already";
  refuses("-chardev socket,id=c,fd=7 -mon c,mode=control -device pci-proxy-dev,fd=7", taken);
  const serial = "-serial: fd=7 belongs to -qmp already";
  refuses("-chardev socket,id=a,fd=7 -chardev socket,id=b,fd=7 -qmp chardev:a -serial chardev:b", serial);
});

Deno.test("short spellings are written as they are read", () => {
  const sockets = ["unix:/tmp/s", "unix:/tmp/s,server=on,wait=off", "unix:/tmp/s,server=on,wait=on"];
  for (const text of ["none", "null", "file:a", "chardev:c", "stdio", "pty", "mon:stdio", "mon:pty", ...sockets]) {
    assertEquals(characterTarget.format(characterTarget.parse(text)!), text);
  }
  for (const text of ["none", "chardev:c", "stdio", "pty", ...sockets]) {
    assertEquals(humanMonitorTarget.format(humanMonitorTarget.parse(text)!), text);
  }
  for (const text of ["chardev:c", "stdio", ...sockets]) {
    assertEquals(monitorTarget.format(monitorTarget.parse(text)!), text);
  }
});
