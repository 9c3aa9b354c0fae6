/**
 * What a virtual machine is asked to be (`-machine q35`). Made by the command line; everything in it is checked.
 *
 * @module
 */
import type { MonitorConfig } from "../options/monitor.ts";
import type { SocketTransport } from "../options/socket_transport.ts";
import type { ControllerConfig } from "../options/storage.ts";

/** What a character device is connected to. At most one in a machine is `stdio`. */
export type CharacterBackend =
  /** Standard input and output. `signals`: Ctrl-C and the like are signals, and do not reach the guest. */
  | { readonly kind: "stdio"; readonly signals: boolean }
  /** Output is dropped, there is no input. */
  | { readonly kind: "null" }
  /** Output goes to a file, made or truncated at start; there is no input. */
  | { readonly kind: "file"; readonly path: string }
  /** A pseudo-terminal, made at start. */
  | { readonly kind: "pty" }
  /** A UNIX stream socket. */
  | { readonly kind: "socket"; readonly transport: SocketTransport };

/** Where the bytes of serial ports, debug consoles and human monitors go, and come from. */
export interface CharacterDeviceConfig {
  /** The `-chardev`'s id, or one made up. */
  readonly id: string;
  readonly backend: CharacterBackend;
  /** Several users share it: the escape key is a command, and says who gets the input. */
  readonly mux: boolean;
}

/** Guest RAM. */
export interface MemoryConfig {
  /** Bytes: a multiple of 1 MiB, from 1 MiB to 1 TiB. */
  readonly size: number;
  /** Name of the `memory-backend-memfd`, or one made up. Shown in messages and in `/proc/PID/fd`. */
  readonly id: string;
  /** Whether the memfd is sealed against growing and shrinking. */
  readonly seal: boolean;
}

/** `-kernel` and what belongs to it. */
export interface KernelConfig {
  /** Path of a PVH ELF (vmlinux) or a bzImage. */
  readonly file: string;
  /** Path of the initial RAM disk. */
  readonly initrd: string | undefined;
  /** Command line; empty when none was given. */
  readonly append: string;
}

/** `-device pci-proxy-dev`: a device behind a socket that somebody else opened. */
export interface ProxyDeviceConfig {
  readonly kind: "proxy";
  readonly id: string;
  /** An open, connected UNIX stream socket that this process inherited; 3 or above, and no other device's. */
  readonly fd: number;
  /** PCI slot on bus 0, 1-30; `undefined` when the machine may choose. No two devices ask for the same one. */
  readonly slot: number | undefined;
  /** Whether accesses may go through shared memory. */
  readonly accelerated: boolean;
  /** How often the device process is asked whether it is there, in milliseconds; 0 for never. */
  readonly heartbeat: number;
  /** How long it may take for an answer, in milliseconds. */
  readonly deadline: number;
}

/** A PCI device named on the VMM's own command line: the VMM spawns a device process for it. */
export interface LocalDeviceConfig {
  readonly kind: "local";
  readonly controller: ControllerConfig;
  /** As {@linkcode ProxyDeviceConfig.slot}. */
  readonly slot: number | undefined;
  /** As {@linkcode ProxyDeviceConfig.accelerated}. */
  readonly accelerated: boolean;
  /** As {@linkcode ProxyDeviceConfig.heartbeat}. */
  readonly heartbeat: number;
  /** As {@linkcode ProxyDeviceConfig.deadline}. */
  readonly deadline: number;
  /** Whether its process is started in a jail. */
  readonly sandboxed: boolean;
  /** The context or profile that its process is to run under in the jail; `undefined`: as the host's policy has it. */
  readonly securityContext: string | undefined;
  /** How often its process is started again at most when it is lost: 0 for never, Infinity for always. */
  readonly restarts: number;
}

/** `-device isa-debugcon`: bytes written to the port go to the character device. */
export interface DebugConsoleConfig {
  /** I/O port. */
  readonly port: number;
  /** A number of {@linkcode VmmConfig.characterDevices}. */
  readonly characterDevice: number;
}

/** `-device isa-debug-exit`: a write of `value` ends the VM with status `(value << 1) | 1`. */
export interface DebugExitConfig {
  /** First I/O port. */
  readonly port: number;
  /** Number of ports, 1-4. */
  readonly size: number;
}

/** `-fw_cfg`: a file that the guest finds in the firmware configuration device. */
export interface FirmwareFileConfig {
  /** At most 55 ASCII characters; no two files have the same. */
  readonly name: string;
  /** The contents themselves (without a terminating NUL), or the path of the host file that has them. */
  readonly source: { readonly string: string } | { readonly file: string };
}

/** `-boot`. */
export interface BootConfig {
  /** Drive letters in the order in which firmware tries them: a, b floppy; c disk; d CD-ROM; n network. */
  readonly order: string;
  /** Firmware offers a boot menu. */
  readonly menu: boolean;
}

/** A virtual machine. */
export interface VmmConfig {
  /** `-name`, for messages. */
  readonly name: string | undefined;
  /** `-uuid`, in lower case with hyphens. */
  readonly uuid: string | undefined;
  readonly memory: MemoryConfig;
  /** Number of vCPUs, 1-128. */
  readonly cpus: number;
  /** `host` and `max` both give all that KVM supports. */
  readonly cpuModel: "host" | "max";
  /** `-bios`: path of the firmware image; `undefined` asks for the default, if the machine needs firmware. */
  readonly firmware: string | undefined;
  readonly kernel: KernelConfig | undefined;
  /** PCI devices, in command-line order. */
  readonly devices: readonly (ProxyDeviceConfig | LocalDeviceConfig)[];
  /** One without {@linkcode CharacterDeviceConfig.mux} has one user, any other at least one. */
  readonly characterDevices: readonly CharacterDeviceConfig[];
  /** COM1 and what follows it, at most four, as numbers of character devices; `undefined` is a port that is not there. */
  readonly serialPorts: readonly (number | undefined)[];
  /** No two have the same port. */
  readonly debugConsoles: readonly DebugConsoleConfig[];
  readonly debugExit: DebugExitConfig | undefined;
  readonly firmwareFiles: readonly FirmwareFileConfig[];
  readonly boot: BootConfig;
  /** What the CMOS clock shows: the host's time in UTC or in the host's time zone. */
  readonly rtcBase: "utc" | "localtime";
  /** A guest's reset ends the VM with status 0. */
  readonly noReboot: boolean;
  /** The guest does not run until it is told to, over QMP. */
  readonly startPaused: boolean;
  /** Whether this process gives up the system calls that a machine which runs does not need. */
  readonly sandboxed: boolean;
  /** QMP servers. */
  readonly monitors: readonly MonitorConfig[];
  /** Monitors for people, as numbers of character devices. */
  readonly humanMonitors: readonly number[];
  /** The key, 1 to 31, after which a mux's next one is a command. */
  readonly escapeKey: number;
}
