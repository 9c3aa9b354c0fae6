/**
 * The guest's address map: every fixed guest-physical address, I/O port and global system interrupt of the q35 machine.
 *
 * The numbers are those of the chipset's data sheets where they are fixed there, and QEMU's `q35` machine where the
 * data sheets leave the choice to firmware, because SeaBIOS and the guests' drivers know that machine.
 *
 * Sources: Intel 3 Series Express Chipset Family data sheet (316966, the memory controller hub: "MCH"), Intel I/O
 * Controller Hub 9 data sheet (316972: "ICH9").
 *
 * ```text
 * 0000_0000_0000  low RAM; 0xa0000-0xbffff is a hole, 0xc0000-0xfffff is RAM or ROM as the MCH's PAM registers say
 *      b000_0000  ECAM, 256 MiB, where firmware puts it
 *      c000_0000  PCI memory BARs
 *      fec0_0000  IOAPIC (KVM)        fed1_c000  ICH9 root complex registers
 *      fee0_0000  local APICs (KVM)   feff_c000  pages that KVM itself needs on Intel hosts
 *      ffxx_xxxx  firmware, ending at 4 GiB
 * 0001_0000_0000  high RAM
 * ```
 *
 * @module
 */

const KIB = 0x400;
const MIB = 0x10_0000;
const GIB = 0x4000_0000;

/** Where guest RAM lies, in bytes of guest-physical address. */
export const RamLayout = {
  /** RAM of at least this size is split; below it, all of RAM lies below 4 GiB. */
  SPLIT_THRESHOLD: 0xb000_0000,
  /**
   * How much of split RAM stays below 4 GiB: 2 GiB, so that high RAM begins at a 1 GiB boundary of the backing memory.
   */
  SPLIT_LOW_SIZE: 2 * GIB,
  /** The rest of split RAM begins here. */
  HIGH_BASE: 4 * GIB,
  /** End of conventional memory; the extended BIOS data area is below it. */
  CONVENTIONAL_END: 0xa_0000,
  /** Where extended memory begins. */
  EXTENDED_BASE: 0x10_0000,
} as const;

/** How much RAM lies below and above 4 GiB. */
export interface RamSplit {
  /** Bytes from address 0. */
  readonly low: number;
  /** Bytes from {@linkcode RamLayout.HIGH_BASE}. */
  readonly high: number;
}

/** Places `size` bytes of guest RAM as QEMU's q35 does. */
export function splitRam(size: number): RamSplit {
  const low = size >= RamLayout.SPLIT_THRESHOLD ? RamLayout.SPLIT_LOW_SIZE : size;
  return { low, high: size - low };
}

/** The legacy region below 1 MiB that the MCH's PAM registers steer (MCH, DRAM controller registers). */
export const LegacyRegion = {
  VGA_BASE: 0xa_0000,
  VGA_SIZE: 128 * KIB,
  /** Option ROMs, and the lower half of a 128 KiB BIOS from 0xe0000. */
  PAM_BASE: 0xc_0000,
  PAM_END: 0x10_0000,
  /** The last 64 KiB of the firmware image appear here as well as below 4 GiB. */
  BIOS_BASE: 0xf_0000,
  BIOS_SIZE: 64 * KIB,
  /** The largest part of the firmware image that is aliased below 1 MiB, ending at {@linkcode LegacyRegion.PAM_END}. */
  BIOS_ALIAS_MAX_SIZE: 128 * KIB,
} as const;

/** The firmware image: it ends at 4 GiB, where the reset vector is. */
export const FirmwareLayout = {
  END: 4 * GIB,
  /** The range that the chipset decodes to the flash: 16 MiB, from just above {@linkcode KvmLayout}'s pages. */
  MAX_SIZE: 16 * MIB,
} as const;

/** Memory-mapped hardware below 4 GiB. */
export const MmioLayout = {
  /** Where firmware puts the enhanced configuration access mechanism, and what ACPI's MCFG table says. */
  ECAM_BASE: 0xb000_0000,
  ECAM_SIZE: 256 * MIB,
  /** PCI memory BARs: from here up to, not including, {@linkcode MmioLayout.PCI_HOLE_END}. */
  PCI_HOLE_BASE: 0xc000_0000,
  PCI_HOLE_END: 0xfec0_0000,
  IOAPIC_BASE: 0xfec0_0000,
  IOAPIC_SIZE: 4 * KIB,
  /** Where firmware puts the ICH9's root complex register block (ICH9, section 10.1). */
  RCBA_BASE: 0xfed1_c000,
  RCBA_SIZE: 16 * KIB,
  LAPIC_BASE: 0xfee0_0000,
  LAPIC_SIZE: 4 * KIB,
} as const;

/**
 * Pages that KVM needs for itself to run real mode on Intel processors without unrestricted guest
 * (KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR). They lie below the 16 MiB of flash, and must be reserved in the
 * guest's memory map.
 */
export const KvmLayout = {
  IDENTITY_MAP_BASE: 0xfeff_c000,
  TSS_BASE: 0xfeff_d000,
  /** Both together: one page and three. */
  RESERVED_SIZE: 16 * KIB,
} as const;

/** I/O ports: the first of each range. */
export const Port = {
  /** 8259 PICs, 8254 PIT, speaker gate and ELCR: handled by KVM's in-kernel irqchip and PIT, they cause no exits. */
  PIC_MASTER: 0x20,
  PIT: 0x40,
  /** Speaker gate, refresh toggle and PIT channel 2 output; KVM's too, with KVM_PIT_SPEAKER_DUMMY. */
  NMI_STATUS: 0x61,
  PIC_SLAVE: 0xa0,
  ELCR: 0x4d0,

  I8042_DATA: 0x60,
  I8042_COMMAND: 0x64,
  CMOS: 0x70,
  POST_CODE: 0x80,
  /** Fast A20 and INIT (ICH9, PORT92). */
  SYSTEM_CONTROL_A: 0x92,
  /** APM control and status, also ACPI's SMI_CMD (ICH9, APM_CNT and APM_STS). */
  APM: 0xb2,
  COM4: 0x2e8,
  COM2: 0x2f8,
  COM3: 0x3e8,
  COM1: 0x3f8,
  /** QEMU's debug console, to which SeaBIOS logs. */
  DEBUG_CONSOLE: 0x402,
  /** Default of isa-debug-exit's `iobase`. */
  DEBUG_EXIT: 0x501,
  FW_CFG_SELECTOR: 0x510,
  FW_CFG_DMA: 0x514,
  /** Where firmware puts the ACPI power management block, and what ACPI's FADT says. */
  PM_BASE: 0x600,
  CONFIG_ADDRESS: 0xcf8,
  RESET_CONTROL: 0xcf9,
  CONFIG_DATA: 0xcfc,
  /** PCI I/O BARs: SeaBIOS hands out from here up to, not including, 0x10000. */
  PCI_IO_BASE: 0xc000,
} as const;

/** How many ports some of the ranges of {@linkcode Port} have. */
export const PortCount = {
  SERIAL: 8,
  CMOS: 2,
  APM: 2,
  DEBUG_EXIT: 2,
  FW_CFG_SELECTOR: 2,
  FW_CFG_DMA: 8,
  /** ICH9, section 13.8.3. */
  PM: 0x80,
  /** CONFIG_ADDRESS and CONFIG_DATA together, with the reset register between them. */
  CONFIG: 8,
} as const;

/**
 * Global system interrupts: 0 to 23 are the IOAPIC's inputs, but for the timer (see {@linkcode Gsi.TIMER_IOAPIC_PIN});
 * those below 16 are ISA IRQs too.
 */
export const Gsi = {
  TIMER: 0,
  /** ISA IRQ 0 arrives at this IOAPIC input, and the ACPI MADT says so (interrupt source override). */
  TIMER_IOAPIC_PIN: 2,
  KEYBOARD: 1,
  /** ISA IRQ 2 is the cascade between the two PICs: no device has it. */
  CASCADE: 2,
  COM2: 3,
  COM1: 4,
  RTC: 8,
  /** ACPI's system control interrupt, level-triggered, active high; the default of ICH9's SCI_IRQ_SEL. */
  SCI: 9,
  MOUSE: 12,
  /** PIRQA# to PIRQH# arrive at IOAPIC inputs 16 to 23. */
  PIRQ_BASE: 16,
  PIRQ_COUNT: 8,
  /** ISA IRQs: 0 to 15. */
  ISA_COUNT: 16,
  /** Inputs of the IOAPIC. */
  COUNT: 24,
} as const;

/** PCI slots (device numbers) on bus 0 that the chipset takes. */
export const PciSlot = {
  HOST_BRIDGE: 0,
  LPC: 31,
} as const;
