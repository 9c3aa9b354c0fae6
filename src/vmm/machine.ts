/**
 * The q35 machine, as one thread sees it: platform devices and proxies on a port bus, a memory bus and a PCI bus.
 *
 * Every thread assembles the same devices over the same shared state. What they do to KVM (interrupt lines, memory slots, irqfds) goes
 * through descriptors that belong to the process, so it does not matter which thread does it; the machine's lock sees to
 * it that one does at a time.
 *
 * @module
 */
import { KvmVcpu, KvmVm } from "../ffi/kvm.ts";
import { KvmIrqchip } from "../ffi/kvm_abi.ts";
import { allOnes } from "../device/config_space.ts";
import { log } from "../log.ts";
import type { LinkError } from "../link/link_error.ts";
import { PciProxy } from "../proxy/pci_proxy.ts";
import type { GuestState } from "../proxy/reconnect.ts";
import type { RingHandle } from "../proxy/ring_setup.ts";
import { Bus, MappingGeneration } from "./bus.ts";
import { DeviceProcessState, DeviceProcessStatus } from "./device_process_status.ts";
import { MACHINE_CLOCK_SIZE, MachineClock } from "./machine_clock.ts";
import { MACHINE_EVENTS_SIZE, MachineEvents } from "./machine_events.ts";
import { THREAD_SIGNAL_SIZE, ThreadSignal } from "./thread_signal.ts";
import { Output, Timestamps, TIMESTAMPS_SIZE } from "./console/output.ts";
import { CONSOLE_TERMINAL_SIZE, ConsoleTerminal } from "./console/terminal.ts";
import { Gsi, LegacyRegion, PciSlot, Port, PortCount } from "./layout.ts";
import type { VmmConfig } from "./config.ts";
import type { MachineHandle } from "./machine_handle.ts";
import { MemoryMap, SEGMENT_COUNT } from "./memory_map.ts";
import { ConfigPorts, ConfigPortsState } from "./pci/config_ports.ts";
import { createEcam } from "./pci/ecam.ts";
import { HostBridge, HostBridgeState } from "./pci/host_bridge.ts";
import { IntxRouter, IntxRouterState, type IntxRoutingChange, type PirqSource } from "./pci/intx_router.ts";
import type { GsiRoute } from "./pci/intx_routing.ts";
import { LpcBridge, LpcState } from "./pci/lpc.ts";
import { PciBus } from "./pci/pci_bus.ts";
import { AcpiPm, AcpiPmState } from "./platform/acpi_pm.ts";
import { Cmos, CmosState } from "./platform/cmos.ts";
import { createDebugConsole, createDebugExit, createPostCode, PostCodeState } from "./platform/debug_ports.ts";
import { FW_CFG_PORT_COUNT, FwCfg, FwCfgState } from "./platform/fw_cfg.ts";
import { I8042, I8042State } from "./platform/i8042.ts";
import type { BusDevice, PlatformHost, TimedDevice } from "./platform/platform.ts";
import { ResetControl, ResetControlState } from "./platform/reset_control.ts";
import { SerialPort, SerialState } from "./platform/serial.ts";
import { attachRam, type GuestRam } from "./ram.ts";
import { RunControl, runControlSize, type StoppableVcpu } from "./run_control.ts";
import { SharedLock } from "./shared_lock.ts";
import { SharedRecords } from "./shared_records.ts";

/** Size of the memory bus: all that a guest-physical address can be. */
const MEMORY_SPACE = 2 ** 52;

/** Ports and GSIs of COM1 to COM4. */
const SERIAL_PORTS = [
  { port: Port.COM1, gsi: Gsi.COM1 },
  { port: Port.COM2, gsi: Gsi.COM2 },
  { port: Port.COM3, gsi: Gsi.COM1 },
  { port: Port.COM4, gsi: Gsi.COM2 },
] as const;

/** Run control of a machine. @param vcpus Its vCPUs, by index. */
export function attachRunControl({ buffers }: MachineHandle, vcpus: readonly StoppableVcpu[]): RunControl {
  return new RunControl(new SharedRecords(buffers).memory("run-control", runControlSize(vcpus.length)), vcpus);
}

/** A machine on one thread. */
export class Machine {
  readonly vm: KvmVm;
  readonly vcpus: readonly KvmVcpu[];
  readonly ram: GuestRam;
  readonly memoryMap: MemoryMap;
  readonly ports: Bus;
  readonly memory: Bus;
  readonly pci = new PciBus();
  readonly proxies: readonly PciProxy[];
  /** What has become of the process behind each of {@linkcode proxies}. */
  readonly processes: readonly DeviceProcessStatus[];
  readonly serialPorts: readonly (SerialPort | undefined)[];
  readonly cmos: Cmos;
  readonly lock: SharedLock;
  readonly control: RunControl;
  /** What the leading thread tells the control thread. */
  readonly events: MachineEvents;
  /** The platform devices' time. */
  readonly clock: MachineClock;
  /** Told when a device's next deadline may have changed. */
  readonly deadlines: ThreadSignal;
  /** Told when a serial port has room for input again. */
  readonly inputDrained: ThreadSignal;
  /** The terminal of a console or monitor on standard input. */
  readonly terminal: ConsoleTerminal | undefined;
  /** By number of a character device: where its users' output goes. */
  readonly outputs: readonly Output[];
  /** By number of a character device: those of its output, where it has any. */
  readonly timestamps: readonly (Timestamps | undefined)[];

  readonly #handle: MachineHandle;
  readonly #host: PlatformHost;
  readonly #records: SharedRecords;
  readonly #generation: MappingGeneration;
  readonly #lpc: LpcBridge;
  readonly #router: IntxRouter;
  readonly #pm: AcpiPm;
  readonly #warned = new Set<string>();
  #holdsSync = false;
  readonly #timedDevices: readonly TimedDevice[];
  /** Called on a machine reset, in this order. */
  readonly #resettable: { reset(): void }[] = [];

  /** @param lane The thread's number: that of its vCPU, or the one after all vCPUs. No other thread has it. */
  constructor(handle: MachineHandle, lane: number) {
    this.#handle = handle;
    this.vm = new KvmVm(handle.vmFd);
    this.vcpus = handle.vcpuFds.map((fd) => new KvmVcpu(fd, handle.vcpuMmapSize));
    this.ram = attachRam(handle.ram);
    const records = this.#records = new SharedRecords(handle.buffers);
    this.lock = new SharedLock(new Int32Array(records.memory("lock", 4)));
    this.control = attachRunControl(handle, this.vcpus);
    this.events = new MachineEvents(records.memory("events", MACHINE_EVENTS_SIZE), handle.eventFd);
    this.clock = new MachineClock(records.memory("clock", MACHINE_CLOCK_SIZE), handle.startedAt);
    this.deadlines = new ThreadSignal(
      records.memory("deadlines", THREAD_SIGNAL_SIZE),
      handle.signalFds.deadlines,
    );
    this.inputDrained = new ThreadSignal(
      records.memory("input-drained", THREAD_SIGNAL_SIZE),
      handle.signalFds.inputDrained,
    );
    this.terminal = this.#makeTerminal();
    this.timestamps = this.config.characterDevices.map(({ mux }, i) =>
      mux ? new Timestamps(records.memory(`timestamps${i}`, TIMESTAMPS_SIZE)) : undefined
    );
    this.outputs = handle.characters.map(({ output: fd }, i) => new Output({ fd, timestamps: this.timestamps[i] }));
    this.#generation = new MappingGeneration(records.memory("mapping-generation", 4));
    const segments = new Uint8Array(records.memory("legacy-segments", SEGMENT_COUNT));
    this.memoryMap = new MemoryMap(this.vm, this.ram, handle.firmware, segments);
    this.ports = new Bus({ name: "port", size: 0x10000, generation: this.#generation });
    this.memory = new Bus({ name: "memory", size: MEMORY_SPACE, generation: this.#generation });
    this.#host = this.#makeHost();

    this.#addHostBridge();
    this.#lpc = this.#addLpc();
    this.#router = new IntxRouter({
      state: records.record(IntxRouterState),
      pirqs: this.#lpc,
      onChange: (change) => this.#reroute(change),
    });
    this.#pm = this.#addPowerManagement();
    this.#lpc.listen({ pirqChanged: () => this.#router.update(), sciChanged: () => this.#pm.updateSci() });
    this.cmos = new Cmos({ state: records.record(CmosState), host: this.#host, gsi: Gsi.RTC });
    this.serialPorts = this.#addSerialPorts();
    this.#addPorts();
    this.#timedDevices = [this.cmos, this.#pm, ...this.serialPorts.filter((port) => port !== undefined)];
    this.processes = handle.proxies.map(({ process }, i) =>
      new DeviceProcessStatus(records.record(DeviceProcessState, `${i}`), process)
    );
    this.proxies = handle.proxies.map(({ handle, slot }, i) =>
      this.#addProxy(new PciProxy(handle, this.#proxyHost(handle.id, i), lane), slot)
    );
  }

  /** What the machine was asked to be. */
  get config(): VmmConfig {
    return this.#handle.config;
  }

  /** Where interrupt pins lead. */
  get pirqs(): PirqSource {
    return this.#lpc;
  }

  /**
   * Calls every device whose deadline has come. Only the control thread does this.
   *
   * @returns nanoseconds until the next deadline, `undefined` when there is none, or the machine's time stands still.
   */
  expireDeadlines(): number | undefined {
    if (this.clock.stopped) return undefined;
    let next: number | undefined;
    for (const device of this.#timedDevices) {
      const deadline = device.nextDeadline();
      if (deadline !== undefined && deadline <= this.#host.now()) device.expire(this.#host.now());
      const later = device.nextDeadline();
      if (later !== undefined) next = Math.min(next ?? Infinity, later);
    }
    return next === undefined ? undefined : Math.max(0, next - this.#host.now());
  }

  /** Wires every device's interrupt for the first time, and tells the device processes where RAM is. One thread does this, once. */
  connect(): void {
    for (const [i, proxy] of this.proxies.entries()) {
      if (proxy.interruptPin === 0) continue;
      this.#router.connect({ slot: this.#handle.proxies[i].slot, pin: proxy.interruptPin - 1 });
    }
    this.#setRouting(this.#router.routes());
    for (const [i, proxy] of this.proxies.entries()) {
      const pin = { slot: this.#handle.proxies[i].slot, pin: proxy.interruptPin - 1 };
      if (proxy.interruptPin !== 0) proxy.attachInterrupt(this.#router.gsi(pin)!);
    }
    this.syncMemory();
  }

  /** Carries out `change`, and tells the device processes when all of it is done. */
  syncMemoryAfter(change: () => void): void {
    this.#holdsSync = true;
    try {
      change();
    } finally {
      this.#holdsSync = false;
    }
    this.syncMemory();
  }

  /** Tells every device process what RAM the guest has now. */
  syncMemory(): void {
    if (this.#holdsSync) return;
    const ranges = this.memoryMap.ramRanges();
    for (const proxy of this.proxies) proxy.syncMemory(this.ram.handle.fd, ranges);
  }

  /** What the process of a device, by number, is to know of the guest. */
  guestState(device: number): GuestState {
    return this.lock.with(() => ({
      configuration: this.proxies[device].configuration,
      ranges: this.memoryMap.ramRanges(),
      memoryFd: this.ram.handle.fd,
    }));
  }

  /**
   * The process at the other end of a device's link takes the place of the one that was lost.
   *
   * @param state What it has been told.
   * @returns false, with nothing done, when that is not so any more.
   */
  renewDevice(device: number, { configuration, ranges }: GuestState, ring: RingHandle | undefined): boolean {
    return this.lock.with(() => {
      const proxy = this.proxies[device];
      if (!isSameRam(ranges, this.memoryMap.ramRanges()) || !proxy.renew(configuration, ring)) return false;
      const { slot } = this.#handle.proxies[device];
      if (proxy.interruptPin === 0) return true;
      proxy.attachInterrupt(this.#router.gsi({ slot, pin: proxy.interruptPin - 1 })!);
      return true;
    });
  }

  /** Puts every device into the state that it has after a reset; also the first thing to happen to a new machine. */
  resetDevices(): void {
    for (const device of this.#resettable) device.reset();
  }

  /** Resets the devices behind links; a new machine's are fresh already. */
  resetProxies(): void {
    for (const proxy of this.proxies) proxy.reset();
  }

  /** Platform devices' time goes on, and with it what they have to do at a time of their own. */
  resumeDevices(): void {
    this.cmos.resume();
    this.deadlines.notify();
  }

  /** Asks the guest's operating system to shut down. */
  pressPowerButton(): void {
    this.lock.with(() => this.#pm.pressPowerButton());
  }

  #makeTerminal(): ConsoleTerminal | undefined {
    const { characterDevices, serialPorts, humanMonitors } = this.config;
    const index = characterDevices.findIndex(({ backend }) => backend.kind === "stdio");
    const backend = characterDevices[index]?.backend;
    if (backend?.kind !== "stdio") return undefined;
    if (!serialPorts.includes(index) && !humanMonitors.includes(index)) return undefined;
    const state = this.#records.memory("console-terminal", CONSOLE_TERMINAL_SIZE);
    return new ConsoleTerminal(state, this.lock, backend.signals);
  }

  #makeHost(): PlatformHost {
    return {
      setIrq: (gsi, asserted) => this.vm.setIrqLine(gsi, asserted),
      now: () => this.clock.now(),
      wallClock: () => Date.now(),
      deadlineChanged: () => this.deadlines.notify(),
      requestReset: () => this.control.requestReset(),
      requestExit: (status) => this.control.requestExit(status),
      warnOnce: (what) => this.#warnOnce(what),
    };
  }

  #warnOnce(what: string): void {
    if (this.#warned.has(what)) return;
    this.#warned.add(what);
    log(`guest: ${what}`);
  }

  #addHostBridge(): void {
    const hostBridge = new HostBridge({
      state: this.#records.record(HostBridgeState),
      generation: this.#generation,
      onPamChange: (start, length, access) => {
        if (this.memoryMap.setSegments(start, length, access)) this.syncMemory();
      },
    });
    this.pci.attach({ slot: PciSlot.HOST_BRIDGE, fn: 0 }, hostBridge);
    this.memory.insertMovable(createEcam(this.pci), () => hostBridge.ecamRange());
    this.memory.insert(LegacyRegion.PAM_BASE, LegacyRegion.PAM_END - LegacyRegion.PAM_BASE, this.#legacyRegion());
    this.#resettable.push(hostBridge);
  }

  /** What happens in the legacy region where no memory slot takes the access: firmware copying itself into shadow RAM. */
  #legacyRegion(): BusDevice {
    const bytes = new DataView(new ArrayBuffer(4));
    return {
      read: (_offset, size) => allOnes(size),
      write: (offset, size, value) => {
        bytes.setUint32(0, value, true);
        this.memoryMap.writeSegment(LegacyRegion.PAM_BASE + offset, new Uint8Array(bytes.buffer, 0, size));
      },
    };
  }

  #addLpc(): LpcBridge {
    const lpc = new LpcBridge({ state: this.#records.record(LpcState), generation: this.#generation });
    this.pci.attach({ slot: PciSlot.LPC, fn: 0 }, lpc);
    this.memory.insertMovable(lpc.rcrb, () => lpc.rcrbRange());
    this.#resettable.push(lpc);
    return lpc;
  }

  #addPowerManagement(): AcpiPm {
    const pm = new AcpiPm({
      state: this.#records.record(AcpiPmState),
      host: this.#host,
      sciGsi: () => this.#lpc.sciGsi(),
    });
    this.ports.insertMovable(pm, () => this.#lpc.pmRange());
    this.ports.insert(Port.APM, PortCount.APM, pm.apm);
    this.#resettable.push(pm);
    return pm;
  }

  #addSerialPorts(): (SerialPort | undefined)[] {
    return this.#handle.config.serialPorts.map((device, i) => {
      if (device === undefined) return undefined;
      const { port, gsi } = SERIAL_PORTS[i];
      const serial = new SerialPort({
        state: this.#records.record(SerialState, `${i}`),
        host: this.#host,
        gsi,
        transmit: (byte) => this.outputs[device].put(byte),
        inputDrained: () => this.inputDrained.notify(),
      });
      this.ports.insert(port, PortCount.SERIAL, serial);
      this.#resettable.push(serial);
      return serial;
    });
  }

  /** The small devices at fixed ports. */
  #addPorts(): void {
    const { config, firmwareItems } = this.#handle;
    const host = this.#host;
    const resetControl = new ResetControl({ state: this.#records.record(ResetControlState), host });
    const configPorts = new ConfigPorts({
      pci: this.pci,
      state: this.#records.record(ConfigPortsState),
      resetControl: resetControl.rstCnt,
    });
    const i8042 = new I8042({ state: this.#records.record(I8042State), host });
    const fwCfg = new FwCfg({
      state: this.#records.record(FwCfgState),
      host,
      memory: this.ram.memory,
      items: firmwareItems,
    });
    this.ports.insert(Port.CMOS, PortCount.CMOS, this.cmos);
    this.ports.insert(Port.CONFIG_ADDRESS, PortCount.CONFIG, configPorts);
    this.ports.insert(Port.SYSTEM_CONTROL_A, 1, resetControl.port92);
    this.ports.insert(Port.I8042_DATA, 1, i8042.data);
    this.ports.insert(Port.I8042_COMMAND, 1, i8042.command);
    this.ports.insert(Port.FW_CFG_SELECTOR, FW_CFG_PORT_COUNT, fwCfg);
    this.ports.insert(Port.POST_CODE, 1, createPostCode(this.#records.record(PostCodeState)));
    for (const { port, characterDevice } of config.debugConsoles) {
      const output = this.outputs[characterDevice];
      this.#addUserPorts("isa-debugcon", port, 1, createDebugConsole((byte) => output.put(byte)));
    }
    const { debugExit } = config;
    if (debugExit !== undefined) {
      this.#addUserPorts("isa-debug-exit", debugExit.port, debugExit.size, createDebugExit(host));
    }
    this.#resettable.push(this.cmos, resetControl, configPorts, i8042, fwCfg);
  }

  /** @throws {Error} when the user chose ports that the machine has already. */
  #addUserPorts(driver: string, port: number, size: number, device: BusDevice): void {
    try {
      this.ports.insert(port, size, device);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new Error(`-device ${driver}: iobase=0x${port.toString(16)} is taken: ${cause.message}`);
    }
  }

  #proxyHost(id: string, device: number) {
    const config = this.config.devices[device];
    const until = config.kind === "local" && config.restarts > 0 ? "until it is back" : "from now on";
    return {
      vm: this.vm,
      mappingChanged: () => this.#generation.changed(),
      exclusively: (action: () => void) => this.lock.held ? action() : this.lock.with(action),
      peerLost: (error: LinkError) => {
        log(`device ${id} is gone: ${this.processes[device].fail(error).detail}; it reads as all-ones ${until}`);
        this.events.notify();
      },
    };
  }

  #addProxy(proxy: PciProxy, slot: number): PciProxy {
    this.pci.attach({ slot, fn: 0 }, proxy);
    for (const bar of proxy.bars) {
      const device: BusDevice = {
        read: (offset, size) => proxy.readBar(bar, offset, size as 1 | 2 | 4),
        write: (offset, size, value) => proxy.writeBar(bar, offset, size as 1 | 2 | 4, value),
        concurrent: proxy.concurrent,
      };
      const bus = bar.space === "io" ? this.ports : this.memory;
      bus.insertMovable(device, () => {
        const base = proxy.barAddress(bar);
        return base === undefined ? undefined : { base, length: bar.size };
      });
    }
    return proxy;
  }

  #setRouting(routes: readonly GsiRoute[]): void {
    const chips = {
      "pic-master": KvmIrqchip.PIC_MASTER,
      "pic-slave": KvmIrqchip.PIC_SLAVE,
      "ioapic": KvmIrqchip.IOAPIC,
    };
    this.vm.setGsiRouting(routes.map(({ gsi, irqchip, pin }) => ({ gsi, irqchip: chips[irqchip], pin })));
  }

  /** The order matters: see `IntxRouterOptions.onChange`. */
  #reroute({ moved, routes }: IntxRoutingChange): void {
    const affected = this.proxies.flatMap((proxy, i) => {
      const { slot } = this.#handle.proxies[i];
      const move = moved.find((pin) => pin.slot === slot && pin.pin === proxy.interruptPin - 1);
      return move === undefined ? [] : [{ proxy, gsi: move.to }];
    });
    for (const { proxy } of affected) proxy.detachInterrupt();
    this.#setRouting(routes);
    for (const { proxy, gsi } of affected) proxy.attachInterrupt(gsi);
  }
}

function isSameRam(a: GuestState["ranges"], b: GuestState["ranges"]): boolean {
  return a.length === b.length && a.every(({ gpa, size, offset }, i) => {
    return gpa === b[i].gpa && size === b[i].size && offset === b[i].offset;
  });
}
