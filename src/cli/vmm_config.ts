/**
 * From the options of `-machine q35` to what the virtual machine is to be.
 *
 * @module
 */
import { parseProperties } from "../options/properties.ts";
import { DEFAULT_DEADLINE, DEFAULT_HEARTBEAT, DEVICE_TYPES } from "../options/device_types.ts";
import { formatByteSize } from "../options/numbers.ts";
import { OptionError, suggestion } from "../options/option_error.ts";
import { CACHE_POLICIES, type CacheMode, type ControllerConfig } from "../options/storage.ts";
import type {
  BootConfig,
  DebugConsoleConfig,
  DebugExitConfig,
  FirmwareFileConfig,
  KernelConfig,
  LocalDeviceConfig,
  MemoryConfig,
  ProxyDeviceConfig,
  VmmConfig,
} from "../vmm/config.ts";
import { type Arguments, type Given, withGlobals } from "./arguments.ts";
import type { CharacterTarget } from "./character_devices.ts";
import { ChardevPool } from "./chardev_pool.ts";
import { resolveControllers } from "./controllers.ts";
import { resolveHumanMonitors, resolveMonitors } from "./monitors.ts";
import { OPTIONS } from "./option_table.ts";
import { DescriptorRegistry, IdRegistry, registerDeviceIds } from "./registries.ts";

const DEFAULT_MEMORY = 128 * 2 ** 20;
const CTRL_A = 1;
/** COM1 to COM4. */
const SERIAL_PORTS = 4;
/** The monitor that nobody asked for; QEMU's name for it. */
const MONITOR_ID = "compat_monitor0";
/** Who asks for standard input and output where nobody else does. */
const NOGRAPHIC = "-nographic";
/** Slots 1 to 0x1e of bus 0. */
const PCI_SLOTS = 30;

/** The options that say which memory backend is guest RAM. */
function memoryBackendReference({ machine, numa }: Arguments): Given<string> | undefined {
  const machineType = machine[0]?.value;
  const references: Given<string>[] = numa.map(({ where, value }) => ({ where, value: value.values.memdev }));
  if (machineType?.name === "q35" && machineType.values["memory-backend"] !== undefined) {
    references.push({ where: "-machine q35,memory-backend=", value: machineType.values["memory-backend"] });
  }
  if (references.length > 1) {
    throw new OptionError(
      references[0].where,
      `${references[1].where} says already what guest RAM is; expected one of the two`,
    );
  }
  return references[0];
}

function memoryConfig(args: Arguments): MemoryConfig {
  const ids = new IdRegistry();
  const backends = args.object.flatMap(({ where, value }) => {
    if (value.name !== "memory-backend-memfd") return [];
    ids.take({ where, value: value.values });
    return [{ where, ...value.values }];
  });
  const asked = args.m[0]?.value.size;
  const reference = memoryBackendReference(args);
  const backend = backends.find(({ id }) => id === reference?.value);
  if (reference !== undefined && backend === undefined) {
    const hint = suggestion(reference.value, backends.map(({ id }) => id));
    throw new OptionError(reference.where, `no -object memory-backend-memfd has the id '${reference.value}'${hint}`);
  }
  const unused = backends.find((other) => other !== backend);
  if (unused !== undefined) {
    throw new OptionError(unused.where, `nothing uses it; expected -machine q35,memory-backend=${unused.id}`);
  }
  if (backend === undefined) return { id: "ram", size: asked ?? DEFAULT_MEMORY, seal: true };
  if (asked !== undefined && asked !== backend.size) {
    const sizes = `its size is ${formatByteSize(backend.size)}, and -m says ${formatByteSize(asked)}`;
    throw new OptionError(backend.where, `${sizes}; expected the same, or no -m`);
  }
  return { id: backend.id, size: backend.size, seal: backend.seal };
}

function cpuCount({ smp }: Arguments): number {
  if (smp.length === 0) return 1;
  const { where, value: { cpus, cores, maxcpus } } = smp[0];
  const counts = [cpus, cores, maxcpus].filter((count) => count !== undefined);
  if (new Set(counts).size > 1) {
    throw new OptionError(where, "cpus, cores and maxcpus differ; expected the same number, or cpus alone");
  }
  return counts[0] ?? 1;
}

function kernelConfig({ kernel, initrd, append }: Arguments): KernelConfig | undefined {
  if (kernel.length > 0) {
    return { file: kernel[0].value, initrd: initrd[0]?.value, append: append[0]?.value ?? "" };
  }
  for (const { where } of [...initrd, ...append]) {
    throw new OptionError(where, "is for a kernel; expected -kernel as well");
  }
  return undefined;
}

/** Whether the machine's processes give up what they do not need, where a device does not say otherwise of its own. */
function isSandboxed({ sandbox }: Arguments): boolean {
  return sandbox[0]?.value.enable ?? true;
}

/**
 * What a guest was told is written has to be there for the process that follows the one that has written it. It is with the host's kernel, but
 * for the metadata of a qcow2 image, which its process keeps until a flush unless there is no write cache.
 */
function withoutLosses(where: string, controller: ControllerConfig): ControllerConfig {
  const disks = controller.disks.map((disk) => {
    const { id, snapshot, readOnly, format, cache } = disk.drive;
    if (readOnly) return disk;
    if (snapshot) {
      throw new OptionError(
        where,
        `restart= does not go with snapshot=on of drive '${id}', which ends with its process`,
      );
    }
    if (format === "raw") return disk;
    const kept: CacheMode = CACHE_POLICIES[cache].direct ? "directsync" : "writethrough";
    return { ...disk, drive: { ...disk.drive, cache: kept } };
  });
  return { ...controller, disks };
}

/** Proxies and local devices, in command-line order. */
function pciDevices(args: Arguments, descriptors: DescriptorRegistry): (ProxyDeviceConfig | LocalDeviceConfig)[] {
  const ids = registerDeviceIds(args.device);
  const slots = new Map<number, string>();
  const controllers = resolveControllers(args, ids);
  const devices: (ProxyDeviceConfig | LocalDeviceConfig)[] = [];
  for (const { where, value: device } of args.device) {
    if (device.name !== "pci-proxy-dev" && device.name !== "lsi53c895a") continue;
    const slot = device.values.addr;
    if (slot !== undefined) {
      const holder = slots.get(slot);
      if (holder !== undefined) throw new OptionError(where, `addr=${slot.toString(16)} belongs to ${holder} already`);
      slots.set(slot, where);
    }
    const { heartbeat = DEFAULT_HEARTBEAT, deadline = DEFAULT_DEADLINE } = device.values;
    if (device.name === "pci-proxy-dev") {
      const { id = ids.make("pci-proxy-dev"), fd, accel: accelerated } = device.values;
      descriptors.take(where, fd);
      devices.push({ kind: "proxy", id, fd, slot, accelerated, heartbeat, deadline });
    } else {
      // Controllers come back in the same order.
      const accelerated = device.values.accel ?? true;
      const sandboxed = device.values.sandbox ?? isSandboxed(args);
      const securityContext = device.values.secontext;
      if (securityContext !== undefined && !sandboxed) {
        throw new OptionError(where, "'secontext' is for a device process in a jail, and sandbox=off is without");
      }
      const restarts = device.values.restart ?? 0;
      const { config } = controllers.shift()!;
      const controller = restarts === 0 ? config : withoutLosses(where, config);
      const watched = { accelerated, heartbeat, deadline, restarts };
      devices.push({ kind: "local", controller, slot, ...watched, sandboxed, securityContext });
    }
    if (devices.length > PCI_SLOTS) {
      throw new OptionError(where, `no PCI slot is left; expected at most ${PCI_SLOTS} devices`);
    }
  }
  return devices;
}

function debugConsoles({ device, debugcon, global }: Arguments, chardevs: ChardevPool): DebugConsoleConfig[] {
  const consoles: (DebugConsoleConfig & { where: string })[] = [];
  const add = (where: string, port: number, characterDevice: number | undefined) => {
    if (characterDevice === undefined) return;
    const other = consoles.find((console) => console.port === port);
    if (other !== undefined) {
      throw new OptionError(where, `iobase=0x${port.toString(16)} belongs to ${other.where} already`);
    }
    consoles.push({ where, port, characterDevice });
  };
  for (const [i, { where, value }] of debugcon.entries()) {
    const pairs = withGlobals("isa-debugcon", [{ key: "chardev", value: "unnamed" }], global);
    const { iobase } = parseProperties(where, DEVICE_TYPES["isa-debugcon"].properties, pairs);
    add(where, iobase, chardevs.resolve(where, value, `debugcon${i}`));
  }
  for (const { where, value } of device) {
    if (value.name !== "isa-debugcon") continue;
    const { iobase, chardev: id } = value.values;
    add(where, iobase, chardevs.resolve(where, { kind: "chardev", id }, id));
  }
  return consoles.map(({ port, characterDevice }) => ({ port, characterDevice }));
}

function debugExit({ device }: Arguments, consoles: readonly DebugConsoleConfig[]): DebugExitConfig | undefined {
  let found: DebugExitConfig | undefined;
  for (const { where, value } of device) {
    if (value.name !== "isa-debug-exit") continue;
    if (found !== undefined) throw new OptionError(where, "is given twice; expected one");
    const { iobase: port, iosize: size } = value.values;
    if (port + size > 0x10000) throw new OptionError(where, "its ports do not end below 0x10000");
    if (consoles.some((console) => console.port >= port && console.port < port + size)) {
      throw new OptionError(where, "its ports are those of a debug console");
    }
    found = { port, size };
  }
  return found;
}

/**
 * Who gets standard input and output without being asked: with `-nographic`, a monitor as well (QEMU: softmmu/vl.c). That option asks for them:
 * who finds somebody else there is told so, as QEMU does.
 */
function defaultConsole(args: Arguments, chardevs: ChardevPool): CharacterTarget {
  const isAsked = args.nographic.length > 0;
  const wantsPort = args.serial.length === 0;
  const hasMonitor = [args.monitor, args.mon, args.qmp].some((given) => given.length > 0) ||
    args.serial.some(({ value }) => value.kind === "backend" && value.monitor);
  const wantsMonitor = isAsked && !hasMonitor;
  if (args.nodefaults.length > 0 || !isAsked && chardevs.stdioTaken) return { kind: "none" };
  // Shared with a monitor, Ctrl-C is the guest's.
  const backend = { kind: "stdio", signals: !(wantsPort && wantsMonitor) } as const;
  if (wantsPort) return { kind: "backend", backend, monitor: wantsMonitor };
  if (wantsMonitor) chardevs.addHumanMonitor(NOGRAPHIC, { kind: "backend", backend, monitor: false }, MONITOR_ID);
  return { kind: "none" };
}

function serialPorts(args: Arguments, chardevs: ChardevPool): VmmConfig["serialPorts"] {
  if (args.serial.length > SERIAL_PORTS) {
    throw new OptionError("-serial", `there are ${args.serial.length} of them; expected at most ${SERIAL_PORTS}`);
  }
  const ports = args.serial.map(({ where, value }, i) => chardevs.resolve(where, value, `serial${i}`));
  const console = chardevs.resolve(NOGRAPHIC, defaultConsole(args, chardevs), "serial0");
  return console === undefined ? ports : [console];
}

function firmwareFiles({ fw_cfg }: Arguments): FirmwareFileConfig[] {
  const names = new Set<string>();
  return fw_cfg.map(({ where, value: { name, string, file } }) => {
    const here = `${where} ${name}`;
    if (names.has(name)) throw new OptionError(here, "is given twice");
    names.add(name);
    if (string !== undefined && file === undefined) return { name, source: { string } };
    if (file !== undefined && string === undefined) return { name, source: { file } };
    throw new OptionError(here, "expected either string= or file=");
  });
}

function bootConfig({ boot }: Arguments): BootConfig {
  const { order, menu } = boot[0]?.value ?? parseProperties("-boot", OPTIONS.boot.argument.properties, []);
  return { order, menu };
}

/**
 * Makes the configuration of a virtual machine.
 *
 * @throws {OptionError} when the options do not fit together.
 */
export function vmmConfig(args: Arguments): VmmConfig {
  const descriptors = new DescriptorRegistry();
  const chardevs = new ChardevPool(args.chardev, descriptors);
  // Before the serial ports, of which one takes standard input and output where nobody else does.
  const monitors = resolveMonitors(args, chardevs);
  resolveHumanMonitors(args, chardevs);
  const consoles = debugConsoles(args, chardevs);
  const ports = serialPorts(args, chardevs);
  const config: VmmConfig = {
    name: args.name[0]?.value.guest,
    uuid: args.uuid[0]?.value,
    memory: memoryConfig(args),
    cpus: cpuCount(args),
    cpuModel: args.cpu[0]?.value.model ?? "host",
    firmware: args.bios[0]?.value,
    kernel: kernelConfig(args),
    devices: pciDevices(args, descriptors),
    characterDevices: chardevs.devices,
    serialPorts: ports,
    debugConsoles: consoles,
    debugExit: debugExit(args, consoles),
    firmwareFiles: firmwareFiles(args),
    boot: bootConfig(args),
    rtcBase: args.rtc[0]?.value.base ?? "utc",
    noReboot: args["no-reboot"].length > 0,
    startPaused: args.S.length > 0,
    sandboxed: isSandboxed(args),
    monitors,
    humanMonitors: chardevs.humanMonitors,
    escapeKey: args.echr[0]?.value ?? CTRL_A,
  };
  chardevs.requireAllTaken();
  return config;
}
