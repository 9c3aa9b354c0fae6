import { assertEquals } from "@std/assert";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { refuses, vmm } from "./parsing.ts";

const MIB = 2 ** 20;
const BACKEND = "-object memory-backend-memfd,id=mem,size=256M";

Deno.test("a VM without options has one CPU, 128 MiB, and COM1 on stdio", () => {
  assertEquals(vmm("-machine q35"), {
    name: undefined,
    uuid: undefined,
    memory: { id: "ram", size: 128 * MIB, seal: true },
    cpus: 1,
    cpuModel: "host",
    firmware: undefined,
    kernel: undefined,
    devices: [],
    characterDevices: [{ id: "serial0", backend: { kind: "stdio", signals: true }, mux: false }],
    serialPorts: [0],
    debugConsoles: [],
    debugExit: undefined,
    firmwareFiles: [],
    boot: { order: "cad", menu: false },
    rtcBase: "utc",
    noReboot: false,
    startPaused: false,
    sandboxed: true,
    monitors: [],
    humanMonitors: [],
    escapeKey: 1,
  });
});

Deno.test("the options of a whole VM arrive", () => {
  const config = vmm(
    "-name web -uuid 6BA7B810-9DAD-11D1-80B4-00C04FD430C8 -machine q35,accel=kvm,usb=off,smm=off -accel kvm -cpu max " +
      "-smp 4 -m 1.5G -bios bios.bin -boot order=cd,menu=on -rtc base=localtime -no-reboot " +
      "-fw_cfg name=opt/org.test/a,string=x -fw_cfg opt/org.test/b,file=b.bin -serial null",
  );
  assertEquals(config, {
    ...vmm("-serial null"),
    name: "web",
    uuid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    memory: { id: "ram", size: 1536 * MIB, seal: true },
    cpus: 4,
    cpuModel: "max",
    firmware: "bios.bin",
    boot: { order: "cd", menu: true },
    rtcBase: "localtime",
    noReboot: true,
    startPaused: false,
    sandboxed: true,
    monitors: [],
    firmwareFiles: [
      { name: "opt/org.test/a", source: { string: "x" } },
      { name: "opt/org.test/b", source: { file: "b.bin" } },
    ],
  });
});

Deno.test("-m counts MiB where it has no suffix", () => {
  assertEquals(vmm("-m 256").memory.size, 256 * MIB);
  assertEquals(vmm("-m size=256M").memory.size, 256 * MIB);
});

Deno.test("-m is a number of whole MiB, and no more than a CPU can address", () => {
  const expected = "expected a multiple of 1M from 1M to 1T";
  for (const size of ["0", "-1", "512k", "1.5", "1025G", "99999999999999999999", "many"]) {
    refuses(`-m ${size}`, `-m: size='${size}' is not accepted; ${expected}`);
  }
});

Deno.test("memory hot-plug is refused by name", () => {
  refuses("-m 1G,slots=2,maxmem=4G", "-m: 'slots' is not supported: RAM cannot be plugged in later");
});

Deno.test("a memory backend is guest RAM where -machine or -numa says so, and -m may repeat its size", () => {
  const memory = { id: "mem", size: 256 * MIB, seal: true };
  assertEquals(vmm(`${BACKEND} -machine q35,memory-backend=mem`).memory, memory);
  assertEquals(vmm(`${BACKEND} -numa node,memdev=mem`).memory, memory);
  assertEquals(vmm(`-m 256 ${BACKEND},seal=off,share=on -numa node,memdev=mem`).memory, { ...memory, seal: false });
});

Deno.test("a memory backend of another size than -m is refused", () => {
  refuses(
    `-m 1G ${BACKEND} -numa node,memdev=mem`,
    "-object memory-backend-memfd,id=mem: its size is 256M, and -m says 1G; expected the same, or no -m",
  );
});

Deno.test("a memory backend that does not exist, or that nothing uses, is refused", () => {
  refuses(
    `${BACKEND} -machine memory-backend=men`,
    "-machine q35,memory-backend=: no -object memory-backend-memfd has the id 'men'; did you mean 'mem'?",
  );
  refuses(BACKEND, "-object memory-backend-memfd,id=mem: nothing uses it; expected -machine q35,memory-backend=mem");
});

Deno.test("guest RAM is one backend", () => {
  refuses(
    `${BACKEND} -numa node,memdev=mem -machine q35,memory-backend=mem`,
    "-numa node: -machine q35,memory-backend= says already what guest RAM is; expected one of the two",
  );
  refuses(`${BACKEND} -numa node,memdev=mem -numa node,memdev=mem`, "-numa: is given twice");
  refuses(
    `${BACKEND} ${BACKEND} -numa node,memdev=mem`,
    "-object memory-backend-memfd,id=mem: its id is taken already",
  );
});

Deno.test("memory that device processes cannot share is refused", () => {
  refuses(
    `${BACKEND},share=off -numa node,memdev=mem`,
    "-object memory-backend-memfd,id=mem: share='off' is not accepted; expected on",
  );
});

Deno.test("-smp counts vCPUs, each a core of one socket", () => {
  assertEquals(vmm("-smp 4").cpus, 4);
  assertEquals(vmm("-smp cpus=2,maxcpus=2").cpus, 2);
  assertEquals(vmm("-smp sockets=1,cores=2,threads=1").cpus, 2);
  assertEquals(vmm("-smp 128").cpus, 128);
});

Deno.test("numbers of vCPUs that are out of range or contradict each other are refused", () => {
  refuses("-smp 0", "-smp: cpus='0' is not accepted; expected a whole number from 1 to 128");
  refuses("-smp 129", "-smp: cpus='129' is not accepted; expected a whole number from 1 to 128");
  refuses("-smp 4,sockets=4", "-smp: sockets='4' is not accepted; expected 1");
  refuses("-smp 4,cores=2", "-smp: cpus, cores and maxcpus differ; expected the same number, or cpus alone");
  refuses("-smp 2,maxcpus=4", "-smp: cpus, cores and maxcpus differ; expected the same number, or cpus alone");
});

Deno.test("switches for what the machine does not have are accepted in the one position that is true", () => {
  vmm("-machine q35,usb=off,smm=off,vmport=off,hpet=off,graphics=off,sata=off,smbus=off,acpi=on,kernel-irqchip=on");
  vmm("-enable-kvm -display none -vga none -monitor none -parallel none -net none -nic none -no-user-config");
  refuses("-machine q35,accel=tcg", "-machine q35: accel='tcg' is not accepted; expected kvm");
  refuses("-accel tcg", "-accel: unknown accelerator 'tcg'; expected kvm");
});

Deno.test("CPU models and features that are not there are refused", () => {
  refuses("-cpu Haswell", "-cpu: model='Haswell' is not accepted; expected host or max");
  refuses("-cpu host,-avx2", "-cpu: unknown property '-avx2'; expected model");
});

Deno.test("a kernel comes with its RAM disk and command line", () => {
  assertEquals(vmm("-kernel vmlinux").kernel, { file: "vmlinux", initrd: undefined, append: "" });
  assertEquals(vmm("-kernel vmlinux -initrd i -append a=b,c").kernel, {
    file: "vmlinux",
    initrd: "i",
    append: "a=b,c",
  });
});

Deno.test("an empty kernel command line is accepted, one that Linux would cut is not", () => {
  const command = parseCommandLine(["-kernel", "k", "-append", ""]);
  assertEquals(command.kind === "vmm" && command.config.kernel?.append, "");
  assertEquals(vmm(`-kernel k -append ${"x".repeat(2047)}`).kernel?.append.length, 2047);
  refuses(
    `-kernel k -append ${"x".repeat(2048)}`,
    `-append: '${"x".repeat(80)}...' is not accepted; expected at most 2047 characters without NUL`,
  );
});

Deno.test("-initrd and -append without -kernel are refused", () => {
  refuses("-initrd i", "-initrd: is for a kernel; expected -kernel as well");
  refuses("-append quiet", "-append: is for a kernel; expected -kernel as well");
});

Deno.test("proxies and local devices come in command-line order", () => {
  const { devices } = vmm(
    "-device pci-proxy-dev,id=p,fd=3,addr=06.0 -drive id=d0,file=a -device lsi53c895a,id=lsi0 " +
      "-device scsi-hd,drive=d0 -device pci-proxy-dev,fd=4",
  );
  assertEquals(devices.map((device) => device.kind === "proxy" ? device.id : device.controller.id), [
    "p",
    "lsi0",
    "pci-proxy-dev-0",
  ]);
  assertEquals(devices[0], {
    ...{ kind: "proxy", id: "p", fd: 3, slot: 6, accelerated: true },
    ...{ heartbeat: 1000, deadline: 10_000 },
  });
  assertEquals(devices[1].kind === "local" && devices[1].controller.disks[0].drive.file, "a");
  assertEquals(devices[1].slot, undefined);
});

Deno.test("accesses go through shared memory, unless the device says otherwise", () => {
  const { devices } = vmm(
    "-device lsi53c895a -device lsi53c895a,id=b,accel=off -device pci-proxy-dev,fd=3,accel=off -device lsi53c895a,id=d,accel=on",
  );
  assertEquals(devices.map(({ accelerated }) => accelerated), [true, false, false, true]);
});

Deno.test("the machine's own process is locked down, unless -sandbox says otherwise", () => {
  assertEquals(["-S", "-sandbox on", "-sandbox off"].map((options) => vmm(options).sandboxed), [true, true, false]);
});

Deno.test("device processes are jailed, unless -sandbox or the device says otherwise", () => {
  const jailed = (options: string) => vmm(options).devices.map((device) => device.kind === "local" && device.sandboxed);
  const devices = "-device lsi53c895a -device lsi53c895a,id=b,sandbox=off -device lsi53c895a,id=c,sandbox=on";
  assertEquals(jailed(devices), [true, false, true]);
  assertEquals(jailed(`-sandbox on ${devices}`), [true, false, true]);
  assertEquals(jailed(`-sandbox off ${devices}`), [false, false, true]);
});

Deno.test("a device process has the security context that its device names, in a jail", () => {
  const { devices } = vmm("-device lsi53c895a,secontext=system_u:system_r:svirt_t:s0:c1,,c2 -device lsi53c895a,id=b");
  assertEquals(devices.map((device) => device.kind === "local" && device.securityContext), [
    "system_u:system_r:svirt_t:s0:c1,c2",
    undefined,
  ]);
  const problem = "'secontext' is for a device process in a jail, and sandbox=off is without";
  refuses("-device lsi53c895a,id=a,secontext=x,sandbox=off", `-device lsi53c895a,id=a: ${problem}`);
  refuses("-sandbox off -device lsi53c895a,id=a,secontext=x", `-device lsi53c895a,id=a: ${problem}`);
});

Deno.test("how device processes are watched is said by their devices, and otherwise the same for all", () => {
  const { devices } = vmm(
    "-device lsi53c895a -device lsi53c895a,id=b,heartbeat=0,deadline=100 -device pci-proxy-dev,fd=3,heartbeat=10 " +
      "-device pci-proxy-dev,fd=4,heartbeat=60000,deadline=600000",
  );
  assertEquals(devices.map(({ heartbeat, deadline }) => [heartbeat, deadline]), [
    ...[[1000, 10_000], [0, 100], [10, 10_000], [60_000, 600_000]],
  ]);
});

Deno.test("a heartbeat or deadline that is too short or too long is refused", () => {
  for (const value of ["9", "60001", "-1", "1s", ""]) {
    refuses(
      `-device lsi53c895a,heartbeat=${value}`,
      `-device lsi53c895a: heartbeat='${value}' is not accepted; expected 0, or a number of milliseconds from 10 to 60000`,
    );
  }
  for (const value of ["0", "99", "600001", "forever"]) {
    refuses(
      `-device pci-proxy-dev,fd=3,deadline=${value}`,
      `-device pci-proxy-dev: deadline='${value}' is not accepted; expected a number of milliseconds from 100 to 600000`,
    );
  }
});

const RESTARTED = "-device lsi53c895a,id=a,restart=";

Deno.test("device processes are started again as often as is asked for, and never if it is not", () => {
  const { devices } = vmm(
    `-device lsi53c895a ${["off", "on", "1", "65535"].map((n) => RESTARTED.replace("=a", `=a${n}`) + n).join(" ")}`,
  );
  assertEquals(devices.map((device) => device.kind === "local" && device.restarts), [0, 0, Infinity, 1, 65535]);
  for (const value of ["0", "65536", "-1", "maybe"]) {
    refuses(
      `${RESTARTED}${value}`,
      `-device lsi53c895a,id=a: restart='${value}' is not accepted; expected on, off, or a whole number from 1 to 65535`,
    );
  }
});

Deno.test("a drive keeps nothing in a process that may be started again: no write cache of an image that is not raw, no snapshot", () => {
  const cacheOf = (drive: string, restart = "on") => {
    const [device] = vmm(`-drive id=d,file=f,${drive} ${RESTARTED}${restart} -device scsi-hd,drive=d`).devices;
    return device.kind === "local" && device.controller.disks[0].drive.cache;
  };
  assertEquals(
    ["format=qcow2", "cache=writeback", "cache=unsafe"].map((drive) => cacheOf(drive)),
    Array(3).fill("writethrough"),
  );
  assertEquals(cacheOf("format=qcow2,cache=none"), "directsync");
  assertEquals(
    [cacheOf("format=raw"), cacheOf("readonly=on"), cacheOf("format=qcow2", "off")],
    Array(3).fill("writeback"),
  );
  refuses(
    `-drive id=d,file=f,format=raw,snapshot=on ${RESTARTED}1 -device scsi-hd,drive=d`,
    "-device lsi53c895a,id=a: restart= does not go with snapshot=on of drive 'd', which ends with its process",
  );
});

Deno.test("controllers without an id have made-up ids, and their buses QEMU's names", () => {
  const { devices } = vmm(
    "-device lsi53c895a,addr=5 -device lsi53c895a,id=lsi53c895a-0 -device lsi53c895a " +
      "-drive id=d0,file=a -device scsi-hd,drive=d0,bus=scsi.1",
  );
  const controllers = devices.flatMap((device) => device.kind === "local" ? [device.controller] : []);
  assertEquals(controllers.map(({ id }) => id), ["lsi53c895a-1", "lsi53c895a-0", "lsi53c895a-2"]);
  assertEquals(controllers.map(({ disks }) => disks.length), [0, 0, 1]);
});

Deno.test("two buses of one name are refused", () => {
  refuses(
    "-device lsi53c895a -device lsi53c895a,id=scsi",
    "-device lsi53c895a,id=scsi: its SCSI bus is called scsi.0, as that of -device lsi53c895a",
  );
});

Deno.test("a slot and a descriptor have one device", () => {
  refuses(
    "-device pci-proxy-dev,id=a,fd=3,addr=6 -device lsi53c895a,id=b,addr=06.0",
    "-device lsi53c895a,id=b: addr=6 belongs to -device pci-proxy-dev,id=a already",
  );
  refuses(
    "-device pci-proxy-dev,id=a,fd=3 -device pci-proxy-dev,id=b,fd=3",
    "-device pci-proxy-dev,id=b: fd=3 belongs to -device pci-proxy-dev,id=a already",
  );
});

Deno.test("the slots of the chip set are refused", () => {
  const expected = "expected a PCI slot in hexadecimal, from 1 to 1e, function 0";
  for (const addr of ["0", "1f", "20", "5.1"]) {
    refuses(`-device lsi53c895a,addr=${addr}`, `-device lsi53c895a: addr='${addr}' is not accepted; ${expected}`);
  }
});

Deno.test("there are no more devices than slots", () => {
  const devices = (count: number) =>
    Array.from({ length: count }, (_, n) => `-device pci-proxy-dev,fd=${n + 3}`).join(" ");
  assertEquals(vmm(devices(30)).devices.length, 30);
  refuses(devices(31), "-device pci-proxy-dev: no PCI slot is left; expected at most 30 devices");
});

Deno.test("standard streams are not given to a device", () => {
  refuses(
    "-device pci-proxy-dev,fd=0",
    "-device pci-proxy-dev: fd='0' is not accepted; expected the number of an open descriptor, 3 or above",
  );
  refuses("-device pci-proxy-dev,id=a", "-device pci-proxy-dev,id=a: 'fd' is missing; expected fd=<fd>");
});

Deno.test("debug ports do not overlap", () => {
  refuses("-debugcon null -debugcon null", "-debugcon: iobase=0xe9 belongs to -debugcon already");
  refuses(
    "-debugcon null -device isa-debug-exit,iobase=0xe8",
    "-device isa-debug-exit: its ports are those of a debug console",
  );
});

Deno.test("isa-debug-exit is at 0x501 where nothing else is said, once, and within the I/O ports", () => {
  assertEquals(vmm("-device isa-debug-exit").debugExit, { port: 0x501, size: 2 });
  assertEquals(vmm("-device isa-debug-exit,iobase=0xf4,iosize=0x04").debugExit, { port: 0xf4, size: 4 });
  refuses("-device isa-debug-exit -device isa-debug-exit", "-device isa-debug-exit: is given twice; expected one");
  refuses("-device isa-debug-exit,iobase=0xffff", "-device isa-debug-exit: its ports do not end below 0x10000");
  refuses(
    "-device isa-debug-exit,iosize=8",
    "-device isa-debug-exit: iosize='8' is not accepted; expected a whole number from 1 to 4",
  );
});

Deno.test("a firmware file has either a string or a host file, and a name of its own", () => {
  refuses("-fw_cfg name=opt/a", "-fw_cfg opt/a: expected either string= or file=");
  refuses("-fw_cfg name=opt/a,string=x,file=y", "-fw_cfg opt/a: expected either string= or file=");
  refuses("-fw_cfg opt/a,string=x -fw_cfg opt/a,string=y", "-fw_cfg opt/a: is given twice");
});

Deno.test("boot order is letters of drives, each once", () => {
  assertEquals(vmm("-boot d").boot, { order: "d", menu: false });
  assertEquals(vmm("-boot c,menu").boot, { order: "c", menu: true });
});

Deno.test("boot orders with unknown or repeated letters are refused", () => {
  const expected = "expected letters out of a, b (floppy), c (disk), d (CD-ROM) and n (network), each at most once";
  for (const order of ["x", "cc", "", "C"]) {
    refuses(`-boot order=${order}`, `-boot: order='${order}' is not accepted; ${expected}`);
  }
});

Deno.test("a UUID has its usual form", () => {
  refuses(
    "-uuid 1234",
    "-uuid: '1234' is not accepted; expected a UUID such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
  );
});
