/**
 * Makes a machine: everything that is done once, before any thread runs the guest.
 *
 * @module
 */
import { ReportedError } from "../error_chain.ts";
import { monotonicNow } from "../ffi/clock.ts";
import { type CpuidEntry, Kvm, type KvmVm } from "../ffi/kvm.ts";
import { KvmCapability } from "../ffi/kvm_abi.ts";
import {
  type DeviceProcess,
  type JailedDeviceProcess,
  reapDeviceProcess,
  reapLeftChild,
  type SelfCommand,
  spawnDeviceProcess,
  spawnJailedDeviceProcess,
} from "../proxy/device_process.ts";
import type { MissingWall } from "../proxy/jail.ts";
import { connectProxy, type ProxyHandle } from "../proxy/pci_proxy.ts";
import { createEventFd } from "../ffi/event.ts";
import { closeFd, isInheritedFd } from "../ffi/file.ts";
import { closeAll, isUnixStreamSocket } from "../ffi/socket.ts";
import type { ControllerConfig } from "../options/storage.ts";
import type { QmpEndpoint } from "../qmp/endpoint.ts";
import { markPhase } from "../startup_trace.ts";
import { type AcpiImage, buildAcpi } from "./acpi/acpi.ts";
import { loadFirmware } from "./boot/boot_files.ts";
import type { LocalDeviceConfig, ProxyDeviceConfig, VmmConfig } from "./config.ts";
import type { CharacterHandle } from "./console/character_devices.ts";
import { cpuIdentity, guestCpuid, withBrand } from "./cpuid.ts";
import { buildFirmwareItems } from "./firmware_items.ts";
import { hostBrand } from "./host_cpu.ts";
import { Gsi, KvmLayout, PciSlot, Port, RamLayout, splitRam } from "./layout.ts";
import { DEVICE_CUSTODY_SIZE, DeviceCustody } from "./device_custody.ts";
import { type ImageFile, type KnownImage, knownImages } from "./known_images.ts";
import type {
  DeviceControlHandle,
  DeviceProcessHandle,
  MachineHandle,
  PlacedProxy,
  RestartsHandle,
} from "./machine_handle.ts";
import { createRam } from "./ram.ts";
import { endSpawner, type SpawnerProcess, startSpawner } from "./spawner_client.ts";
import { buildSmbios, type SmbiosImage } from "./smbios/smbios.ts";

/** How device processes are started, and what this process does for those that can open nothing. */
export interface DeviceStart {
  /** This process's own command line. */
  readonly arguments: readonly string[];
  readonly self: SelfCommand;
  /** Absolute paths of what they need to start besides the executable and its libraries. */
  readonly readable: readonly string[];
  /** Opens every file that a controller's images are made of; whoever calls it owns them. */
  readonly openFiles: (controller: ControllerConfig) => readonly ImageFile[];
  /** Says what is missing of a jail. */
  readonly log: (line: string) => void;
}

/** A machine that can be started, and what its end has to clean up. */
export interface LaunchedMachine {
  readonly handle: MachineHandle;
  readonly acpi: AcpiImage;
  readonly smbios: SmbiosImage;
  /** The model-specific registers that make up a vCPU's state. */
  readonly msrs: readonly number[];
  /** Width of the guest's physical addresses. */
  readonly physicalAddressBits: number;
  /** Ends the device processes and waits for them. */
  endDevices(): void;
}

/** What connects a machine to whoever uses it; open. */
export interface Outside {
  /** By number of a character device. */
  readonly characters: readonly CharacterHandle[];
  /** Where its QMP clients come from. */
  readonly monitors: readonly QmpEndpoint[];
}

/** What splitvm cannot do without. */
const REQUIRED = [
  ["IRQCHIP", "in-kernel interrupt controllers"],
  ["PIT2", "an in-kernel timer"],
  ["IRQ_ROUTING", "interrupt routing"],
  ["IRQFD_RESAMPLE", "level-triggered irqfds"],
  ["READONLY_MEM", "read-only memory"],
  ["IMMEDIATE_EXIT", "immediate exits"],
] as const;

/** Widest guest-physical address when CPUID does not say (Intel SDM volume 2A, CPUID leaf 0x80000008). */
const DEFAULT_ADDRESS_BITS = 36;

/**
 * Makes a machine.
 *
 * @param start How to start device processes.
 * @param outside What connects it to whoever uses it.
 * @param meanwhile Called when device processes have begun to start, which takes them a while.
 * @throws {Error} when the host, an image or a device process does not play along; nothing is left behind then but what ends with
 * this process.
 */
export function launch(
  config: VmmConfig,
  start: DeviceStart,
  outside: Outside,
  meanwhile: () => void,
): LaunchedMachine {
  const startedAt = monotonicNow();
  const kvm = openKvm(config);
  // Their start takes longer than anything here, so it comes first.
  const processes = new DeviceProcesses(config, start);
  markPhase("device processes");
  try {
    if (config.devices.length > 0) meanwhile();
    const firmware = config.kernel === undefined ? loadFirmware(config.firmware) : undefined;
    const cpuid = withBrand(kvm.supportedCpuid(), hostBrand());
    const addressBits = physicalAddressBits(cpuid);
    requireAddressable(config.memory.size, addressBits);
    const ram = createRam(config.memory.size, config.memory.id, config.memory.seal);
    const split = splitRam(ram.size);
    const vm = createVm(kvm);
    const vcpuFds = createVcpus(kvm, vm, config.cpus, cpuid);
    markPhase("RAM and vCPUs");
    const acpi = buildAcpi({
      cpus: config.cpus,
      ram: split,
      physicalAddressBits: addressBits,
      serialPorts: acpiSerialPorts(config),
    });
    const smbios = buildSmbios(
      { ram: split, cpus: config.cpus, processor: cpuIdentity(cpuid), uuid: config.uuid },
      { bios: firmware === undefined },
    );
    markPhase("tables");
    const handle: MachineHandle = {
      config,
      vmFd: vm.fd,
      vcpuFds,
      vcpuMmapSize: kvm.vcpuMmapSize(),
      ram,
      firmware,
      firmwareItems: buildFirmwareItems(config, { ram: split, acpi, smbios }),
      proxies: processes.connect(),
      deviceControls: processes.controls(),
      restarts: processes.restarts(),
      monitors: outside.monitors,
      eventFd: createEventFd(),
      signalFds: { deadlines: createEventFd(), inputDrained: createEventFd() },
      characters: outside.characters,
      startedAt,
      buffers: {},
    };
    markPhase("greetings");
    return {
      handle,
      acpi,
      smbios,
      msrs: kvm.msrIndices(),
      physicalAddressBits: addressBits,
      endDevices: () => processes.end(),
    };
  } catch (error) {
    processes.end();
    throw error;
  } finally {
    kvm.close();
  }
}

function openKvm({ cpus }: VmmConfig): Kvm {
  const kvm = Kvm.open();
  const missing = REQUIRED.find(([capability]) => kvm.extension(KvmCapability[capability]) === 0);
  if (missing !== undefined) throw new Error(`This host's KVM lacks ${missing[1]} (KVM_CAP_${missing[0]})`);
  const most = kvm.extension(KvmCapability.MAX_VCPUS);
  if (cpus > most) throw new Error(`This host's KVM runs at most ${most} vCPUs, not ${cpus}`);
  return kvm;
}

function createVm(kvm: Kvm): KvmVm {
  const vm = kvm.createVm();
  vm.setReservedPages(KvmLayout.TSS_BASE, KvmLayout.IDENTITY_MAP_BASE);
  vm.createIrqchip();
  vm.createPit();
  return vm;
}

function createVcpus(kvm: Kvm, vm: KvmVm, cpus: number, supported: readonly CpuidEntry[]): number[] {
  const tscDeadlineTimer = kvm.extension(KvmCapability.TSC_DEADLINE_TIMER) !== 0;
  return Array.from(
    { length: cpus },
    (_, apicId) => vm.createVcpu(apicId, guestCpuid(supported, { apicId, cpus, tscDeadlineTimer })),
  );
}

function physicalAddressBits(cpuid: readonly CpuidEntry[]): number {
  const leaf = cpuid.find((entry) => entry.function === 0x80000008);
  return leaf === undefined ? DEFAULT_ADDRESS_BITS : leaf.eax & 0xff;
}

/** @throws {Error} when RAM of `size` bytes ends above what guests of this host can address. */
export function requireAddressable(size: number, addressBits: number): void {
  const { high } = splitRam(size);
  if (high === 0 || RamLayout.HIGH_BASE + high <= 2 ** addressBits) return;
  throw new Error(`${size / 2 ** 20} MiB of RAM do not fit the ${addressBits} bits of a physical address on this host`);
}

function acpiSerialPorts({ serialPorts }: VmmConfig) {
  const all = [{ port: Port.COM1, irq: Gsi.COM1 }, { port: Port.COM2, irq: Gsi.COM2 }];
  return all.filter((_, i) => serialPorts[i] !== undefined);
}

/** A link to a device process, and the process where the machine spawned it. */
interface DeviceLink {
  readonly id: string;
  readonly fd: number;
  readonly device: ProxyDeviceConfig | LocalDeviceConfig;
  readonly process: DeviceProcess | JailedDeviceProcess | undefined;
}

/** The device processes of a machine, spawned or already there. */
class DeviceProcesses {
  readonly #config: VmmConfig;
  readonly #log: DeviceStart["log"];
  readonly #links: DeviceLink[] = [];
  /** By device: the images that it was started with, where it may be started again. */
  readonly #images: KnownImage[][] = [];
  readonly #custody = new SharedArrayBuffer(DEVICE_CUSTODY_SIZE);
  #spawner: SpawnerProcess | undefined;

  constructor(config: VmmConfig, start: DeviceStart) {
    this.#config = config;
    this.#log = start.log;
    try {
      for (const [i, device] of config.devices.entries()) {
        this.#images[i] = [];
        if (device.kind === "proxy") {
          requireLink(device);
          this.#links.push({ device, id: device.id, fd: device.fd, process: undefined });
        } else {
          const process = startDeviceProcess(device, start, this.#images[i]);
          this.#links.push({ device, id: device.controller.id, fd: process.fd, process });
        }
      }
      // After them, since the machine's start waits for them and not for this.
      const restarts = config.devices.some((device) => device.kind === "local" && device.restarts > 0);
      if (restarts) this.#spawner = startSpawner(start.self, start.arguments, this.#images);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Greets them all, and gives each a slot. */
  connect(): PlacedProxy[] {
    const taken = new Set<number>(Object.values(PciSlot));
    for (const { slot } of this.#config.devices) if (slot !== undefined) taken.add(slot);
    return this.#links.map((link, i) => {
      const slot = this.#config.devices[i].slot ?? freeSlot(taken, link.id);
      taken.add(slot);
      return { handle: this.#greet(link), process: processHandle(link), slot };
    });
  }

  /** The control links to those that were spawned here. */
  controls(): DeviceControlHandle[] {
    return this.#links.flatMap(({ id, process }, i) => {
      const device = this.#config.devices[i];
      if (process === undefined || device.kind !== "local") return [];
      const { controller: { disks }, restarts } = device;
      return [{ id, fd: process.control, disks, device: i, restarts }];
    });
  }

  /** What it takes to start them again. */
  restarts(): RestartsHandle {
    const custody = this.#custody;
    if (this.#spawner === undefined) return { spawner: undefined, custody };
    const { fd, process: { pid, pidfd } } = this.#spawner;
    return { spawner: { fd, pid, pidfd }, custody };
  }

  /** A process of ours that could not start has said why, on the standard error that it shares with this one. */
  #greet(link: DeviceLink): ProxyHandle {
    const { id, fd, process } = link;
    const { accelerated, heartbeat, deadline } = link.device;
    try {
      const lanes = accelerated ? lanesOf(this.#config) : 0;
      const handle = connectProxy(id, fd, { lanes, timeout: deadline, heartbeat: heartbeat > 0 });
      // It has answered, so it is locked down and has all open that it needs.
      const missing = process !== undefined && "emptyRoot" in process ? process.emptyRoot() : undefined;
      if (missing !== undefined) tellMissing(id, missing, this.#log);
      return handle;
    } catch (cause) {
      this.#links.splice(this.#links.indexOf(link), 1);
      closeFd(fd);
      if (process !== undefined) closeFd(process.control);
      const status = process && reapDeviceProcess(process);
      const explained = status !== undefined && "code" in status && status.code !== 0;
      throw explained ? new ReportedError(`The device process of ${id} could not start`, { cause }) : cause;
    }
  }

  /**
   * Closes every link, upon which the processes flush and end, and waits for those that were spawned. Control sockets are the control
   * thread's.
   */
  end(): void {
    new DeviceCustody(this.#custody).end();
    const links = this.#links.splice(0);
    const spawner = this.#spawner;
    this.#spawner = undefined;
    // Those that are not waited for are killed with this process, in the middle of closing their images.
    doAll([
      ...links.map(({ fd }) => () => closeFd(fd)),
      () => spawner && endSpawner(spawner),
      ...links.map(({ process }) => () => process && reapLeftChild(process.process)),
    ]);
  }
}

/** Does one after the other, also when one fails. @throws what the first of those throws. */
function doAll(actions: readonly (() => void)[]): void {
  const errors: unknown[] = [];
  for (const action of actions) {
    try {
      action();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** @param known Gets what tells the images from others, for a device that may be started again. */
function startDeviceProcess(
  { controller, sandboxed, securityContext, restarts }: LocalDeviceConfig,
  { self, readable, openFiles, log }: DeviceStart,
  known: KnownImage[],
) {
  const files = sandboxed || restarts > 0 ? openFiles(controller) : [];
  if (restarts > 0) known.push(...knownImages(files));
  if (!sandboxed) {
    // The process opens them itself, by their paths.
    closeAll(files.map(({ fd }) => fd));
    return spawnDeviceProcess(self, controller);
  }
  const process = spawnJailedDeviceProcess(self, controller, { files, readable, securityContext });
  for (const missing of process.missing) tellMissing(controller.id, missing, log);
  return process;
}

/** The walls are independent of each other, so a machine starts behind those that its host has. */
function tellMissing(id: string, { wall, why }: MissingWall, log: DeviceStart["log"]): void {
  log(`device ${id} is jailed without ${wall}: ${why}`);
}

function processHandle({ process }: DeviceLink): DeviceProcessHandle | undefined {
  if (process === undefined) return undefined;
  const { pid, pidfd } = process.process;
  return { pid, pidfd, sandboxed: "missing" in process };
}

/** @throws {Error} for a number that is not the end of a link: Deno has descriptors of its own, even sockets, among the first numbers. */
function requireLink({ id, fd }: ProxyDeviceConfig): void {
  if (isInheritedFd(fd) && isUnixStreamSocket(fd)) return;
  throw new Error(`pci-proxy-dev ${id}: fd ${fd} is not a UNIX stream socket that this process was given`);
}

/** Each vCPU has a lane, and the control thread. */
function lanesOf({ cpus }: VmmConfig): number {
  return cpus + 1;
}

function freeSlot(taken: ReadonlySet<number>, id: string): number {
  for (let slot = 1; slot < 32; slot++) if (!taken.has(slot)) return slot;
  throw new Error(`No PCI slot is left for ${id}`);
}
