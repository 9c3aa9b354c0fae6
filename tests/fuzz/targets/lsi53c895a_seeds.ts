/**
 * What drivers do, and what has broken other emulations of this chip and of its like, as inputs of the LSI53C895A's
 * target.
 *
 * Of the flaws that are named here QEMU's entries in the list of CVEs say what went wrong; how a guest brings it
 * about is written anew for this chip.
 *
 * @module
 */
import { Ctest2, Dcntl, Istat0, Reg, Scntl1 } from "../../../src/remote/lsi53c895a/registers.ts";
import { RAM_BASE, REGISTERS_BASE } from "../../remote/lsi53c895a/harness.ts";
import * as S from "../../remote/lsi53c895a/scripts_words.ts";
import { input, u32 } from "../engine/byte_writer.ts";
import type { Seed } from "../engine/target.ts";
import { type Program, step } from "./lsi53c895a_steps.ts";

/** Where messages, CDB, data, status and table lie in guest RAM. */
const Place = { MESSAGES: 0x100, CDB: 0x110, TABLE: 0x200, DATA: 0x1000, STATUS: 0x300 } as const;

const Message = { ABORT: 0x06, BUS_DEVICE_RESET: 0x0c, ABORT_TAG: 0x0d, CLEAR_QUEUE: 0x0e, IDENTIFY: 0xc0 } as const;
const [SIMPLE, HEAD, ORDERED] = [0x20, 0x21, 0x22];

const READ_10 = [0x28, 0, 0, 0, 0, 4, 0, 0, 8, 0];
const WRITE_10 = [0x2a, 0, 0, 0, 0, 4, 0, 0, 8, 0];
const INQUIRY = [0x12, 0, 0, 0, 36, 0];
/** MODE SENSE(10) of all pages, and their subpages. */
const MODE_SENSE_ALL = [0x5a, 0, 0x3f, 0xff, 0, 0, 0, 0xff, 0xff, 0];

const END: Program = [
  S.move(S.STATUS, 1, Place.STATUS),
  S.move(S.MESSAGE_IN, 1, Place.STATUS + 1),
  S.clear(S.ACK),
  S.waitDisconnect(),
  S.int(1),
];
/** The target lets go of the bus, and comes back. */
const LET_GO: Program = [
  S.move(S.MESSAGE_IN, 1, Place.STATUS),
  S.clear(S.ACK),
  S.waitDisconnect(),
  S.waitReselect(RAM_BASE),
  S.move(S.MESSAGE_IN, 3, Place.STATUS),
  S.clear(S.ACK),
];

/** Messages and CDB into RAM. */
function command(messages: readonly number[], cdb: readonly number[]): number[] {
  return [...step.ram(Place.MESSAGES, messages), ...step.ram(Place.CDB, cdb)];
}

/** Selects a target, with as many message bytes. */
function select(id: number, messages: number): Program {
  return [S.select(id), S.move(S.MESSAGE_OUT, messages, Place.MESSAGES)];
}

function seed(name: string, ...steps: readonly (readonly number[])[]): Seed {
  return { name, bytes: input(...steps) };
}

function ordinary(): Seed[] {
  const data = (phase: number) => S.move(phase, 4096, Place.DATA);
  const send = (length: number) => S.move(S.COMMAND, length, Place.CDB);
  return [
    seed(
      "inquiry",
      command([Message.IDENTIFY], INQUIRY),
      step.run([...select(0, 1), send(6), S.move(S.DATA_IN, 36, Place.DATA), ...END]),
    ),
    seed(
      "read-with-disconnection",
      command([Message.IDENTIFY, SIMPLE, 7], READ_10),
      step.run([...select(0, 3), send(10), ...LET_GO, data(S.DATA_IN), ...END]),
      step.time(100),
      step.complete(),
      step.time(100),
    ),
    seed(
      "write-and-read-of-the-other-disk",
      command([Message.IDENTIFY | 2, ORDERED, 8], WRITE_10),
      step.run([...select(1, 3), send(10), data(S.DATA_OUT), ...END]),
      command([Message.IDENTIFY | 2, HEAD, 9], READ_10),
      step.run([...select(1, 3), send(10), data(S.DATA_IN), ...END]),
    ),
    seed(
      "table-indirect-moves",
      command([Message.IDENTIFY], READ_10),
      step.ram(Place.TABLE, [
        ...u32(1),
        ...u32(Place.MESSAGES),
        ...u32(10),
        ...u32(Place.CDB),
        ...u32(4096),
        ...u32(Place.DATA),
      ]),
      step.write32(Reg.DSA, Place.TABLE),
      step.runInRam([
        S.select(0),
        S.moveTable(S.MESSAGE_OUT, 0),
        S.moveTable(S.COMMAND, 8),
        S.moveTable(S.DATA_IN, 16),
        ...END,
      ]),
      step.complete(),
    ),
    seed("selection-of-nobody", step.run([S.select(5, RAM_BASE + 8), S.int(2), S.int(3)]), step.time(1000)),
    seed(
      "a-failing-disk",
      step.failRead(),
      command([Message.IDENTIFY], READ_10),
      step.run([...select(0, 1), send(10), ...END]),
      step.complete(),
    ),
    seed(
      "save-and-restore-in-the-middle",
      command([Message.IDENTIFY], READ_10),
      step.run([...select(0, 1), send(10), data(S.DATA_IN), ...END]),
      step.keep(),
      step.complete(),
      step.restore(),
      step.time(1000),
    ),
    seed(
      "negotiation",
      step.ram(Place.MESSAGES, [Message.IDENTIFY, 1, 3, 1, 0x0c, 31, 1, 2, 3, 1]),
      step.run([...select(0, 10), S.move(S.MESSAGE_IN, 5, Place.STATUS), S.clear(S.ACK), S.int(1)]),
    ),
  ];
}

/** SCRIPTS that do not end, and that reach for the chip itself. */
function loopsAndSelfReference(): Seed[] {
  return [
    // CVE-2019-12068: QEMU did not count instructions without effect, so that a program of them had no end.
    seed("cve-2019-12068-empty-instructions", step.startInEmptyRam(), step.time(6000)),
    seed("loop", step.run([S.jump(RAM_BASE)]), step.time(6000)),
    seed("loop-of-memory-moves", step.run([S.moveMemory(0xffffff, 0, 0x8000), S.jump(RAM_BASE)]), step.time(6000)),
    seed("call-to-itself", step.run([S.call(RAM_BASE), S.ret()]), step.time(6000)),
    seed("failed-selections-for-ever", step.run([S.select(5, RAM_BASE), S.jump(RAM_BASE)]), step.time(6000)),
    seed(
      "program-that-overwrites-itself",
      step.run([S.moveMemory(24, RAM_BASE + 12, RAM_BASE), S.jump(RAM_BASE), S.int(1), S.int(2)]),
      step.time(2000),
    ),
    seed("program-in-the-registers", step.write32(Reg.SCRATCHA, 0x80080000), [
      ...step.write32(Reg.DSP, REGISTERS_BASE + Reg.SCRATCHA),
    ], step.time(2000)),
    seed("program-over-the-end-of-scripts-ram", step.write32(Reg.DSP, RAM_BASE + 0x1ffc), step.time(2000)),
    // CVE-2023-0330: the chip wrote by DMA to its own registers, which started SCRIPTS within SCRIPTS, until the
    // stack was full.
    seed(
      "cve-2023-0330-dma-to-dsp",
      step.ram(0x100, u32(RAM_BASE)),
      step.run([S.moveMemory(4, 0x100, REGISTERS_BASE + Reg.DSP), S.int(1)]),
      step.time(2000),
    ),
    seed(
      "cve-2023-0330-dma-to-istat-reset",
      step.ram(0x100, [Istat0.SRST]),
      step.run([S.moveMemory(1, 0x100, REGISTERS_BASE + Reg.ISTAT0), S.int(1)]),
    ),
    seed(
      "cve-2023-0330-start-by-dcntl",
      step.run([S.modify(Reg.DCNTL, S.Alu.OR, Dcntl.STD), S.jump(RAM_BASE)]),
      step.time(2000),
    ),
    seed("cve-2023-0330-load-of-dsp", step.ram(0x100, u32(RAM_BASE)), step.run([S.load(Reg.DSP, 4, 0x100), S.int(1)])),
    seed(
      "data-phase-into-the-registers",
      command([Message.IDENTIFY], INQUIRY),
      step.run([...select(0, 1), S.move(S.COMMAND, 6, Place.CDB), S.move(S.DATA_IN, 36, REGISTERS_BASE), ...END]),
    ),
    seed(
      "memory-move-over-all-registers",
      step.run([S.moveMemory(0x400, 0, REGISTERS_BASE), S.int(1)]),
      step.time(2000),
    ),
    seed(
      "bars-moved-onto-ram",
      step.write8(Reg.CTEST2, Ctest2.PCICIE),
      [9, 2, 0x14, ...u32(0)],
      step.run([S.moveMemory(64, 0, 32), S.int(1)]),
    ),
  ];
}

/** Messages that end commands while something still holds them. */
function endsOfCommands(): Seed[] {
  const send = S.move(S.COMMAND, 10, Place.CDB);
  const again = (message: number, times: number) =>
    Array.from({ length: times }, () => [S.set(S.ATN), S.move(S.MESSAGE_OUT, 1, Place.MESSAGES + message)]).flat();
  const queued = (...last: readonly number[]) => command([Message.IDENTIFY, SIMPLE, 1, ...last], READ_10);
  const withData: Program = [...select(0, 3), send, S.move(S.DATA_IN, 512, Place.DATA)];
  return [
    // CVE-2022-0216: ABORT, ABORT TAG, CLEAR QUEUE and BUS DEVICE RESET freed the current command, and the next
    // message used it again.
    ...Object.entries({
      abort: Message.ABORT,
      "abort-tag": Message.ABORT_TAG,
      "clear-queue": Message.CLEAR_QUEUE,
      "bus-device-reset": Message.BUS_DEVICE_RESET,
    }).map((
      [name, message],
    ) =>
      seed(
        `cve-2022-0216-${name}-twice`,
        queued(message),
        step.run([...withData, ...again(3, 2), ...END]),
        step.complete(),
        step.time(100),
        step.complete(),
      )
    ),
    seed(
      "cve-2022-0216-all-of-them",
      queued(Message.ABORT, Message.ABORT_TAG, Message.CLEAR_QUEUE, Message.BUS_DEVICE_RESET),
      step.run([...select(0, 7), send, ...END]),
      step.complete(),
    ),
    // CVE-2024-6519: another use of a command after its end in QEMU's model of this chip; here a command ends by each
    // way there is while its data move.
    seed(
      "cve-2024-6519-bus-reset-in-the-data-phase",
      queued(),
      step.run(withData),
      step.write8(Reg.SCNTL1, Scntl1.RST),
      step.complete(),
      step.write8(Reg.SCNTL1, 0),
      step.time(100),
    ),
    seed(
      "cve-2024-6519-chip-reset-in-the-data-phase",
      queued(),
      step.run(withData),
      step.write8(Reg.ISTAT0, Istat0.SRST),
      step.complete(),
      step.run(withData),
      step.complete(),
    ),
    seed(
      "cve-2024-6519-abort-in-the-data-phase",
      queued(),
      step.run(withData),
      step.write8(Reg.ISTAT0, Istat0.ABRT),
      step.complete(),
      step.run([...again(3, 1)]),
    ),
    seed(
      "cve-2024-6519-same-tag-twice",
      queued(),
      step.run([
        ...select(0, 3),
        send,
        ...LET_GO.slice(0, 3),
        ...select(0, 3),
        send,
        ...LET_GO.slice(0, 3),
        S.waitReselect(RAM_BASE),
      ]),
      step.time(100),
      step.complete(),
      step.complete(),
    ),
    seed(
      "tags-of-other-commands",
      command([Message.IDENTIFY, SIMPLE, 1, Message.IDENTIFY, SIMPLE, 2, HEAD, 3], READ_10),
      step.run([...select(0, 8), send, ...END]),
      step.complete(),
    ),
    seed("tag-without-identify", command([SIMPLE, 5], READ_10), step.run([...select(0, 2), send, ...END])),
    seed(
      "identify-of-a-lun-that-is-not-there",
      command([Message.IDENTIFY | 0x3f], READ_10),
      step.run([...select(0, 1), send, ...END]),
    ),
    // A data phase without any command: an assertion in QEMU's model, and so in what was made of it.
    seed(
      "data-phase-without-a-command",
      step.run([S.select(0), S.move(S.DATA_IN, 512, Place.DATA), S.move(S.DATA_OUT, 512, Place.DATA), S.int(1)]),
      step.time(100),
    ),
  ];
}

/** Lengths that do not fit what they are for. */
function lengths(): Seed[] {
  const send = (length: number) => S.move(S.COMMAND, length, Place.CDB);
  return [
    // CVE-2016-4439 and CVE-2016-4441: the ESP put a command of a length that the guest chose into a buffer of 16
    // bytes.
    seed(
      "cve-2016-4441-long-command",
      command([Message.IDENTIFY], READ_10),
      step.run([...select(0, 1), send(0x1000), ...END]),
    ),
    // CVE-2015-5158: operation codes of reserved groups had no length, and all that came was copied.
    seed(
      "cve-2015-5158-reserved-group",
      command([Message.IDENTIFY], [0x7f, ...new Array(15).fill(0xff)]),
      step.run([...select(0, 1), send(16), ...END]),
    ),
    seed(
      "cdb-in-pieces",
      command([Message.IDENTIFY], READ_10),
      step.run([...select(0, 1), send(1), send(2), send(10), ...END]),
      step.complete(),
    ),
    // CVE-2021-3930: MODE SELECT and MODE SENSE of page 0x3f, which stands for all pages, read beyond a table.
    seed(
      "cve-2021-3930-all-mode-pages",
      command([Message.IDENTIFY], MODE_SENSE_ALL),
      step.run([...select(0, 1), send(10), S.move(S.DATA_IN, 0xffff, Place.DATA), ...END]),
    ),
    // CVE-2020-15863 (of a network controller): data longer than the buffer that was meant for them.
    seed(
      "cve-2020-15863-like-long-move",
      command([Message.IDENTIFY], INQUIRY),
      step.run([...select(0, 1), send(6), S.move(S.DATA_IN, 0xffffff, 0xfff0), ...END]),
    ),
    seed(
      "move-of-nothing",
      command([Message.IDENTIFY], INQUIRY),
      step.run([...select(0, 1), send(6), S.move(S.DATA_IN, 0, Place.DATA), ...END]),
    ),
    seed(
      "long-message",
      command([1, 0, ...new Array(200).fill(0xff)], INQUIRY),
      step.run([...select(0, 250), S.move(S.MESSAGE_OUT, 250, Place.MESSAGES), S.int(1)]),
    ),
    seed(
      "message-that-never-ends",
      step.ram(Place.MESSAGES, [1, 0xff]),
      step.run([S.select(0), ...Array.from({ length: 20 }, () => S.move(S.MESSAGE_OUT, 2, Place.MESSAGES))]),
    ),
    seed(
      "chained-moves",
      command([Message.IDENTIFY], READ_10),
      step.run([
        ...select(0, 1),
        send(10),
        S.chainedMove(S.DATA_IN, 33, Place.DATA),
        S.chainedMove(S.DATA_IN, 4063, Place.DATA),
        ...END,
      ]),
      step.complete(),
    ),
  ];
}

export function lsiSeeds(): Seed[] {
  return [...ordinary(), ...loopsAndSelfReference(), ...endsOfCommands(), ...lengths()];
}

/** Instructions and addresses, as they are in programs. */
export function lsiDictionary(): Uint8Array[] {
  const instructions: Program = [
    ...[0, 1, 2, 3, 6, 7].map((phase) => S.move(phase, 1, Place.MESSAGES)),
    ...[
      S.moveIndirect(S.DATA_IN, 4, Place.TABLE),
      S.moveTable(S.DATA_OUT, 8),
      S.select(0),
      S.select(1),
      S.selectTable(0),
    ],
    ...[
      S.waitDisconnect(),
      S.waitReselect(RAM_BASE),
      S.set(S.ATN),
      S.clear(S.ACK),
      S.set(S.TARGET),
      S.int(1),
      S.intfly(),
    ],
    ...[
      S.jump(RAM_BASE),
      S.jumpRelative(-8),
      S.call(RAM_BASE + 16),
      S.ret(),
      S.load(Reg.DSA, 4, 0x100),
      S.store(Reg.SCRATCHA, 4, 0x100),
    ],
    ...[
      S.moveMemory(16, 0, REGISTERS_BASE),
      S.modify(Reg.ISTAT0, S.Alu.OR, Istat0.SIGP),
      S.sfbrToRegister(Reg.SCNTL1, S.Alu.MOVE),
    ],
  ];
  const addresses = [RAM_BASE, REGISTERS_BASE, Place.DATA, 0xffff, 0x4000].map(u32);
  const messages = [[Message.ABORT], [Message.BUS_DEVICE_RESET], [Message.ABORT_TAG], [Message.CLEAR_QUEUE], [
    SIMPLE,
    1,
  ]];
  return [...instructions.map((words) => words.flatMap(u32)), ...addresses, ...messages].map((bytes) =>
    Uint8Array.from(bytes)
  );
}
