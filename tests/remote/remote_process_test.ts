/** The device process as a process: command line to exit status. */
import { assert, assertEquals } from "@std/assert";
import { PciCommand, PciConfig } from "../../src/device/config_space.ts";
import { createEventFd, drainEventFd, pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd } from "../../src/ffi/file.ts";
import { createMemoryFile, mapFile } from "../../src/ffi/memory.ts";
import { bytesOf } from "../support/remote_harness.ts";
import { defaultArguments, RemoteProcess, withImage } from "../support/remote_process.ts";

const IO_BASE = 0xc000;
const MEMORY_BASE = 0xfebf0000;
const RAM_SIZE = 0x10000;

/** A process that has to end by itself, without a word, once its proxy has gone away. */
function withProcess(body: (remote: RemoteProcess) => void): () => void {
  return withImage((image) => {
    const remote = new RemoteProcess(image);
    try {
      body(remote);
    } finally {
      remote.channel.close();
      assertEquals(remote.wait(), { status: { code: 0 }, errors: "" });
    }
  });
}

function readConfig(remote: RemoteProcess, offset: number, size: number): number {
  return remote.call((m) => m.setConfigRead(offset, size))[0];
}

function writeConfig(remote: RemoteProcess, offset: number, size: number, value: number): void {
  assertEquals(remote.call((m) => m.setConfigWrite(offset, size, value)), [0, 0]);
}

function enable(remote: RemoteProcess): void {
  writeConfig(remote, PciConfig.BAR0, 4, IO_BASE);
  writeConfig(remote, PciConfig.BAR0 + 4, 4, MEMORY_BASE);
  writeConfig(remote, PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
}

Deno.test(
  "the process shows the adapter's identity and the sizes of its BARs to QEMU's probe",
  withProcess((remote) => {
    assertEquals(readConfig(remote, PciConfig.VENDOR_ID, 4), 0x00121000);
    const sizes = [];
    for (let slot = PciConfig.BAR0; slot <= 0x28; slot += 4) {
      const before = readConfig(remote, slot, 4);
      writeConfig(remote, slot, 4, 0xffffffff);
      sizes.push((~(readConfig(remote, slot, 4) & 0xfffffff0) + 1) >>> 0);
      writeConfig(remote, slot, 4, before);
    }
    assertEquals(sizes, [0x100, 0x400, 0x2000, 0, 0, 0, 0]);
  }),
);

Deno.test(
  "the process survives every configuration access, those that do not fit included",
  withProcess((remote) => {
    for (const size of [1, 2, 4]) {
      for (const offset of [0xf9, 0xfc, 0xfd, 0xfe, 0xff, 0x100, 0xffffffff]) {
        const fits = offset + size <= 0x100;
        assertEquals(remote.call((m) => m.setConfigRead(offset, size))[1], fits ? 0 : 0xffffffff);
        assertEquals(remote.call((m) => m.setConfigWrite(offset, size, 0)), fits ? [0, 0] : [0xffffffff, 0xffffffff]);
      }
    }
  }),
);

Deno.test(
  "the process serves registers in both spaces, and all-ones elsewhere",
  withProcess((remote) => {
    enable(remote);
    const SCRATCHA = 0x34;
    assertEquals(remote.call((m) => m.setBarWrite(MEMORY_BASE + SCRATCHA, 4, true, 0x89abcdef)), [0, 0]);
    assertEquals(remote.call((m) => m.setBarRead(IO_BASE + SCRATCHA, 4, false)), [0x89abcdef, 0]);
    assertEquals(remote.call((m) => m.setBarRead(IO_BASE + SCRATCHA, 1, false)), [0xef, 0]);
    assertEquals(remote.call((m) => m.setBarRead(MEMORY_BASE + 0x400, 4, true)), [0xffffffff, 0xffffffff]);
  }),
);

Deno.test(
  "a SCRIPTS program copies guest RAM and interrupts",
  withProcess((remote) => {
    const file = createMemoryFile("ram", RAM_SIZE);
    const mapping = mapFile(file, 0, RAM_SIZE);
    const [irq, resample] = [createEventFd(), createEventFd()];
    remote.tell((m) => m.setSyncSysmem([{ gpa: 0, size: RAM_SIZE, offset: 0 }]), [file]);
    remote.tell((m) => m.setIrqFd(), [irq, resample]);
    enable(remote);

    // 53C895A manual, chapter 5: memory move of 16 bytes from 0x2000 to 0x3000, then INT with 0x55 in DSPS.
    new Uint32Array(mapping.bytes.buffer, 0x1000, 5).set([0xc0000010, 0x2000, 0x3000, 0x98080000, 0x55]);
    mapping.bytes.fill(0x5a, 0x2000, 0x2010);
    const [DMODE, DSP, DSPS, DIEN, DSTAT] = [0x38, 0x2c, 0x30, 0x39, 0x0c];
    remote.call((m) => m.setBarWrite(IO_BASE + DMODE, 1, false, 0));
    remote.call((m) => m.setBarWrite(IO_BASE + DIEN, 1, false, 0x04)); // SIR
    remote.call((m) => m.setBarWrite(MEMORY_BASE + DSP, 4, true, 0x1000));
    assertEquals(pollFd(irq, Ready.IN, 30_000), Ready.IN);
    assertEquals(
      mapping.bytes.slice(0x2ff0, 0x3020),
      Uint8Array.from([
        ...Array(16).fill(0),
        ...Array(16).fill(0x5a),
        ...Array(16).fill(0),
      ]),
    );
    assertEquals(remote.call((m) => m.setBarRead(MEMORY_BASE + DSPS, 4, true))[0], 0x55);
    assertEquals(remote.call((m) => m.setBarRead(MEMORY_BASE + DSTAT, 1, true))[0] & 0x04, 0x04);
    drainEventFd(irq);
    mapping.unmap();
    [file, irq, resample].forEach(closeFd);
  }),
);

Deno.test(
  "a proxy that announces RAM and interrupts again and again does not make the process collect descriptors",
  withProcess((remote) => {
    const file = createMemoryFile("ram", RAM_SIZE);
    const events = [createEventFd(), createEventFd()];
    const announce = (i: number) => {
      remote.tell((m) => m.setSyncSysmem([{ gpa: 0, size: 0x1000 * (1 + i % 4), offset: 0 }]), [file]);
      remote.tell((m) => m.setIrqFd(), events);
      remote.call((m) => m.setDeviceReset());
    };
    announce(0);
    const before = remote.descriptorCount();
    assert(before > 3);
    for (let i = 0; i < 50; i++) announce(i);
    assertEquals(remote.descriptorCount(), before);
    [file, ...events].forEach(closeFd);
  }),
);

for (
  const [bytes, why] of [
    [bytesOf((m) => m.setConfigRead(0, 3)), "PCI_CFGREAD: len is 3, not 1, 2 or 4"],
    [Uint8Array.from({ length: 16 }, () => 0xff), "unknown command -1"],
  ] as const
) {
  Deno.test(
    `the process ends with status 1 and one line: ${why}`,
    withImage((image) => {
      const remote = new RemoteProcess(image);
      remote.call((m) => m.setDeviceReset());
      remote.sendRaw(bytes);
      assertEquals(remote.wait(), {
        status: { code: 1 },
        errors: `splitvm: remote-object robj0: ${why}; the link is closed\n`,
      });
    }),
  );
}

Deno.test(
  "the process ends with status 1 when its proxy goes away inside a message",
  withImage((image) => {
    for (const length of [1, 15, 16, 39]) {
      const remote = new RemoteProcess(image);
      remote.sendRaw(bytesOf((m) => m.setBarRead(0, 4, true)).slice(0, length));
      remote.channel.close();
      const { status, errors } = remote.wait();
      assertEquals(status, { code: 1 });
      assert(
        errors.startsWith(`splitvm: remote-object robj0: the peer closed the link after ${length} of the `),
        errors,
      );
    }
  }),
);

Deno.test(
  "a descriptor that is no socket is named in one line",
  withImage((image) => {
    const eventFd = createEventFd();
    const remote = new RemoteProcess(image, defaultArguments(image), eventFd);
    closeFd(eventFd);
    assertEquals(remote.wait(), {
      status: { code: 1 },
      errors: "splitvm: remote-object robj0: fd 3 is not an open UNIX stream socket\n",
    });
  }),
);

Deno.test(
  "an image that is not there is named in one line",
  withImage((image) => {
    const remote = new RemoteProcess(image, defaultArguments(`${image}.absent`));
    const { status, errors } = remote.wait();
    assertEquals(status, { code: 1 });
    const line = `splitvm: drive d0: Cannot open ${image}.absent: there is no such file`;
    assert(errors.startsWith(line) && errors.indexOf("\n") === errors.length - 1, errors);
  }),
);
