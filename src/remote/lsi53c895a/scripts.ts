/**
 * The SCRIPTS processor: fetches, executes, waits, and shares the device with everything else.
 *
 * SCRIPTS are written by the guest and may never end. They run in slices of bounded cost. Between two slices the
 * device's loop serves register accesses, so that ISTAT (ABRT, SIGP, SRST) keeps working. Slices that do nothing but
 * execute instructions become shorter and rarer, down to {@linkcode MIN_SLICE} instructions a millisecond: a driver
 * that polls memory from SCRIPTS still gets its answer, and a program that jumps to itself costs next to nothing.
 *
 * Source: manual, chapter 5 "SCSI SCRIPTS Instruction Set".
 *
 * @module
 */
import type { Clock, Timer } from "../../device/pci_device.ts";
import { readWrite } from "./alu.ts";
import { BlockMove } from "./block_move.ts";
import type { BusMaster, RegisterPort } from "./bus_master.ts";
import { type ChipRecord, Wait } from "./chip_state.ts";
import type { Connection } from "./connection.ts";
import type { Interrupts } from "./interrupts.ts";
import { IoInstructions } from "./io_instructions.ts";
import { MemoryInstructions } from "./memory_instructions.ts";
import { Dcntl, Dstat, Istat1, Reg, type RegisterFile, Scid, Sist0, Sist1 } from "./registers.ts";
import { type ChipParts, longAddress, type ScriptsContext } from "./scripts_context.ts";
import type { ChipTimers } from "./timers.ts";
import { transferControl } from "./transfer_control.ts";

/** Cost of the first slices: an instruction costs 1, and so do each {@linkcode BYTES_PER_COST} bytes of a move. */
const MAX_SLICE = 10_000;
/** Cost of a slice when SCRIPTS have long been spinning. */
const MIN_SLICE = 128;
const BYTES_PER_COST = 256;
/**
 * Longest that a slice goes on to start commands and move data, in nanoseconds: what a disk does for a command takes time that no count of
 * instructions and bytes shows.
 */
const MAX_SLICE_NS = 2_000_000;
/** Longest pause between two slices, in nanoseconds. */
const MAX_PAUSE_NS = 1_000_000;
/** Pause after the first slice without progress; it doubles from one to the next. */
const FIRST_PAUSE_NS = 8_000;
/** How often slice and pause change before they stay. */
const MAX_IDLE_SLICES = 8;

/** First opcode of the read/write instructions in the I/O group. */
const READ_WRITE_OPCODE = 5;

/** What the processor is built from. */
export interface ScriptsParts extends ChipParts {
  readonly interrupts: Interrupts;
  readonly timers: ChipTimers;
  readonly clock: Clock;
}

/** The processor. */
export class ScriptsProcessor implements ScriptsContext {
  readonly chip: ChipRecord;
  readonly file: RegisterFile;
  readonly port: RegisterPort;
  readonly master: BusMaster;
  readonly connection: Connection;
  readonly #interrupts: Interrupts;
  readonly #timers: ChipTimers;
  readonly #clock: Clock;
  readonly #sliceTimer: Timer;
  readonly #blockMove: BlockMove;
  readonly #io: IoInstructions;
  readonly #memory: MemoryInstructions;
  readonly #interruptOnTheFly: () => void;
  #executing = false;
  #budget = 0;
  /** When the slice has taken long enough, on the clock. */
  #sliceEnd = 0;
  /** Slices in a row that brought nothing about. */
  #idleSlices = 0;
  #progress = false;
  #executed = 0;

  constructor({ chip, file, port, master, connection, interrupts, timers, clock }: ScriptsParts) {
    this.chip = chip;
    this.file = file;
    this.port = port;
    this.master = master;
    this.connection = connection;
    this.#interrupts = interrupts;
    this.#timers = timers;
    this.#clock = clock;
    this.#sliceTimer = clock.timer(() => this.#goOn());
    this.#blockMove = new BlockMove(this);
    this.#io = new IoInstructions(this);
    this.#memory = new MemoryInstructions(this);
    this.#interruptOnTheFly = () => interrupts.raiseOnTheFly();
  }

  /** Instructions executed since the device was made, counting one that waits each time that it is tried. */
  get executed(): number {
    return this.#executed;
  }

  get running(): boolean {
    return this.file.has(Reg.ISTAT1, Istat1.SRUN);
  }

  /** Starts at DSP: DSP has been written, or DCNTL.STD. SCRIPTS that run already go on from there. */
  start(): void {
    this.file.raise(Reg.ISTAT1, Istat1.SRUN);
    this.chip.wait = Wait.NONE;
    this.chip.moveCount = 0;
    // SCRIPTS that start themselves anew go on spinning.
    if (!this.#executing) this.#idleSlices = 0;
    this.#run();
  }

  /** Stops without an interrupt. */
  stop(): void {
    this.file.lower(Reg.ISTAT1, Istat1.SRUN);
    this.chip.wait = Wait.NONE;
    this.chip.moveCount = 0;
    if (this.#sliceTimer.deadline !== undefined) this.#sliceTimer.cancel();
    this.#timers.awaitHandshake(false);
  }

  /** The bus has changed: goes on with an instruction that waits for it. */
  wake(): void {
    if (this.#executing) return;
    if (this.running && (this.chip.wait === Wait.BUS || this.chip.wait === Wait.RESELECT)) this.#run();
    else this.reselectWhenStopped();
  }

  /** SIGP has been set: Wait Reselect takes its jump, SCRIPTS that poll look at once, and a target that waits lets go of the bus. */
  signal(): void {
    if (this.#executing || !this.running) return;
    if (this.chip.wait === Wait.RESELECT || this.chip.wait === Wait.BUS) this.#run();
    else if (this.chip.wait === Wait.NONE) this.#sliceTimer.arm(this.#clock.now());
  }

  /** Goes on after a restored snapshot, whose targets may want to reselect a chip that has stopped. */
  resume(): void {
    if (this.running || this.connection.wantsReselection) this.#sliceTimer.arm(this.#clock.now());
  }

  /**
   * With SCRIPTS stopped, a reselection is an interrupt where the driver wants one (SIEN0.RSL, SCID.RRE) and has
   * nothing else to serve first. Where it does not, the target keeps trying until a Wait Reselect instruction.
   */
  reselectWhenStopped(): void {
    if (this.running || this.#executing || !this.connection.wantsReselection) return;
    if (!this.file.has(Reg.SIEN0, Sist0.RSL) || !this.file.has(Reg.SCID, Scid.RRE) || this.#interrupts.pending) return;
    this.acceptReselection();
  }

  dmaInterrupt(dstat: number): void {
    this.stop();
    this.#interrupts.raiseDma(dstat);
  }

  scsiInterrupt(sist0: number, sist1: number): void {
    // SRUN falls first: a driver may look as soon as the pin rises.
    if (this.#interrupts.isServed(sist0, sist1)) this.stop();
    this.#interrupts.raiseScsi(sist0, sist1);
  }

  wait(reason: typeof Wait[keyof typeof Wait]): void {
    this.chip.wait = reason;
  }

  spend(bytes: number): boolean {
    this.#budget -= Math.max(1, bytes / BYTES_PER_COST);
    return this.#budget > 0;
  }

  progressed(): void {
    this.#progress = true;
    if (this.#clock.now() >= this.#sliceEnd) this.#budget = 0;
  }

  selectionUnanswered(): void {
    this.#timers.awaitSelection();
  }

  selectionTimedOut(): boolean {
    if (!this.connection.selecting) return false;
    this.endSelection();
    return true;
  }

  /** The selection that no target answers is over. Nobody is served by waiting for the whole time-out. */
  endSelection(): void {
    if (!this.connection.selecting) return;
    this.#timers.selectionOver();
    this.connection.endSelection();
    this.scsiInterrupt(0, Sist1.STO);
  }

  acceptReselection(): boolean {
    if (!this.connection.reselect()) return false;
    // A masked RSL would only be posted; drivers that poll SIST0 for errors are better off without it.
    if (this.file.has(Reg.SIEN0, Sist0.RSL)) this.scsiInterrupt(Sist0.RSL, 0);
    return true;
  }

  #goOn(): void {
    if (this.running) this.#run();
    else this.reselectWhenStopped();
  }

  #run(): void {
    if (this.#executing || !this.running) return;
    this.#executing = true;
    this.#progress = false;
    this.#sliceEnd = this.#clock.now() + MAX_SLICE_NS;
    this.#budget = Math.max(MIN_SLICE, MAX_SLICE >> this.#idleSlices);
    try {
      do {
        this.#budget--;
        this.#executed++;
        this.#step();
      } while (this.running && this.chip.wait === Wait.NONE && this.#budget > 0);
    } finally {
      this.#executing = false;
      this.#endSlice();
    }
  }

  #endSlice(): void {
    const { wait } = this.chip;
    const unfinished = this.running && (wait === Wait.NONE || wait === Wait.CONTINUE);
    this.#timers.awaitHandshake(this.running && wait === Wait.BUS && this.connection.connected);
    if (unfinished) {
      const idle = this.#idleSlices = this.#progress ? 0 : Math.min(this.#idleSlices + 1, MAX_IDLE_SLICES);
      const pause = idle === 0 ? 0 : Math.min(MAX_PAUSE_NS, FIRST_PAUSE_NS * 2 ** (idle - 1));
      this.#sliceTimer.arm(this.#clock.now() + pause);
    } else {
      this.#idleSlices = 0;
      if (this.#sliceTimer.deadline !== undefined) this.#sliceTimer.cancel();
    }
    this.#interrupts.unstack();
  }

  #step(): void {
    if (this.chip.wait === Wait.NONE) this.#next();
    else this.#again();
    const completed = this.running && this.chip.wait === Wait.NONE;
    if (completed && this.file.has(Reg.DCNTL, Dcntl.SSM)) this.dmaInterrupt(Dstat.SSI);
  }

  /** Fetches and executes the instruction at DSP. */
  #next(): void {
    const { file, master } = this;
    const dsp = file.dword(Reg.DSP);
    if (!master.fetch(longAddress(file, Reg.SFS, dsp))) return this.dmaInterrupt(Dstat.BF);
    const { first, second } = master;
    // A move of no bytes. SeaBIOS has one for commands without data; QEMU skips such a dword, and so does this.
    if (first === 0) return file.setDword(Reg.DSP, dsp + 4);
    file.setDword(Reg.DSP, dsp + 8);
    file.setInstruction(first);
    file.setDword(Reg.DSPS, second);
    this.#execute(first, second);
  }

  #execute(first: number, second: number): void {
    switch (first >>> 30) {
      case 0:
        return this.#blockMove.begin(first, second);
      case 1:
        return ((first >>> 27) & 7) >= READ_WRITE_OPCODE ? readWrite(this, first) : this.#io.execute(first, second);
      case 2:
        return transferControl(this, first, second, this.#interruptOnTheFly);
      default:
        return this.#memory.begin(first, second);
    }
  }

  /** Tries the current instruction again, from the registers that hold it. */
  #again(): void {
    const { file, chip } = this;
    const first = file.dword(Reg.DBC);
    chip.wait = Wait.NONE;
    switch (first >>> 30) {
      case 0:
        return this.#blockMove.proceed();
      case 1:
      case 2:
        return this.#execute(first, file.dword(Reg.DSPS));
      default:
        return this.#memory.proceed();
    }
  }
}
