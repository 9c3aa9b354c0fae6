/**
 * The SCSI bus from selection to bus free: which phase the target asks for next, and what it does with what it gets.
 *
 * The chip is the only initiator. A target's next phase is decided when SCRIPTS look at the bus
 * ({@linkcode Connection.settle}) and not a moment before: a logical unit that answers at once needs no disconnection,
 * and a target that sent its last message byte leaves the bus when the initiator has seen it.
 *
 * Source: SCSI-2 (X3.131-1994), chapters 5 and 6.
 *
 * @module
 */
import {
  cdbLength,
  type ScsiBus,
  type ScsiInitiator,
  type ScsiRequest,
  ScsiStatus,
  TaskAttribute,
  type TaskAttributeCode,
} from "../scsi/scsi.ts";
import type { Clock } from "../../device/pci_device.ts";
import { BusState } from "./chip_state.ts";
import { IoProcess, IoProcessTable, Progress, UNTAGGED } from "./io_process.ts";
import {
  IDENTIFY_DISCONNECT,
  IDENTIFY_LUN,
  isQueueTag,
  Message,
  MessageAssembler,
  negotiate,
  queueAttribute,
} from "./messages.ts";
import { Patience } from "./patience.ts";
import {
  ControlLine,
  Dcntl,
  Istat0,
  Reg,
  type RegisterFile,
  Scid,
  Scntl1,
  Scntl2,
  Ssid,
  Sstat0,
  Sstat2,
} from "./registers.ts";
import type { SavedState } from "../../device/state.ts";

/** Bus phases as the MSG/, C_D/ and I_O/ lines encode them. */
export const Phase = {
  DATA_OUT: 0,
  DATA_IN: 1,
  COMMAND: 2,
  STATUS: 3,
  MESSAGE_OUT: 6,
  MESSAGE_IN: 7,
  /** The target does not assert REQ/. */
  NONE: -1,
} as const;

/** What a target does when the initiator has taken all message bytes. */
const After = {
  CONTINUE: 0,
  /** It has disconnected, and will reselect. */
  DISCONNECT: 1,
  /** The command is complete. */
  COMPLETE: 2,
  /** The initiator sent a message that ends the connection. */
  ABORTED: 3,
} as const;

/** Longest CDB that a target takes. */
const MAX_CDB = 16;
/** Target ids on a wide bus. */
const TARGETS = 16;
const NO_LUN = 0xff;

/** What the connection tells the chip. */
export interface ConnectionEvents {
  /** A target has something new to say, or wants to reselect. */
  changed(): void;
  /** The bus went free while SCNTL2.SDU says that it should not. */
  unexpectedDisconnect(): void;
}

/** The chip's end of the bus, and all targets' ends. */
export class Connection implements ScsiInitiator {
  readonly #file: RegisterFile;
  readonly #bus: ScsiBus;
  readonly #events: ConnectionEvents;
  readonly #patience: Patience;
  readonly #processes = new IoProcessTable();
  readonly #assembler = new MessageAssembler();
  readonly #messageIn = new Uint8Array(16);
  readonly #cdb = new Uint8Array(MAX_CDB);
  #connected = false;
  #reselected = false;
  #selecting = false;
  #attention = false;
  /** Selected without ATN/, and nothing transferred yet. */
  #messageOutTolerated = false;
  #target = 0;
  #lun = NO_LUN;
  #tag = UNTAGGED;
  #attribute: TaskAttributeCode = TaskAttribute.SIMPLE;
  #disconnectPrivilege = false;
  #process: IoProcess | undefined;
  /** Data have moved since the target has connected. */
  #dataMoved = false;
  #messageInCount = 0;
  #after: number = After.CONTINUE;
  #cdbCount = 0;
  #requested: number = Phase.NONE;

  constructor(file: RegisterFile, bus: ScsiBus, clock: Clock, events: ConnectionEvents) {
    this.#file = file;
    this.#bus = bus;
    this.#events = events;
    this.#patience = new Patience(clock, () => events.changed());
  }

  /** Whether the chip is connected to a target. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Whether it is connected because a target has reselected it. */
  get reselected(): boolean {
    return this.#connected && this.#reselected;
  }

  /** Whether the chip waits for a target that is not there to answer its selection. */
  get selecting(): boolean {
    return this.#selecting;
  }

  /** Whether the bus is free and a target wants it. */
  get wantsReselection(): boolean {
    return !this.#connected && !this.#selecting && this.#processes.hasReady;
  }

  /** The command that the connection is about. */
  get process(): IoProcess | undefined {
    return this.#process;
  }

  /** How many commands are in flight. */
  get inFlight(): number {
    return this.#processes.size;
  }

  /** Arbitrates, wins, and selects a target. One that is not there is found out by {@linkcode selecting}. */
  select(target: number, withAttention: boolean): void {
    this.#file.raise(Reg.SSTAT0, Sstat0.WOA);
    this.#file.lower(Reg.SCNTL1, Scntl1.IARB);
    this.#target = target;
    if (this.#bus.target(target) === undefined) {
      this.#selecting = true;
      return;
    }
    this.#connect(target);
    this.#messageOutTolerated = !withAttention;
    this.setAttention(withAttention);
  }

  /** Leaves a target in the middle of whatever it was at; its command is dropped. */
  abandon(): void {
    const process = this.#process;
    if (process !== undefined) this.#drop((candidate) => candidate === process);
    this.#release();
  }

  /** Gives up a selection that no target answers. */
  endSelection(): void {
    this.#selecting = false;
  }

  /** Lets the target that has waited longest reselect the chip. @returns Whether there was one. */
  reselect(): boolean {
    if (!this.wantsReselection) return false;
    const process = this.#processes.takeReady()!;
    const { bytes } = this.#file;
    this.#connect(process.target);
    this.#reselected = true;
    this.#process = process;
    this.#lun = process.lun;
    this.#tag = process.tag;
    bytes[Reg.SSID] = Ssid.VAL | process.target;
    bytes[Reg.STEST0] = (bytes[Reg.STEST0] & 0x0f) | ((bytes[Reg.SCID] & Scid.ID) << 4);
    // In 53C700 compatibility the id comes as the byte that was on the bus (manual, DCNTL bit 0).
    if ((bytes[Reg.DCNTL] & Dcntl.COM) === 0) bytes[Reg.SFBR] = 1 << (process.target & 7);
    this.#send(Message.IDENTIFY | process.lun);
    if (process.tag !== UNTAGGED) this.#send(Message.SIMPLE_QUEUE_TAG, process.tag);
    return true;
  }

  /** The driver has set SIGP: there is a new command. */
  signalled(): void {
    this.#patience.signalled();
  }

  /** Asserts or releases ATN/. */
  setAttention(asserted: boolean): void {
    this.#attention = asserted && this.#connected;
    if (asserted) this.#file.raise(Reg.SOCL, ControlLine.ATN);
    else this.#file.lower(Reg.SOCL, ControlLine.ATN);
    this.#showLines();
  }

  /** Asserts or releases ACK/. */
  setAcknowledge(asserted: boolean): void {
    if (asserted) this.#file.raise(Reg.SOCL, ControlLine.ACK);
    else this.#file.lower(Reg.SOCL, ControlLine.ACK);
    this.#showLines();
  }

  /**
   * Lets the target go on until it asks for something.
   *
   * @param expected The phase that the initiator hopes for. Firmware that selects without ATN/ and then sends IDENTIFY
   * all the same (SeaBIOS does) finds a target that takes it.
   * @returns The phase that it asks for, latched in SSTAT1, or NONE when it has nothing to ask for, or the bus is free.
   */
  settle(expected: number = Phase.NONE): number {
    if (!this.#connected) return Phase.NONE;
    const tolerated = expected === Phase.MESSAGE_OUT && this.#messageOutTolerated;
    const phase = tolerated ? Phase.MESSAGE_OUT : this.#nextPhase();
    this.#requested = phase;
    const { bytes } = this.#file;
    if (phase !== Phase.NONE) bytes[Reg.SSTAT1] = (bytes[Reg.SSTAT1] & ~7) | phase;
    this.#showLines();
    return phase;
  }

  /** ACK/ has been released: a target that has sent its last message leaves the bus, unless ATN/ calls it back. */
  acknowledged(): void {
    const quiet = !this.#attention && !this.#assembler.partial && this.#messageInCount === 0;
    if (this.#connected && quiet && this.#after !== After.CONTINUE) this.#goFree();
  }

  /** How many more bytes of a CDB the target takes. */
  get cdbRoom(): number {
    return MAX_CDB - this.#cdbCount;
  }

  /** COMMAND phase: takes at most {@linkcode cdbRoom} bytes, and starts the command when the CDB is whole. */
  takeCommand(part: Uint8Array): void {
    this.#messageOutTolerated = false;
    this.#cdb.set(part, this.#cdbCount);
    this.#cdbCount += part.length;
    // A block move may be longer than the CDB (SeaBIOS always sends 16 bytes); the target looks at its own part.
    const length = cdbLength(this.#cdb[0]) ?? this.#cdbCount;
    if (this.#cdbCount < length) return;
    this.#cdbCount = 0;
    this.#start(this.#cdb.subarray(0, length));
  }

  /** Data phases: the part of the current chunk that has not moved, at most `limit` bytes of it. */
  dataPart(limit: number): Uint8Array {
    const process = this.#process;
    if (process?.request === undefined) return new Uint8Array(0);
    return process.request.chunk.subarray(process.position, process.position + limit);
  }

  /** Data phases: the first `count` bytes of {@linkcode dataPart} have moved. */
  advanceData(count: number): void {
    const process = this.#process;
    const request = process?.request;
    if (process === undefined || request === undefined) return;
    process.pointerMoved ||= count > 0;
    this.#dataMoved ||= count > 0;
    process.position += count;
    if (process.position < request.chunk.length) return;
    process.progress = Progress.BUSY;
    request.resume();
  }

  /** STATUS phase: the status byte, after which COMMAND COMPLETE follows. */
  takeStatus(): number {
    const process = this.#process;
    if (process === undefined) return 0;
    this.#processes.remove(process);
    this.#process = undefined;
    this.#send(Message.COMMAND_COMPLETE);
    this.#after = After.COMPLETE;
    return process.status;
  }

  /** MESSAGE IN phase: moves as many bytes as there are and as fit. @returns Their number. */
  takeMessage(into: Uint8Array): number {
    const count = Math.min(into.length, this.#messageInCount);
    into.set(this.#messageIn.subarray(0, count));
    this.#messageIn.copyWithin(0, count, this.#messageInCount);
    this.#messageInCount -= count;
    this.#showLines();
    return count;
  }

  /**
   * MESSAGE OUT phase: the target takes all bytes; those after a message that ends the connection count for nothing.
   */
  putMessage(part: Uint8Array): void {
    this.#messageOutTolerated = false;
    for (const byte of part) {
      if (this.#after === After.ABORTED) return;
      if (this.#assembler.add(byte)) this.#receive(this.#assembler.bytes.subarray(0, this.#assembler.count));
    }
  }

  dataReady(request: ScsiRequest): void {
    const process = request.tag;
    if (!(process instanceof IoProcess) || process.dropped) return;
    process.request = request;
    process.progress = Progress.DATA;
    process.position = 0;
    this.#progressed(process);
  }

  complete(request: ScsiRequest, status: number): void {
    const process = request.tag;
    if (!(process instanceof IoProcess) || process.dropped) return;
    process.end(status & 0xff);
    this.#progressed(process);
  }

  /** SCSI RST/: every target forgets everything, and the bus is free. */
  resetBus(): void {
    this.dropAll();
    for (let id = 0; id < TARGETS; id++) this.#bus.target(id)?.reset();
  }

  /** Releases the bus and drops every command. */
  dropAll(): void {
    this.#processes.drop(() => true);
    this.#process = undefined;
    this.#selecting = false;
    this.#cdbCount = 0;
    if (this.#connected) this.#release();
  }

  /** The bus's state for a snapshot; see {@linkcode IoProcessTable.save} for what becomes of commands in flight. */
  save(): SavedState {
    const state = BusState.allocate();
    state.connected = this.#connected;
    state.reselected = this.#reselected;
    state.selecting = this.#selecting;
    state.target = this.#target;
    state.lun = this.#lun;
    state.tagged = this.#tag !== UNTAGGED;
    state.tag = state.tagged ? this.#tag : 0;
    state.attribute = this.#attribute;
    state.disconnectPrivilege = this.#disconnectPrivilege;
    state.attention = this.#attention;
    state.messageOutTolerated = this.#messageOutTolerated;
    state.afterMessage = this.#after;
    state.messageIn.set(this.#messageIn);
    state.messageInCount = this.#messageInCount;
    state.messageOut.set(this.#assembler.bytes);
    state.messageOutCount = this.#assembler.partial ? this.#assembler.count : 0;
    state.cdb.set(this.#cdb);
    state.cdbCount = this.#cdbCount;
    const { count, current } = this.#processes.save(this.#process, state.processes);
    state.processCount = count;
    state.current = current;
    return state.save();
  }

  /**
   * Puts into the registers what they tell of the connection: ISTAT0.CON, and the lines. To be called when they have
   * been written anew.
   */
  show(): void {
    if (this.#connected) this.#file.raise(Reg.ISTAT0, Istat0.CON);
    else this.#file.lower(Reg.ISTAT0, Istat0.CON);
    this.#showLines();
  }

  /**
   * Takes over what {@linkcode save} returned; the commands at hand are dropped. The registers have to be told:
   * {@linkcode show}.
   */
  restore(saved: SavedState): void {
    const state = BusState.allocate();
    state.restore(saved);
    this.dropAll();
    this.#connected = state.connected;
    this.#reselected = state.reselected;
    this.#selecting = state.selecting;
    this.#target = state.target & (TARGETS - 1);
    this.#lun = state.lun === NO_LUN ? NO_LUN : state.lun & IDENTIFY_LUN;
    this.#tag = state.tagged ? state.tag : UNTAGGED;
    this.#attribute = Object.values(TaskAttribute).find((known) => known === state.attribute) ?? TaskAttribute.SIMPLE;
    this.#disconnectPrivilege = state.disconnectPrivilege;
    this.#attention = state.attention;
    this.#messageOutTolerated = state.messageOutTolerated;
    this.#after = Math.min(state.afterMessage, After.ABORTED);
    this.#messageIn.set(state.messageIn);
    this.#messageInCount = Math.min(state.messageInCount, this.#messageIn.length);
    this.#assembler.clear();
    for (const byte of state.messageOut.subarray(0, state.messageOutCount)) this.#assembler.add(byte);
    this.#cdb.set(state.cdb);
    this.#cdbCount = Math.min(state.cdbCount, MAX_CDB - 1);
    this.#process = this.#processes.restore(state.processes, state.processCount, state.current);
  }

  #nextPhase(): number {
    if (this.#attention || this.#assembler.partial) return Phase.MESSAGE_OUT;
    if (this.#messageInCount > 0) return Phase.MESSAGE_IN;
    if (this.#after !== After.CONTINUE) {
      this.#goFree();
      return Phase.NONE;
    }
    const process = this.#process;
    if (process === undefined) return Phase.COMMAND;
    if (process.progress === Progress.ENDED) return Phase.STATUS;
    if (process.progress === Progress.DATA) {
      return process.request?.direction === "out" ? Phase.DATA_OUT : Phase.DATA_IN;
    }
    if (!process.disconnectPrivilege || this.#staysConnected(process)) return Phase.NONE;
    if (process.pointerMoved) this.#send(Message.SAVE_DATA_POINTER);
    process.pointerMoved = false;
    this.#send(Message.DISCONNECT);
    this.#after = After.DISCONNECT;
    return Phase.MESSAGE_IN;
  }

  /**
   * Whether the target waits on the bus for its logical unit: not where it keeps another target from it, or the driver, which sets SIGP when it
   * has a new command. Before and after the data, where it may be a long wait, nobody else must be at work either.
   */
  #staysConnected({ request }: IoProcess): boolean {
    if (this.#processes.hasReady || this.#file.has(Reg.ISTAT0, Istat0.SIGP)) return false;
    const betweenChunks = this.#dataMoved && request !== undefined && request.remaining > 0;
    return (betweenChunks || this.#processes.size === 1) && this.#patience.lasts;
  }

  /** The lines as SBCL and SBDL show them; the message byte that waits is among the data, for drivers to peek at. */
  #showLines(): void {
    const { bytes } = this.#file;
    if (!this.#connected) {
      bytes[Reg.SBCL] = bytes[Reg.SBDL] = 0;
      return;
    }
    const own = bytes[Reg.SOCL] & (ControlLine.ATN | ControlLine.ACK);
    const request = this.#requested === Phase.NONE ? 0 : ControlLine.REQ | this.#requested;
    bytes[Reg.SBCL] = ControlLine.BSY | own | request;
    bytes[Reg.SBDL] = this.#messageInCount > 0 ? this.#messageIn[0] : 0;
  }

  #connect(target: number): void {
    this.#connected = true;
    this.#reselected = false;
    this.#target = target;
    this.#lun = NO_LUN;
    this.#tag = UNTAGGED;
    this.#attribute = TaskAttribute.SIMPLE;
    this.#disconnectPrivilege = false;
    this.#process = undefined;
    this.#dataMoved = false;
    this.#cdbCount = 0;
    this.#messageInCount = 0;
    this.#messageOutTolerated = false;
    this.#after = After.CONTINUE;
    this.#requested = Phase.NONE;
    this.#assembler.clear();
    this.setAttention(false);
    this.#file.raise(Reg.SCNTL1, Scntl1.CON);
    this.#file.raise(Reg.SCNTL2, Scntl2.SDU);
    this.show();
  }

  /** The target releases BSY/ of its own accord. */
  #goFree(): void {
    const after = this.#after;
    const process = this.#process;
    this.#release();
    if (after === After.DISCONNECT) {
      if (process !== undefined && process.progress !== Progress.BUSY) this.#processes.makeReady(process);
    } else if (after === After.ABORTED && this.#file.has(Reg.SCNTL2, Scntl2.SDU)) {
      this.#events.unexpectedDisconnect();
    }
  }

  #release(): void {
    this.#patience.restore();
    this.#connected = false;
    this.#process = undefined;
    this.#messageInCount = 0;
    this.#after = After.CONTINUE;
    this.#requested = Phase.NONE;
    this.#assembler.clear();
    this.setAttention(false);
    this.#file.lower(Reg.SOCL, ControlLine.ACK);
    this.#file.lower(Reg.SCNTL1, Scntl1.CON);
    this.#file.raise(Reg.SSTAT2, Sstat2.LDSC);
    this.show();
  }

  #start(cdb: Uint8Array): void {
    const target = this.#bus.target(this.#target);
    // Without IDENTIFY the logical unit is in the CDB (SCSI-2, section 7.2.2).
    const lun = this.#lun === NO_LUN ? cdb[1] >> 5 : this.#lun;
    // A second command of the same nexus means that the initiator has forgotten the first.
    const overlapped = this.#processes.find(this.#target, lun, this.#tag);
    if (overlapped !== undefined) this.#drop((process) => process === overlapped);
    const process = new IoProcess(this.#target, lun, this.#tag, this.#disconnectPrivilege);
    this.#process = process;
    if (target === undefined || this.#processes.full) {
      process.end(target === undefined ? ScsiStatus.BUSY : ScsiStatus.TASK_SET_FULL);
      this.#processes.add(process);
      return;
    }
    this.#processes.add(process);
    this.#patience.commandBegins(this.#processes.size === 1);
    const request = target.start(this, lun, cdb, process, this.#attribute);
    if (process.progress !== Progress.ENDED && !process.dropped) process.request = request;
  }

  #progressed(process: IoProcess): void {
    if (process !== this.#process) this.#processes.makeReady(process);
    else this.#patience.restore();
    this.#events.changed();
  }

  #send(...bytes: number[]): void {
    if (this.#messageInCount + bytes.length > this.#messageIn.length) return;
    this.#messageIn.set(bytes, this.#messageInCount);
    this.#messageInCount += bytes.length;
    this.#showLines();
  }

  #receive(message: Uint8Array): void {
    const code = message[0];
    if ((code & Message.IDENTIFY) !== 0) this.#identify(code);
    else if (isQueueTag(code)) this.#queue(code, message[1]);
    else if (code === Message.EXTENDED) this.#send(...(negotiate(message) ?? [Message.MESSAGE_REJECT]));
    else this.#control(code);
  }

  #identify(code: number): void {
    if (this.#process !== undefined) return;
    this.#lun = code & IDENTIFY_LUN;
    this.#disconnectPrivilege = (code & IDENTIFY_DISCONNECT) !== 0;
  }

  #queue(code: number, tag: number): void {
    if (this.#process !== undefined) return;
    this.#tag = tag;
    this.#attribute = queueAttribute(code);
  }

  /** Messages of one byte. */
  #control(code: number): void {
    const { id, lun, tag } = { id: this.#target, lun: this.#lun, tag: this.#tag };
    switch (code) {
      case Message.NO_OPERATION:
      case Message.INITIATOR_DETECTED_ERROR:
      case Message.MESSAGE_PARITY_ERROR:
        return;
      case Message.MESSAGE_REJECT:
        return this.#rejected();
      case Message.ABORT:
      case Message.CLEAR_QUEUE:
        return this.#abort((process) => process.target === id && process.lun === lun);
      case Message.ABORT_TAG:
        return this.#abort((process) => process.target === id && process.lun === lun && process.tag === tag);
      case Message.BUS_DEVICE_RESET:
        this.#abort((process) => process.target === id);
        return this.#bus.target(id)?.reset();
      default:
        this.#send(Message.MESSAGE_REJECT);
    }
  }

  /** The initiator does not want the target to disconnect. Other messages of a target can be rejected at no loss. */
  #rejected(): void {
    if (this.#after !== After.DISCONNECT) return;
    this.#after = After.CONTINUE;
    this.#messageInCount = 0;
    this.#showLines();
    if (this.#process !== undefined) this.#process.disconnectPrivilege = false;
  }

  #abort(matches: (process: IoProcess) => boolean): void {
    this.#drop(matches);
    this.#messageInCount = 0;
    this.#after = After.ABORTED;
    this.#showLines();
  }

  #drop(matches: (process: IoProcess) => boolean): void {
    this.#processes.drop(matches);
    if (this.#process?.dropped) this.#process = undefined;
  }
}
