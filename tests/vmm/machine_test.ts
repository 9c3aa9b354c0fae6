/** The machine as it is put together on each of its threads, as far as that takes no KVM; see tests/guest for the rest. */
import { assertEquals } from "@std/assert";
import { closeFd } from "../../src/ffi/file.ts";
import { buildAcpi } from "../../src/vmm/acpi/acpi.ts";
import type { VmmConfig } from "../../src/vmm/config.ts";
import { cpuIdentity } from "../../src/vmm/cpuid.ts";
import { buildFirmwareItems } from "../../src/vmm/firmware_items.ts";
import { PciSlot, Port } from "../../src/vmm/layout.ts";
import { DEVICE_CUSTODY_SIZE } from "../../src/vmm/device_custody.ts";
import { Machine } from "../../src/vmm/machine.ts";
import type { MachineHandle } from "../../src/vmm/machine_handle.ts";
import { attachRam, createRam } from "../../src/vmm/ram.ts";
import { buildSmbios } from "../../src/vmm/smbios/smbios.ts";

const RAM_SIZE = 0x20_0000;
/** No interrupt and no memory slot changes in these tests, so nothing is asked of a virtual machine. */
const NO_VM = -1;
const NOTHING = 0xff;

const CONFIG: VmmConfig = {
  name: undefined,
  uuid: undefined,
  memory: { size: RAM_SIZE, id: "ram", seal: true },
  cpus: 1,
  cpuModel: "host",
  firmware: undefined,
  kernel: undefined,
  devices: [],
  characterDevices: ["com1", "com3", "debug"].map((id) => ({ id, backend: { kind: "null" }, mux: false })),
  serialPorts: [0, undefined, 1],
  debugConsoles: [{ port: 0x402, characterDevice: 2 }],
  debugExit: { port: 0x501, size: 2 },
  firmwareFiles: [],
  boot: { order: "cad", menu: false },
  rtcBase: "utc",
  noReboot: false,
  startPaused: false,
  sandboxed: true,
  monitors: [],
  humanMonitors: [],
  escapeKey: 1,
};

/** Runs a test with the data that a machine's threads share. */
function withHandle(body: (handle: MachineHandle) => void, changes: Partial<VmmConfig> = {}): () => void {
  return () => {
    const config = { ...CONFIG, ...changes };
    const ram = attachRam(createRam(RAM_SIZE, "test-ram", true));
    const acpi = buildAcpi({ cpus: 1, ram: ram.split, physicalAddressBits: 40, serialPorts: [] });
    const smbios = buildSmbios({ ram: ram.split, cpus: 1, processor: cpuIdentity([]) }, { bios: false });
    try {
      body({
        ...{ config, vmFd: NO_VM, vcpuFds: [], vcpuMmapSize: 0x3000, ram: ram.handle, firmware: undefined },
        firmwareItems: buildFirmwareItems(config, { ram: ram.split, acpi, smbios }),
        ...{
          proxies: [],
          deviceControls: [],
          restarts: { spawner: undefined, custody: new SharedArrayBuffer(DEVICE_CUSTODY_SIZE) },
          monitors: [],
          eventFd: -1,
          signalFds: { deadlines: -1, inputDrained: -1 },
        },
        characters: config.characterDevices.map(({ id }) => ({ id, filename: "null", output: undefined })),
        ...{ startedAt: 0, buffers: {} },
      });
    } finally {
      closeFd(ram.handle.fd);
    }
  };
}

/** A machine whose devices have been reset. */
function powerOn(handle: MachineHandle): Machine {
  const machine = new Machine(handle, 0);
  machine.cmos.powerOn(new Map([[0x34, 0x12]]));
  machine.resetDevices();
  return machine;
}

/** Reads a configuration register by way of the ports. */
function readConfig({ ports }: Machine, slot: number, register: number): number {
  ports.write(Port.CONFIG_ADDRESS, 4, (0x8000_0000 | slot << 11 | register) >>> 0);
  return ports.read(Port.CONFIG_DATA, 4);
}

Deno.test(
  "host bridge and LPC bridge are on bus 0, and nothing else is",
  withHandle((handle) => {
    const machine = powerOn(handle);
    assertEquals(readConfig(machine, PciSlot.HOST_BRIDGE, 0), 0x29c0_8086);
    assertEquals(readConfig(machine, PciSlot.LPC, 0), 0x2918_8086);
    for (let slot = 1; slot < 31; slot++) assertEquals(readConfig(machine, slot, 0), 0xffffffff);
  }),
);

Deno.test(
  "serial ports are those of the configuration, at the places of a PC",
  withHandle((handle) => {
    const { ports } = powerOn(handle);
    const SCRATCH = 7;
    for (const base of [Port.COM1, Port.COM3]) {
      ports.write(base + SCRATCH, 1, 0x5a);
      assertEquals(ports.read(base + SCRATCH, 1), 0x5a);
    }
    ports.write(Port.COM2 + SCRATCH, 1, 0x5a);
    assertEquals([ports.read(Port.COM2 + SCRATCH, 1), ports.read(Port.COM4 + SCRATCH, 1)], [NOTHING, NOTHING]);
  }),
);

Deno.test(
  "clock, fw_cfg, debug console and keyboard controller answer at their ports",
  withHandle((handle) => {
    const { ports } = powerOn(handle);
    ports.write(Port.CMOS, 1, 0x34);
    assertEquals(ports.read(Port.CMOS + 1, 1), 0x12);
    ports.write(Port.FW_CFG_SELECTOR, 2, 0);
    const signature = Array.from("QEMU", () => ports.read(Port.FW_CFG_SELECTOR + 1, 1));
    assertEquals(String.fromCharCode(...signature), "QEMU");
    assertEquals(ports.read(0x402, 1), 0xe9);
    assertEquals(ports.read(Port.I8042_COMMAND, 1) & 0x02, 0, "the keyboard controller takes a command");
  }),
);

Deno.test(
  "what was not asked for is not there",
  withHandle((handle) => {
    const { ports } = powerOn(handle);
    assertEquals([ports.read(0x402, 1), ports.read(0x501, 1), ports.read(Port.COM1, 1)], [NOTHING, NOTHING, NOTHING]);
  }, { debugConsoles: [], debugExit: undefined, serialPorts: [] }),
);

Deno.test(
  "every thread has the same registers and the same RAM",
  withHandle((handle) => {
    const first = powerOn(handle);
    const second = new Machine(structuredClone(handle), 1);
    first.ports.write(Port.COM1 + 7, 1, 0x42);
    assertEquals(second.ports.read(Port.COM1 + 7, 1), 0x42);
    first.ram.memory.write(0x1000, Uint8Array.of(1, 2, 3));
    assertEquals([...second.ram.memory.view(0x1000, 3)!], [1, 2, 3]);
  }),
);

Deno.test(
  "what the guest moves on one thread has moved on the others",
  withHandle((handle) => {
    const first = powerOn(handle);
    const second = new Machine(structuredClone(handle), 1);
    const timer = () => second.ports.read(0x608, 4);
    assertEquals(timer(), 0xffffffff);
    const write = (register: number, size: number, value: number) =>
      first.pci.write(0, PciSlot.LPC * 8, register, size, value);
    write(0x40, 4, 0x601); // PMBASE
    write(0x44, 1, 0x80); // ACPI_CNTL: the block is decoded
    // The ACPI timer has 24 bits (ICH9 data sheet, 13.8.3.4).
    assertEquals(timer() >>> 24, 0);
  }),
);

Deno.test(
  "a write to isa-debug-exit asks for the end with its status",
  withHandle((handle) => {
    const machine = powerOn(handle);
    machine.ports.write(0x501, 1, 3);
    assertEquals(Atomics.load(machine.control.attention, 0), 1);
    assertEquals(machine.control.lead(), { kind: "exit", status: 7, cause: "guest-shutdown" });
  }),
);

Deno.test(
  "a write to the reset register asks for a reset",
  withHandle((handle) => {
    const machine = powerOn(handle);
    machine.ports.write(Port.RESET_CONTROL, 1, 0x06);
    assertEquals(machine.control.lead(), { kind: "reset", cause: "guest-reset" });
  }),
);

Deno.test(
  "without a device that waits for its time there is no deadline",
  withHandle((handle) => assertEquals(powerOn(handle).expireDeadlines(), undefined)),
);
