/**
 * SCRIPTS in the shape that drivers for the chip give them: a start queue in host memory, SIGP to have it looked at, tagged queueing,
 * disconnection and reselection, and a phase mismatch handler that lets a transfer go on where it was interrupted.
 *
 * They use nothing that QEMU's model of the chip lacks, so that the same words drive it and splitvm's.
 *
 * Source: LSI53C895A Technical Manual, version 2.2, chapter 5; SCSI-2 (X3.131-1994), section 6.6.
 *
 * @module
 */
import { Reg } from "../../../src/remote/lsi53c895a/registers.ts";
import * as S from "../../remote/lsi53c895a/scripts_words.ts";
import { Address, Block, MAX_SEGMENTS, StartEntry, Variable } from "./layout.ts";

/** Places in the program. */
export interface Labels {
  /** Where it starts, and returns to when there may be a command to start. */
  readonly start: number;
  /** What an idle entry of the start queue runs. */
  readonly idle: number;
  /** What an entry of the start queue with a command runs. */
  readonly select: number;
  /** Where the chip jumps on a phase mismatch. */
  readonly mismatch: number;
  /** The move of the last segment is right before this, of the one before it 8 bytes earlier, and so on. */
  readonly dataInEnd: number;
  readonly dataOutEnd: number;
  /** For commands without a data phase. */
  readonly noData: number;
}

/** What the INT instructions report in DSPS. */
export const Complaint = { PHASE: 1, MESSAGE: 2 } as const;

/** The program and its labels. */
export interface Program {
  readonly words: readonly number[];
  readonly labels: Labels;
}

const MESSAGE = { COMMAND_COMPLETE: 0x00, SAVE_DATA_POINTER: 0x02, DISCONNECT: 0x04 } as const;

/** SCRATCHC holds {@linkcode DONE}; the driver puts it there. */
export const DONE_REGISTER = Reg.SCRATCHC;

/** SCNTL2 without SDU: a disconnection is expected. */
const WITHOUT_SDU = 0x7f;

const variable = (offset: number) => Address.VARIABLES + offset;

type Instructions = readonly (readonly number[])[];

/**
 * The parts of the program, given where all of them are; the order counts, since one goes on into the next. They are short on purpose: QEMU's
 * chip pauses for half a millisecond after a hundred instructions.
 */
function sections(at: (name: string) => number): Record<string, Instructions> {
  const release = [S.modify(Reg.SCNTL2, S.Alu.AND, WITHOUT_SDU), S.clear(S.ACK), S.waitDisconnect()];
  const moves = (phase: number) =>
    Array.from({ length: MAX_SEGMENTS }, (_, i) => S.moveTable(phase, Block.SEGMENTS + 8 * i));
  return {
    // Reading CTEST2 takes SIGP away before the queue is looked at: a command that comes later sets it again.
    start: [
      S.registerToSfbr(Reg.CTEST2, S.Alu.OR),
      S.load(Reg.DSA, 4, variable(Variable.START)),
      S.load(Reg.TEMP, 4, StartEntry.ACTION, { relative: true }),
      S.ret(),
    ],
    select: [
      S.load(Reg.SCRATCHA, 4, StartEntry.NEXT, { relative: true }),
      S.load(Reg.DSA, 4, StartEntry.BLOCK, { relative: true }),
      S.selectTable(Block.SELECT, at("reselected")),
      // Only now: a selection that lost the bus to a reselection is tried again.
      S.store(Reg.SCRATCHA, 4, variable(Variable.START)),
      S.moveTable(S.MESSAGE_OUT, Block.MESSAGES),
      S.moveTable(S.COMMAND, Block.CDB),
    ],
    dispatch: [
      S.jump(at("data"), S.whenPhase(S.DATA_IN)),
      S.jump(at("messageIn"), S.ifPhase(S.MESSAGE_IN)),
      S.jump(at("status"), S.ifPhase(S.STATUS)),
      S.int(Complaint.PHASE, S.ifPhase(S.DATA_OUT, false)),
    ],
    data: [S.load(Reg.TEMP, 4, Block.RESUME, { relative: true }), S.ret()],
    dataIn: moves(S.DATA_IN),
    dataInEnd: [S.jump(at("dispatch"), S.whenPhase(S.STATUS, false))],
    status: [
      S.moveTable(S.STATUS, Block.STATUS),
      S.move(S.MESSAGE_IN, 1, variable(Variable.MESSAGE_IN)),
      S.int(Complaint.MESSAGE, S.ifData(MESSAGE.COMMAND_COMPLETE, 0, false)),
      ...release,
      S.store(DONE_REGISTER, 1, Block.DONE_BYTE, { relative: true }),
      S.intfly(),
      S.jump(at("start")),
    ],
    dataOut: moves(S.DATA_OUT),
    dataOutEnd: [S.jump(at("dispatch"))],
    noData: [S.moveTable(S.DATA_IN, Block.NO_DATA), S.int(Complaint.PHASE)],
    messageIn: [
      S.move(S.MESSAGE_IN, 1, variable(Variable.MESSAGE_IN)),
      S.jump(at("disconnect"), S.ifData(MESSAGE.DISCONNECT)),
      S.int(Complaint.MESSAGE, S.ifData(MESSAGE.SAVE_DATA_POINTER, 0, false)),
      // The mismatch handler has saved the pointer already. DISCONNECT is what mostly follows.
      S.clear(S.ACK),
      S.jump(at("messageIn"), S.whenPhase(S.MESSAGE_IN)),
      S.jump(at("dispatch")),
    ],
    disconnect: [...release, S.jump(at("start"))],
    idle: [S.waitReselect(at("start"))],
    reselected: [
      S.move(S.MESSAGE_IN, 1, variable(Variable.MESSAGE_IN)),
      S.clear(S.ACK),
      S.move(S.MESSAGE_IN, 2, variable(Variable.MESSAGE_IN) + 1),
      // SIDL has the byte that came last: the tag.
      S.load(Reg.DSA, 4, variable(Variable.BLOCKS)),
      S.registerToSfbr(Reg.SIDL, S.Alu.OR),
      S.sfbrToRegister(Reg.DSA + 1, S.Alu.OR),
      S.clear(S.ACK),
      S.jump(at("dispatch")),
    ],
    // The interrupted move is executed again, with what is left of its segment.
    mismatch: [
      S.store(Reg.IA, 4, Block.RESUME, { relative: true }),
      S.store(Reg.DSA, 4, variable(Variable.SAVED_DSA)),
      S.store(Reg.ESA, 4, variable(Variable.SAVED_ENTRY)),
      S.load(Reg.DSA, 4, variable(Variable.SAVED_ENTRY)),
      S.store(Reg.RBC, 4, 0, { relative: true }),
      S.store(Reg.UA, 4, 4, { relative: true }),
      S.load(Reg.DSA, 4, variable(Variable.SAVED_DSA)),
      S.jump(at("dispatch")),
    ],
  };
}

/** Lays the program out at `origin`. */
export function buildProgram(origin: number): Program {
  const places = new Map<string, number>();
  let end = origin;
  // Lengths do not depend on places, so they are measured with all places zero.
  for (const [name, instructions] of Object.entries(sections(() => 0))) {
    places.set(name, end);
    end += 4 * instructions.flat().length;
  }
  const at = (name: string) => places.get(name)!;
  const words = Object.values(sections(at)).flat(2);
  const [start, idle, select, mismatch] = ["start", "idle", "select", "mismatch"].map(at);
  const [dataInEnd, dataOutEnd, noData] = ["dataInEnd", "dataOutEnd", "noData"].map(at);
  return { words, labels: { start, idle, select, mismatch, dataInEnd, dataOutEnd, noData } };
}
