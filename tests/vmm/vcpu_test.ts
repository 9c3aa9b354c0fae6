import { assert, assertEquals, assertThrows } from "@std/assert";
import { KvmExit, KvmRunOffset, KvmSystemEvent } from "../../src/ffi/kvm_abi.ts";
import { Bus, MappingGeneration } from "../../src/vmm/bus.ts";
import { SharedLock } from "../../src/vmm/shared_lock.ts";
import { Vcpu, type VcpuOptions } from "../../src/vmm/vcpu.ts";

type Step = (run: DataView<ArrayBuffer>) => number | undefined;
type SeenAccess = [kind: "read" | "write", offset: number, size: number, value?: number];

const RIP = 0xfff0;
/** Where the data of a port access lie, in struct kvm_run's second page as with KVM. */
const IO_DATA = 4096;

/** A vCPU that plays what KVM would do: each step is what one KVM_RUN comes back with, `undefined` for EINTR. */
class FakeKvm {
  readonly run = new DataView(new ArrayBuffer(8192));
  exitReason: number = KvmExit.UNKNOWN;
  /** For each entry, whether it was asked to return at once. */
  readonly entries: boolean[] = [];
  #immediate = false;

  constructor(readonly steps: Step[]) {}

  enter(): boolean {
    this.entries.push(this.#immediate);
    const reason = this.steps.shift()?.(this.run);
    this.exitReason = reason ?? KvmExit.INTR;
    return reason !== undefined;
  }

  requestExit(wanted: boolean): void {
    this.#immediate = wanted;
  }

  get(): DataView<ArrayBuffer> {
    const regs = new DataView(new ArrayBuffer(144)); // struct kvm_regs: rip is the 17th register
    regs.setBigUint64(16 * 8, BigInt(RIP), true);
    return regs;
  }
}

function port(number: number, size: number, direction: "in" | "out", items: readonly number[]): Step {
  return (run) => {
    run.setUint8(KvmRunOffset.IO_DIRECTION, direction === "out" ? 1 : 0);
    run.setUint8(KvmRunOffset.IO_SIZE, size);
    run.setUint16(KvmRunOffset.IO_PORT, number, true);
    run.setUint32(KvmRunOffset.IO_COUNT, items.length, true);
    run.setBigUint64(KvmRunOffset.IO_DATA_OFFSET, BigInt(IO_DATA), true);
    items.forEach((item, i) => run.setUint32(IO_DATA + i * size, item, true));
    return KvmExit.IO;
  };
}

function mmio(address: number, write: boolean, data: readonly number[]): Step {
  return (run) => {
    run.setBigUint64(KvmRunOffset.MMIO_ADDRESS, BigInt(address), true);
    run.setUint32(KvmRunOffset.MMIO_LENGTH, data.length, true);
    run.setUint8(KvmRunOffset.MMIO_IS_WRITE, write ? 1 : 0);
    data.forEach((byte, i) => run.setUint8(KvmRunOffset.MMIO_DATA + i, byte));
    return KvmExit.MMIO;
  };
}

const DEVICE_PORT = 0x500;
const DEVICE_MEMORY = 0x1_2345_6000;
const VALUE = 0x8899aabb;

function build(
  steps: Step[],
  device?: (attention: Int32Array) => void,
  options: Pick<VcpuOptions, "heedsSignals"> = {},
) {
  const kvm = new FakeKvm(steps);
  const generation = new MappingGeneration();
  const [ports, memory] = [
    new Bus({ name: "port", size: 0x10000, generation }),
    new Bus({ name: "memory", size: 2 ** 52, generation }),
  ];
  const attention = new Int32Array(new SharedArrayBuffer(4));
  const lockWord = new Int32Array(new SharedArrayBuffer(4));
  const seen: SeenAccess[] = [];
  const held: boolean[] = [];
  const note = (access: SeenAccess) => {
    seen.push(access);
    held.push(lockWord[0] !== 0);
    device?.(attention);
  };
  const registers = {
    read: (offset: number, size: number) => {
      note(["read", offset, size]);
      return size === 4 ? VALUE : VALUE % 2 ** (8 * size);
    },
    write: (offset: number, size: number, value: number) => note(["write", offset, size, value]),
  };
  ports.insert(DEVICE_PORT, 16, registers);
  memory.insert(DEVICE_MEMORY, 16, registers);
  const vcpu = new Vcpu({ kvm, ports, memory, lock: new SharedLock(lockWord), attention, ...options });
  return { kvm, vcpu, seen, held, lockWord, attention };
}

const shutdown: Step = () => KvmExit.SHUTDOWN;
const interrupted: Step = () => undefined;

Deno.test("port writes of each width reach the device, with nothing of what is beside them", () => {
  const { vcpu, seen } = build(
    [1, 2, 4].map((size) => port(DEVICE_PORT + 4, size, "out", [0xdeadbeef])).concat(shutdown),
  );
  vcpu.run();
  assertEquals(seen, [["write", 4, 1, 0xef], ["write", 4, 2, 0xbeef], ["write", 4, 4, 0xdeadbeef]]);
});

Deno.test("port reads of each width bring the device's value, and change nothing beside it", () => {
  for (const [size, expected] of [[1, 0x777777bb], [2, 0x7777aabb], [4, 0x8899aabb]] as const) {
    const { kvm, vcpu } = build([port(DEVICE_PORT, size, "in", [0x77777777]), shutdown]);
    vcpu.run();
    assertEquals(kvm.run.getUint32(IO_DATA, true), expected);
  }
});

Deno.test("a string instruction's items go through the one port in their order", () => {
  const { vcpu, seen } = build([port(DEVICE_PORT, 2, "out", [1, 2, 3]), shutdown]);
  vcpu.run();
  assertEquals(seen, [["write", 0, 2, 1], ["write", 0, 2, 2], ["write", 0, 2, 3]]);
});

Deno.test("memory accesses above 4 GiB reach the device, one of 8 bytes in two halves", () => {
  const { kvm, vcpu, seen } = build([
    mmio(DEVICE_MEMORY + 8, true, [1, 0, 0, 0, 2, 0, 0, 0x80]),
    mmio(DEVICE_MEMORY, false, Array(8).fill(0)),
    shutdown,
  ]);
  vcpu.run();
  assertEquals(seen, [["write", 8, 4, 1], ["write", 12, 4, 0x80000002], ["read", 0, 4], ["read", 4, 4]]);
  assertEquals(kvm.run.getBigUint64(KvmRunOffset.MMIO_DATA, true), 0x8899aabb_8899aabbn);
});

Deno.test("what nobody decodes reads as all-ones", () => {
  const { kvm, vcpu } = build([port(0x999, 2, "in", [0]), mmio(0xd000_0000, false, [0, 0, 0, 0]), shutdown]);
  vcpu.run();
  assertEquals(kvm.run.getUint16(IO_DATA, true), 0xffff);
  assertEquals(kvm.run.getUint32(KvmRunOffset.MMIO_DATA, true), 0xffffffff);
});

Deno.test("the machine's lock is held during an access, and free after it", () => {
  const { vcpu, held, lockWord } = build([port(DEVICE_PORT, 1, "in", [0]), mmio(DEVICE_MEMORY, true, [1]), shutdown]);
  vcpu.run();
  assertEquals([held, lockWord[0]], [[true, true], 0]);
});

Deno.test("the lock is free after an access that fails", () => {
  const { vcpu, lockWord } = build([port(DEVICE_PORT, 1, "in", [0])], () => {
    throw new Error("the host cannot");
  });
  assertThrows(() => vcpu.run(), Error, "the host cannot");
  assertEquals(lockWord[0], 0);
});

Deno.test("a signal that nobody sent for attention is no reason to stop", () => {
  const { vcpu, seen } = build([interrupted, () => KvmExit.INTR, port(DEVICE_PORT, 1, "out", [1]), shutdown]);
  assertEquals(vcpu.run(), "reset");
  assertEquals(seen.length, 1);
});

Deno.test("attention stops the vCPU before it enters the guest; then it only finishes what it was at", () => {
  const { kvm, vcpu, attention } = build([interrupted]);
  attention[0] = 1;
  assertEquals(vcpu.run(), "attention");
  assertEquals(kvm.entries, [true]);
});

Deno.test("an access that asks for attention is the last one of the guest", () => {
  const { kvm, vcpu } = build(
    [port(DEVICE_PORT, 1, "out", [1]), interrupted],
    (attention) => attention[0] = 1,
  );
  assertEquals(vcpu.run(), "attention");
  assertEquals(kvm.entries, [false, true]);
});

Deno.test("the rest of an instruction that has several accesses is carried out before the vCPU stops", () => {
  const { kvm, vcpu, seen } = build([
    ...[mmio(DEVICE_MEMORY, true, [1]), mmio(DEVICE_MEMORY + 1, true, [2]), port(DEVICE_PORT, 1, "out", [3])],
    interrupted,
  ], (attention) => attention[0] = 1);
  assertEquals(vcpu.run(), "attention");
  assertEquals(seen.map(([, , , value]) => value), [1, 2, 3]);
  assertEquals(kvm.entries, [false, true, true, true]);
});

Deno.test("a triple fault and KVM's reset event are resets, its shutdown event is a shutdown", () => {
  const event = (type: number): Step => (run) => {
    run.setUint32(KvmRunOffset.SYSTEM_EVENT_TYPE, type, true);
    return KvmExit.SYSTEM_EVENT;
  };
  assertEquals(build([shutdown]).vcpu.run(), "reset");
  assertEquals(build([event(KvmSystemEvent.RESET)]).vcpu.run(), "reset");
  assertEquals(build([event(KvmSystemEvent.SHUTDOWN)]).vcpu.run(), "shutdown");
});

Deno.test("what KVM cannot go on with is an error that says where the guest was", () => {
  const failEntry: Step = (run) => {
    run.setBigUint64(KvmRunOffset.FAIL_ENTRY_REASON, 0x80000021n, true);
    return KvmExit.FAIL_ENTRY;
  };
  const cases: [Step, string][] = [
    [failEntry, "KVM could not enter the guest at rip 0xfff0: hardware reason 0x80000021"],
    [() => KvmExit.HYPERCALL, "KVM stopped the guest at rip 0xfff0 for an unexpected reason: exit 3"],
  ];
  for (const [step, message] of cases) assertThrows(() => build([step]).vcpu.run(), Error, message);
});

/** `kvm_run.internal` (api.rst, KVM_EXIT_INTERNAL_ERROR): suberror, number of words, then flags and the instruction. */
function internalError(suberror: number, words: number, instruction: readonly number[]): Step {
  return (run) => {
    run.setUint32(KvmRunOffset.INTERNAL_SUBERROR, suberror, true);
    run.setUint32(KvmRunOffset.INTERNAL_NDATA, words, true);
    run.setBigUint64(KvmRunOffset.INTERNAL_DATA, 1n, true);
    run.setUint8(KvmRunOffset.INTERNAL_DATA + 8, instruction.length);
    instruction.forEach((byte, i) => run.setUint8(KvmRunOffset.INTERNAL_DATA + 9 + i, byte));
    return KvmExit.INTERNAL_ERROR;
  };
}

Deno.test("an instruction that KVM cannot emulate is shown, where KVM tells it", () => {
  const message = (step: Step) => {
    try {
      build([step]).vcpu.run();
    } catch (error) {
      return (error as Error).message;
    }
  };
  const start = "KVM gave up on the guest at rip 0xfff0: ";
  assertEquals(
    message(internalError(1, 4, [0x0f, 0xc7, 0x0f])),
    `${start}an instruction that it cannot emulate (0fc70f)`,
  );
  assertEquals(message(internalError(1, 0, [])), `${start}an instruction that it cannot emulate`);
  assertEquals(message(internalError(3, 0, [])), `${start}suberror 3`);
  // No instruction has more than 15 bytes.
  const longest = message(internalError(1, 4, Array(40).fill(0x66)))!;
  assert(longest.endsWith(`(${"66".repeat(15)})`), longest);
});

Deno.test("a vCPU that heeds signals returns when one takes it out of the guest, and goes on when it is run again", () => {
  const { kvm, attention, vcpu } = build([interrupted, interrupted, shutdown], undefined, {
    heedsSignals: () => kvm.steps.length > 1,
  });
  assertEquals(vcpu.run(), "interruption");
  assertEquals(vcpu.run(), "reset");
  assertEquals([kvm.entries, attention[0]], [[false, false, false], 0]);
});
