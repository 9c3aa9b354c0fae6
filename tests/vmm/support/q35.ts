/**
 * The chipset put together as the machine does it, without KVM: what it asks of its host is recorded.
 *
 * @module
 */
import { Bus, MappingGeneration } from "../../../src/vmm/bus.ts";
import { Gsi, PciSlot, Port, PortCount } from "../../../src/vmm/layout.ts";
import { ConfigPorts, ConfigPortsState } from "../../../src/vmm/pci/config_ports.ts";
import { createEcam } from "../../../src/vmm/pci/ecam.ts";
import { HostBridge, HostBridgeState } from "../../../src/vmm/pci/host_bridge.ts";
import { IntxRouter, IntxRouterState, type IntxRoutingChange } from "../../../src/vmm/pci/intx_router.ts";
import { LpcBridge, LpcState } from "../../../src/vmm/pci/lpc.ts";
import type { PamSegment } from "../../../src/vmm/pci/pam.ts";
import { PciBus } from "../../../src/vmm/pci/pci_bus.ts";
import { AcpiPm, AcpiPmState } from "../../../src/vmm/platform/acpi_pm.ts";
import {
  createDebugConsole,
  createDebugExit,
  createPostCode,
  PostCodeState,
} from "../../../src/vmm/platform/debug_ports.ts";
import { I8042, I8042State } from "../../../src/vmm/platform/i8042.ts";
import type { PlatformHost } from "../../../src/vmm/platform/platform.ts";
import { ResetControl, ResetControlState } from "../../../src/vmm/platform/reset_control.ts";

/** A host that remembers what devices asked of it. */
export class RecordingHost implements PlatformHost {
  /** Nanoseconds that {@linkcode now} returns. */
  time = 0;
  /** GSIs that are high. */
  readonly high = new Set<number>();
  /** Each change of a line, in order. */
  readonly irqs: [gsi: number, asserted: boolean][] = [];
  readonly exits: number[] = [];
  readonly warnings: string[] = [];
  resets = 0;
  deadlineChanges = 0;

  setIrq(gsi: number, asserted: boolean): void {
    this.irqs.push([gsi, asserted]);
    if (asserted) this.high.add(gsi);
    else this.high.delete(gsi);
  }
  now(): number {
    return this.time;
  }
  wallClock(): number {
    return 0;
  }
  deadlineChanged(): void {
    this.deadlineChanges++;
  }
  requestReset(): void {
    this.resets++;
  }
  requestExit(status: number): void {
    this.exits.push(status);
  }
  warnOnce(what: string): void {
    this.warnings.push(what);
  }
}

/** The registers of the whole chipset, as all threads share them. */
export function allocateChipset() {
  const shared = { shared: true };
  return {
    generation: new MappingGeneration(),
    hostBridge: HostBridgeState.allocate(shared),
    lpc: LpcState.allocate(shared),
    intx: IntxRouterState.allocate(shared),
    configPorts: ConfigPortsState.allocate(shared),
    pm: AcpiPmState.allocate(shared),
    resetControl: ResetControlState.allocate(shared),
    i8042: I8042State.allocate(shared),
    postCode: PostCodeState.allocate(shared),
  };
}

/** One thread's view of the chipset over `state`, not reset. */
export function attachChipset(state: ReturnType<typeof allocateChipset>, host = new RecordingHost()) {
  const pam: PamSegment[] = [];
  const rerouted: IntxRoutingChange[] = [];
  const debugOutput: number[] = [];
  const { generation } = state;
  const pci = new PciBus();
  const ports = new Bus({ name: "port", size: 0x10000, generation });
  const memory = new Bus({ name: "memory", size: 2 ** 52, generation });

  const hostBridge = new HostBridge({
    state: state.hostBridge,
    generation,
    onPamChange: (start, length, access) => pam.push({ start, length, ...access }),
  });
  const lpc = new LpcBridge({ state: state.lpc, generation });
  const intx = new IntxRouter({ state: state.intx, pirqs: lpc, onChange: (change) => rerouted.push(change) });
  const pm = new AcpiPm({ state: state.pm, host, sciGsi: () => lpc.sciGsi() });
  lpc.listen({ pirqChanged: () => intx.update(), sciChanged: () => pm.updateSci() });
  pci.attach({ slot: PciSlot.HOST_BRIDGE, fn: 0 }, hostBridge);
  pci.attach({ slot: PciSlot.LPC, fn: 0 }, lpc);

  const resetControl = new ResetControl({ state: state.resetControl, host });
  const configPorts = new ConfigPorts({ pci, state: state.configPorts, resetControl: resetControl.rstCnt });
  const i8042 = new I8042({ state: state.i8042, host });
  ports.insert(Port.CONFIG_ADDRESS, PortCount.CONFIG, configPorts);
  ports.insert(Port.I8042_DATA, 1, i8042.data);
  ports.insert(Port.I8042_COMMAND, 1, i8042.command);
  ports.insert(Port.POST_CODE, 1, createPostCode(state.postCode));
  ports.insert(Port.SYSTEM_CONTROL_A, 1, resetControl.port92);
  ports.insert(Port.APM, PortCount.APM, pm.apm);
  ports.insert(Port.DEBUG_CONSOLE, 1, createDebugConsole((byte) => debugOutput.push(byte)));
  ports.insert(Port.DEBUG_EXIT, PortCount.DEBUG_EXIT, createDebugExit(host));
  ports.insertMovable(pm, () => lpc.pmRange());
  memory.insertMovable(createEcam(pci), () => hostBridge.ecamRange());
  memory.insertMovable(lpc.rcrb, () => lpc.rcrbRange());

  const reset = () => {
    for (const device of [hostBridge, configPorts, pm, lpc, resetControl, i8042]) device.reset();
  };
  return { host, pci, ports, memory, hostBridge, lpc, intx, pm, i8042, reset, pam, rerouted, debugOutput };
}

/** A chipset after power-on. */
export function createChipset() {
  const chipset = attachChipset(allocateChipset());
  chipset.reset();
  return chipset;
}

/** `bus:slot.function` and register as CONFIG_ADDRESS holds them. */
export function configAddress(slot: number, fn: number, register: number, bus = 0): number {
  return (0x80000000 | (bus << 16) | (slot << 11) | (fn << 8) | register) >>> 0;
}

/** The routes of a GSI, as `chip pin`, sorted. */
export function pinsOf(change: { routes: IntxRoutingChange["routes"] }, gsi: number): string[] {
  return change.routes.filter((route) => route.gsi === gsi).map(({ irqchip, pin }) => `${irqchip} ${pin}`).sort();
}

/** The GSI that KVM finds for a pin at an end of interrupt: that of the last route. */
export function gsiAtEoi(change: { routes: IntxRoutingChange["routes"] }, irqchip: string, pin: number): number {
  return change.routes.findLast((route) => route.irqchip === irqchip && route.pin === pin)?.gsi ?? -1;
}

/** GSI of PIRQA# to PIRQH#. */
export function pirqGsi(letter: string): number {
  return Gsi.PIRQ_BASE + letter.charCodeAt(0) - "A".charCodeAt(0);
}
