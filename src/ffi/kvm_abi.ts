/**
 * Numbers and structure layouts of the KVM interface on x86-64 (linux/kvm.h, asm/kvm.h; Documentation/virt/kvm/api.rst).
 *
 * @module
 */

/** ioctl requests. */
export const KvmRequest = {
  GET_API_VERSION: 0xae00,
  CREATE_VM: 0xae01,
  GET_MSR_INDEX_LIST: 0xc004ae02,
  CHECK_EXTENSION: 0xae03,
  GET_VCPU_MMAP_SIZE: 0xae04,
  GET_SUPPORTED_CPUID: 0xc008ae05,
  CREATE_VCPU: 0xae41,
  SET_USER_MEMORY_REGION: 0x4020ae46,
  SET_TSS_ADDR: 0xae47,
  SET_IDENTITY_MAP_ADDR: 0x4008ae48,
  CREATE_IRQCHIP: 0xae60,
  IRQ_LINE: 0x4008ae61,
  GET_IRQCHIP: 0xc208ae62,
  SET_IRQCHIP: 0x8208ae63,
  SET_GSI_ROUTING: 0x4008ae6a,
  IRQFD: 0x4020ae76,
  SET_CLOCK: 0x4030ae7b,
  GET_CLOCK: 0x8030ae7c,
  CREATE_PIT2: 0x4040ae77,
  GET_PIT2: 0x8070ae9f,
  SET_PIT2: 0x4070aea0,
  RUN: 0xae80,
  GET_REGS: 0x8090ae81,
  SET_REGS: 0x4090ae82,
  GET_SREGS: 0x8138ae83,
  SET_SREGS: 0x4138ae84,
  GET_MSRS: 0xc008ae88,
  SET_MSRS: 0x4008ae89,
  GET_FPU: 0x81a0ae8c,
  SET_FPU: 0x41a0ae8d,
  GET_LAPIC: 0x8400ae8e,
  SET_LAPIC: 0x4400ae8f,
  SET_CPUID2: 0x4008ae90,
  GET_MP_STATE: 0x8004ae98,
  SET_MP_STATE: 0x4004ae99,
  GET_VCPU_EVENTS: 0x8040ae9f,
  SET_VCPU_EVENTS: 0x4040aea0,
  GET_DEBUGREGS: 0x8080aea1,
  SET_DEBUGREGS: 0x4080aea2,
  GET_XCRS: 0x8188aea6,
  SET_XCRS: 0x4188aea7,
  KVMCLOCK_CTRL: 0xaead,
} as const;

/** Capabilities for KVM_CHECK_EXTENSION. */
export const KvmCapability = {
  IRQCHIP: 0,
  USER_MEMORY: 3,
  SET_TSS_ADDR: 4,
  EXT_CPUID: 7,
  NR_VCPUS: 9,
  IRQ_ROUTING: 25,
  IRQFD: 32,
  PIT2: 33,
  SET_IDENTITY_MAP_ADDR: 37,
  MAX_VCPUS: 66,
  TSC_DEADLINE_TIMER: 72,
  READONLY_MEM: 81,
  IRQFD_RESAMPLE: 82,
  IMMEDIATE_EXIT: 136,
} as const;

/** `kvm_run.exit_reason`. */
export const KvmExit = {
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
} as const;

/** `kvm_run.system_event.type`. */
export const KvmSystemEvent = { SHUTDOWN: 1, RESET: 2, CRASH: 3 } as const;

/** Flags of a memory region. */
export const KvmMemoryFlags = { LOG_DIRTY_PAGES: 1, READONLY: 2 } as const;

/** Interrupt chips of the in-kernel irqchip, in KVM_GET_IRQCHIP and in routing entries. */
export const KvmIrqchip = { PIC_MASTER: 0, PIC_SLAVE: 1, IOAPIC: 2 } as const;

/**
 * Offset of a PIC's edge/level control register in what KVM_GET_IRQCHIP returns: a bit that is set makes that input level-triggered
 * (struct kvm_pic_state, after the chip's number and padding).
 */
export const KVM_PIC_ELCR = 22;

/** `kvm_irq_routing_entry.type`. */
export const KVM_IRQ_ROUTING_IRQCHIP = 1;
/** Flags of KVM_IRQFD. */
export const KvmIrqfdFlags = { DEASSIGN: 1, RESAMPLE: 2 } as const;
/** `kvm_pit_config.flags`: port 0x61 is emulated as a dummy, too. */
export const KVM_PIT_SPEAKER_DUMMY = 1;
/** The only version of the interface there has ever been since 2007. */
export const KVM_API_VERSION = 12;

/** Sizes in bytes of the structures that are passed whole. */
export const KvmSize = {
  REGS: 144,
  SREGS: 312,
  FPU: 416,
  LAPIC: 1024,
  MP_STATE: 4,
  VCPU_EVENTS: 64,
  DEBUGREGS: 128,
  XCRS: 392,
  IRQCHIP: 520,
  PIT_STATE2: 112,
  CLOCK_DATA: 48,
  CPUID_ENTRY: 40,
  MSR_ENTRY: 16,
  ROUTING_ENTRY: 48,
} as const;

/** Offsets in struct kvm_run. */
export const KvmRunOffset = {
  IMMEDIATE_EXIT: 1,
  EXIT_REASON: 8,
  IO_DIRECTION: 32,
  IO_SIZE: 33,
  IO_PORT: 34,
  IO_COUNT: 36,
  IO_DATA_OFFSET: 40,
  MMIO_ADDRESS: 32,
  MMIO_DATA: 40,
  MMIO_LENGTH: 48,
  MMIO_IS_WRITE: 52,
  FAIL_ENTRY_REASON: 32,
  INTERNAL_SUBERROR: 32,
  INTERNAL_NDATA: 36,
  INTERNAL_DATA: 40,
  SYSTEM_EVENT_TYPE: 32,
} as const;

/** General registers in the order of struct kvm_regs, 8 bytes each. */
export const KVM_REGS = [
  ...["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp"],
  ...["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags"],
] as const;

/** Offsets in struct kvm_sregs. */
export const KvmSregsOffset = {
  SEGMENTS: { cs: 0, ds: 24, es: 48, fs: 72, gs: 96, ss: 120, tr: 144, ldt: 168 },
  GDT: 192,
  IDT: 208,
  CR0: 224,
  CR2: 232,
  CR3: 240,
  CR4: 248,
  CR8: 256,
  EFER: 264,
  APIC_BASE: 272,
} as const;
