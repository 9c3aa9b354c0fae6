/**
 * Every option: what it takes, which role has it, what it is for. Parsing and help texts are both made from this table.
 *
 * @module
 */
import { DEVICE_TYPES, DRIVE_PROPERTIES, MEMORY_SIZE, OBJECT_TYPES } from "../options/device_types.ts";
import {
  ascii,
  bool,
  descriptor,
  identifier,
  integer,
  oneOf,
  path,
  type PropertyType,
  size,
  text,
} from "../options/property_types.ts";
import {
  type DefaultedProperty,
  optional,
  type Properties,
  refused,
  required,
  type Role,
  type Variants,
  withDefault,
} from "../options/properties.ts";
import { characterTarget, CHARDEV_TYPES, humanMonitorTarget, monitorTarget } from "./character_devices.ts";

/** What follows an option. */
export type OptionArgument =
  | { readonly kind: "flag" }
  | { readonly kind: "value"; readonly type: PropertyType<unknown> }
  | {
    readonly kind: "properties";
    /** The property that a first element without `=` is the value of. */
    readonly implied?: string;
    readonly properties: Properties;
  }
  | {
    readonly kind: "variants";
    /** The key that names the variant; a first element without `=` is its value. */
    readonly implied: string;
    /** What a variant is, in messages. */
    readonly noun: string;
    /** The variant when none is named; without it, one must be named. */
    readonly fallback?: string;
    readonly variants: Variants;
  };

/** Where `-help` lists an option. */
export type Section = "Machine" | "Boot" | "Devices and drives" | "Consoles" | "Information" | "Without effect";

/** An option. */
export interface OptionSpec {
  readonly section: Section;
  /** A line or two, for help texts. */
  readonly description: string;
  readonly roles: readonly Role[];
  readonly argument: OptionArgument;
  readonly aliases?: readonly string[];
  /** Whether it may be given several times. */
  readonly repeatable?: boolean;
}

const BOTH: readonly Role[] = ["vmm", "remote"];
const VMM: readonly Role[] = ["vmm"];
const REMOTE: readonly Role[] = ["remote"];
const FLAG = { kind: "flag" } as const;

/** A switch of QEMU's that has but one position here. */
function only<const T extends string>(position: T, description: string): DefaultedProperty<T> {
  return withDefault(oneOf<T>(position), position as NoInfer<T>, description);
}

/** An option of QEMU's that splitvm has no use for beyond `none`. */
function none(what: string) {
  return {
    section: "Without effect",
    description: `there is no ${what}`,
    roles: BOTH,
    argument: { kind: "value", type: oneOf("none") },
    repeatable: true,
  } as const satisfies OptionSpec;
}

/** A switch of QEMU's that is on anyway. */
function always(description: string) {
  return {
    section: "Without effect",
    description,
    roles: BOTH,
    argument: FLAG,
    repeatable: true,
  } as const satisfies OptionSpec;
}

/** `-machine`. */
export const MACHINE_TYPES = {
  "q35": {
    description: "PC with KVM, an ICH9 chip set, and devices in processes of their own (default)",
    roles: ["vmm"],
    properties: {
      accel: only("kvm", "accelerator"),
      "memory-backend": optional(identifier, "id of the -object memory-backend-memfd that is guest RAM"),
      "kernel-irqchip": only("on", "interrupt controllers are KVM's"),
      acpi: only("on", "there are ACPI tables"),
      usb: only("off", "there is no USB controller"),
      sata: only("off", "there is no SATA controller"),
      smbus: only("off", "there is no SMBus controller"),
      graphics: only("off", "there is no display"),
      smm: only("off", "there is no system management mode"),
      hpet: only("off", "there is no HPET"),
      vmport: only("off", "there is no VMware port"),
    },
  },
  "remote": {
    description: "device process: serves PCI devices to a VMM, over sockets",
    alias: "x-remote",
    roles: ["remote"],
    properties: {},
  },
} as const satisfies Variants;

const ACCELERATORS = {
  "kvm": {
    description: "the kernel's virtual machine monitor, /dev/kvm",
    roles: ["vmm"],
    properties: { "kernel-irqchip": only("on", "interrupt controllers are KVM's") },
  },
} as const satisfies Variants;

const NUMA_TYPES = {
  "node": {
    description: "the one node that all RAM and all CPUs belong to",
    roles: ["vmm"],
    properties: {
      memdev: required(identifier, "id of the -object memory-backend-memfd that is guest RAM"),
      nodeid: only("0", "number of the node"),
      cpus: refused("all CPUs belong to the one node"),
      mem: refused("use memdev="),
    },
  },
} as const satisfies Variants;

/**
 * 8-bit local APIC ids would do for 255. But each vCPU is a thread with a JavaScript heap of its own, about 14 MiB, and V8 has been seen to
 * run out of room for 255 of them.
 */
const CPU_COUNT = integer({ min: 1, max: 128 });

const MEMORY_PROPERTIES = {
  size: required(size({ ...MEMORY_SIZE, unit: 2 ** 20 }), "guest RAM; a number without a suffix counts MiB"),
  slots: refused("RAM cannot be plugged in later"),
  maxmem: refused("RAM cannot be plugged in later"),
} satisfies Properties;

const SMP_PROPERTIES = {
  cpus: optional(CPU_COUNT, "number of vCPUs"),
  sockets: only("1", "sockets"),
  dies: only("1", "dies in a socket"),
  clusters: only("1", "clusters in a die"),
  cores: optional(CPU_COUNT, "number of cores in the cluster: as many as vCPUs"),
  threads: only("1", "threads in a core"),
  maxcpus: optional(CPU_COUNT, "as many as vCPUs: none can be plugged in later"),
} satisfies Properties;

/** Drive letters of `-boot order=`, each at most once. */
const bootOrder: PropertyType<string> = {
  syntax: "<letters>",
  expected: "letters out of a, b (floppy), c (disk), d (CD-ROM) and n (network), each at most once",
  parse: (text) => /^[abcdn]+$/.test(text) && new Set(text).size === text.length ? text : undefined,
  format: (value) => value,
};

const BOOT_PROPERTIES = {
  order: withDefault(bootOrder, "cad", "order in which firmware tries drives"),
  menu: withDefault(bool, false, "firmware offers a menu"),
  strict: refused("it has a meaning beside bootindex= only"),
  once: refused("use order="),
} satisfies Properties;

const uuid: PropertyType<string> = {
  syntax: "<uuid>",
  expected: "a UUID such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
  parse: (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : undefined,
  format: (value) => value,
};

const kernelCommandLine: PropertyType<string> = {
  syntax: "<text>",
  expected: "at most 2047 characters without NUL",
  // 2048 bytes with the NUL is the limit of x86 Linux (COMMAND_LINE_SIZE, arch/x86/include/asm/setup.h).
  parse: (text) => new TextEncoder().encode(text).length < 2048 && !text.includes("\0") ? text : undefined,
  format: (value) => value,
};

const MONITOR_PROPERTIES = {
  chardev: required(identifier, "id of the -chardev that clients are on"),
  mode: withDefault(oneOf("readline", "control"), "readline", "for people, or QMP"),
  pretty: withDefault(bool, false, "answers are spread over several lines"),
} satisfies Properties;

/** `-global`: a default for a property of every device of a type. */
export interface GlobalDefault {
  readonly driver: string;
  readonly property: string;
  readonly value: string;
}

const globalDefault: PropertyType<GlobalDefault> = {
  syntax: "<driver>.<property>=<value>",
  expected: "<driver>.<property>=<value>",
  parse(text) {
    const [, driver, property, value] = /^([^.=]+)\.([\w.-]{1,80})=(.*)$/s.exec(text) ?? [];
    return value === undefined ? undefined : { driver, property, value };
  },
  format: ({ driver, property, value }) => `${driver}.${property}=${value}`,
};

/** The options, by name. */
export const OPTIONS = {
  "machine": {
    section: "Machine",
    description: "what this process is to be",
    roles: BOTH,
    aliases: ["M"],
    argument: { kind: "variants", implied: "type", noun: "machine", fallback: "q35", variants: MACHINE_TYPES },
  },
  "accel": {
    section: "Machine",
    description: "accelerator; there is only kvm",
    roles: VMM,
    argument: { kind: "variants", implied: "accel", noun: "accelerator", variants: ACCELERATORS },
  },
  "enable-kvm": { section: "Machine", description: "the same as -accel kvm", roles: VMM, argument: FLAG },
  "cpu": {
    section: "Machine",
    description: "CPU model; single features cannot be switched",
    roles: VMM,
    argument: {
      kind: "properties",
      implied: "model",
      properties: { model: required(oneOf("host", "max"), "both are the host's CPU as far as KVM supports it") },
    },
  },
  "smp": {
    section: "Machine",
    description: "number of vCPUs, 1 if left out",
    roles: VMM,
    argument: { kind: "properties", implied: "cpus", properties: SMP_PROPERTIES },
  },
  "m": {
    section: "Machine",
    description: "size of guest RAM, 128M if left out",
    roles: VMM,
    argument: { kind: "properties", implied: "size", properties: MEMORY_PROPERTIES },
  },
  "numa": {
    section: "Machine",
    description: "takes guest RAM from a memory backend, as -machine memory-backend= does",
    roles: VMM,
    argument: { kind: "variants", implied: "type", noun: "NUMA option", variants: NUMA_TYPES },
  },
  "run-with": {
    section: "Machine",
    description: "how the process lives",
    roles: REMOTE,
    argument: {
      kind: "properties",
      properties: {
        "exit-with-parent": withDefault(bool, false, "the process is ended when the one that started it is gone"),
        "ready-fd": optional(descriptor, "gets a line feed and is closed once the process has all open that it needs"),
        "start-error": withDefault(oneOf("stderr", "qmp"), "stderr", "where the process says why it cannot start"),
      },
    },
  },
  "sandbox": {
    section: "Machine",
    description: "processes are shut in: what they need is opened before, and few system calls are left to them",
    roles: BOTH,
    argument: {
      kind: "properties",
      implied: "enable",
      properties: { enable: withDefault(bool, true, "whether system calls are filtered") },
    },
  },
  "rtc": {
    section: "Machine",
    description: "clock",
    roles: VMM,
    argument: {
      kind: "properties",
      properties: {
        base: withDefault(oneOf("utc", "localtime"), "utc", "what the clock shows when the VM starts"),
        clock: only("host", "what makes it go on"),
      },
    },
  },
  "uuid": {
    section: "Machine",
    description: "the machine's UUID, for firmware and guest",
    roles: VMM,
    argument: { kind: "value", type: uuid },
  },
  "name": {
    section: "Machine",
    description: "name for messages",
    roles: BOTH,
    argument: { kind: "properties", implied: "guest", properties: { guest: required(text, "the name") } },
  },
  "S": {
    section: "Machine",
    description: "the VM does not start until QMP's cont",
    roles: VMM,
    argument: FLAG,
    repeatable: true,
  },
  "no-reboot": {
    section: "Machine",
    description: "a guest's reset ends the VM",
    roles: VMM,
    argument: FLAG,
    repeatable: true,
  },

  "bios": {
    section: "Boot",
    description: "firmware image; SeaBIOS where it is installed, if left out",
    roles: VMM,
    argument: { kind: "value", type: path },
  },
  "kernel": {
    section: "Boot",
    description: "kernel to start: a PVH ELF (vmlinux) or a bzImage",
    roles: VMM,
    argument: { kind: "value", type: path },
  },
  "initrd": {
    section: "Boot",
    description: "the kernel's initial RAM disk",
    roles: VMM,
    argument: { kind: "value", type: path },
  },
  "append": {
    section: "Boot",
    description: "the kernel's command line",
    roles: VMM,
    argument: { kind: "value", type: kernelCommandLine },
  },
  "boot": {
    section: "Boot",
    description: "what firmware boots from",
    roles: VMM,
    argument: { kind: "properties", implied: "order", properties: BOOT_PROPERTIES },
  },
  "fw_cfg": {
    section: "Boot",
    description: "file for the guest in the firmware configuration device; either string= or file=",
    roles: VMM,
    repeatable: true,
    argument: {
      kind: "properties",
      implied: "name",
      properties: {
        name: required(ascii(55), "its name there, by custom opt/<domain>/<name>"),
        string: optional(text, "its contents"),
        file: optional(path, "file on the host that has its contents"),
      },
    },
  },

  "device": {
    section: "Devices and drives",
    description: "adds a device",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "variants", implied: "driver", noun: "device", variants: DEVICE_TYPES },
  },
  "drive": {
    section: "Devices and drives",
    description: "adds a disk image, for a scsi-hd",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "properties", properties: DRIVE_PROPERTIES },
  },
  "add-fd": {
    section: "Devices and drives",
    description: "image file that is open already, on a descriptor: opening its path takes that",
    roles: REMOTE,
    repeatable: true,
    argument: {
      kind: "properties",
      properties: {
        fd: required(descriptor, "the descriptor"),
        set: required(integer({ max: 0xffff }), "number; without opaque=, the path is /dev/fdset/<number>"),
        opaque: optional(path, "the file's path"),
      },
    },
  },
  "snapshot": {
    section: "Devices and drives",
    description: "throws away in the end what the guest writes to its drives, but for those with snapshot=off",
    roles: BOTH,
    argument: FLAG,
  },
  "object": {
    section: "Devices and drives",
    description: "adds an object that is not a device",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "variants", implied: "qom-type", noun: "object", variants: OBJECT_TYPES },
  },
  "global": {
    section: "Devices and drives",
    description: "default for a property of every device of a type",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "value", type: globalDefault },
  },

  "serial": {
    section: "Consoles",
    description: "adds a serial port, COM1 first; COM1 is on stdio if left out",
    roles: VMM,
    repeatable: true,
    argument: { kind: "value", type: characterTarget },
  },
  "debugcon": {
    section: "Consoles",
    description: "adds a debug console, as -device isa-debugcon does",
    roles: VMM,
    repeatable: true,
    argument: { kind: "value", type: characterTarget },
  },
  "chardev": {
    section: "Consoles",
    description: "names a character device for -serial, -debugcon, -device isa-debugcon, -monitor, -qmp and -mon",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "variants", implied: "backend", noun: "character device", variants: CHARDEV_TYPES },
  },
  "qmp": {
    section: "Consoles",
    description: "adds a QMP server",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "value", type: monitorTarget },
  },
  "mon": {
    section: "Consoles",
    description: "adds a monitor, for people or QMP, on a -chardev",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "properties", implied: "chardev", properties: MONITOR_PROPERTIES },
  },
  "monitor": {
    section: "Consoles",
    description: "adds a monitor for people; a device process has none",
    roles: BOTH,
    repeatable: true,
    argument: { kind: "value", type: humanMonitorTarget },
  },
  "nographic": {
    section: "Consoles",
    description: "COM1 and a monitor share stdio, as -serial mon:stdio; either goes where -serial or -monitor says",
    roles: BOTH,
    argument: FLAG,
    repeatable: true,
  },
  "echr": {
    section: "Consoles",
    description: "escape key of a console that is shared with a monitor, by its ASCII code; 1 (Ctrl-A) if left out",
    roles: VMM,
    argument: { kind: "value", type: integer({ min: 1, max: 31 }) },
  },
  "nodefaults": {
    section: "Consoles",
    description: "no serial port or monitor that was not asked for",
    roles: BOTH,
    argument: FLAG,
    repeatable: true,
  },

  "help": { section: "Information", description: "prints this", roles: BOTH, argument: FLAG, aliases: ["h"] },
  "version": { section: "Information", description: "prints the version", roles: BOTH, argument: FLAG },

  "no-user-config": always("there are no configuration files"),
  "display": none("display"),
  "vga": none("display"),
  "parallel": none("parallel port"),
  "net": none("network device"),
  "nic": none("network device"),
} as const satisfies Readonly<Record<string, OptionSpec>>;

/** Name of an option, without hyphen. */
export type OptionName = keyof typeof OPTIONS;
