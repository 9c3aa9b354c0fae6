/**
 * Transfer control instructions: jump, call, return and interrupt, on conditions.
 *
 * Source: manual, section 5.6 "Transfer Control Instructions".
 *
 * @module
 */
import { Wait } from "./chip_state.ts";
import { Phase } from "./connection.ts";
import { Dstat, Reg } from "./registers.ts";
import { type ScriptsContext, signed24 } from "./scripts_context.ts";

const Opcode = { JUMP: 0, CALL: 1, RETURN: 2, INTERRUPT: 3 } as const;

/** Bits of the first dword. */
const Op = {
  RELATIVE: 0x00800000,
  CARRY_TEST: 0x00200000,
  ON_THE_FLY: 0x00100000,
  IF_TRUE: 0x00080000,
  COMPARE_DATA: 0x00040000,
  COMPARE_PHASE: 0x00020000,
  WAIT_PHASE: 0x00010000,
} as const;

/** Executes a transfer control instruction, or tries again one that has waited for a phase. */
export function transferControl(
  context: ScriptsContext,
  first: number,
  second: number,
  interruptOnTheFly: () => void,
): void {
  if ((first & Op.WAIT_PHASE) !== 0 && (first & (Op.COMPARE_PHASE | Op.COMPARE_DATA)) !== 0) {
    if (!phaseIsValid(context)) return;
  }
  if (!conditionHolds(context, first)) return;
  const { file } = context;
  const dsp = file.dword(Reg.DSP);
  const address = (first & Op.RELATIVE) !== 0 ? (dsp + signed24(second)) >>> 0 : second;
  switch ((first >>> 27) & 7) {
    case Opcode.JUMP:
      file.setDword(Reg.ADDER, address);
      return file.setDword(Reg.DSP, address);
    case Opcode.CALL:
      file.setDword(Reg.TEMP, dsp);
      return file.setDword(Reg.DSP, address);
    case Opcode.RETURN:
      return file.setDword(Reg.DSP, file.dword(Reg.TEMP));
    case Opcode.INTERRUPT:
      return (first & Op.ON_THE_FLY) !== 0 ? interruptOnTheFly() : context.dmaInterrupt(Dstat.SIR);
    default:
      return context.dmaInterrupt(Dstat.IID);
  }
}

/** Waits for the target's REQ/. @returns Whether it is there; if not, the instruction is tried again or given up. */
function phaseIsValid(context: ScriptsContext): boolean {
  const { connection } = context;
  if (context.selectionTimedOut()) return false;
  do {
    const phase = connection.settle();
    if (!context.running) return false;
    if (phase !== Phase.NONE) return true;
  } while (!connection.connected && context.acceptReselection() && context.running);
  if (context.running) context.wait(Wait.BUS);
  return false;
}

/**
 * Whether to branch. "If true" needs every comparison to hold, "if false" needs none to; without a comparison the
 * condition is true, which makes "if false" a NOP.
 */
function conditionHolds({ file, chip }: ScriptsContext, first: number): boolean {
  const wanted = (first & Op.IF_TRUE) !== 0;
  if ((first & (Op.CARRY_TEST | Op.COMPARE_PHASE | Op.COMPARE_DATA)) === 0) return wanted;
  if ((first & Op.CARRY_TEST) !== 0 && (chip.carry !== 0) !== wanted) return false;
  if ((first & Op.COMPARE_PHASE) !== 0) {
    const equal = (file.bytes[Reg.SSTAT1] & 7) === ((first >>> 24) & 7);
    if (equal !== wanted) return false;
  }
  if ((first & Op.COMPARE_DATA) === 0) return true;
  const compared = ~(first >>> 8) & 0xff;
  return ((file.bytes[Reg.SFBR] & compared) === (first & compared)) === wanted;
}
