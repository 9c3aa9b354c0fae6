/**
 * The LSI53C895A PCI to Ultra2 SCSI controller.
 *
 * The PCI function has the identity that QEMU's `lsi53c895a` has, so that a guest finds the same device under either.
 * Its registers answer in an I/O BAR and, repeated, in a memory BAR; a third BAR is the SCRIPTS RAM.
 *
 * What a driver for the real chip does not find here: target mode and low level mode (nobody else is on the bus, and no
 * lines are there to drive), parity and longitudinal parity, wide residue (the bus moves whole bytes, so SWIDE stays
 * empty), and the serial EEPROM behind GPIO pins.
 *
 * Source: LSI53C895A Technical Manual, version 2.2.
 *
 * @module
 */
import { type AccessSize, ConfigSpace, PciCommand, PciConfig, PciStatus } from "../../device/config_space.ts";
import type { DeviceHost, PciDevice } from "../../device/pci_device.ts";
import type { SavedState } from "../../device/state.ts";
import type { ScsiBus } from "../scsi/scsi.ts";
import { Bar, BusMaster, REGISTER_BAR_SIZE, type RegisterPort } from "./bus_master.ts";
import { BusState, type ChipRecord, ChipState, PciState, SCRIPTS_RAM_SIZE, Wait } from "./chip_state.ts";
import { Connection } from "./connection.ts";
import { Interrupts } from "./interrupts.ts";
import { Latches } from "./latches.ts";
import {
  ControlLine,
  Ctest2,
  Dcntl,
  Dmode,
  Dstat,
  Istat0,
  Reg,
  RegisterFile,
  Scntl0,
  Scntl1,
  Sist0,
  Sist1,
  Sstat0,
} from "./registers.ts";
import { ScriptsProcessor } from "./scripts.ts";
import { createChipMemory, readsWithoutEffect } from "./shadow.ts";
import { ChipTimers } from "./timers.ts";

/**
 * The manual, section 4.1: the subsystem IDs of a board without a serial EEPROM. The chip's power management capability is not modelled, so
 * there is no capability list.
 */
const IDENTITY = {
  vendorId: 0x1000,
  deviceId: 0x0012,
  revisionId: 0,
  classCode: 0x010000,
  subsystemVendorId: 0x1000,
  subsystemId: 0x1000,
  interruptPin: 1,
} as const;
/** The bits of the command register that can be set. How it writes to memory makes no difference here. */
const COMMAND = PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER | PciCommand.INVALIDATE | PciCommand.PARITY |
  PciCommand.SERR | PciCommand.INTX_DISABLE;
/** DEVSEL# comes with medium timing. */
const STATUS_DEVSEL_MEDIUM = 0x0200;
/** In units of 250 ns: bursts of 4.25 µs, every 16 µs. */
const [MIN_GNT, MAX_LAT] = [0x11, 0x40];

type Writer = (value: number) => void;

/** The controller. */
export class Lsi53c895a implements PciDevice {
  readonly config: ConfigSpace;
  readonly #host: DeviceHost;
  readonly #chip: ChipRecord;
  readonly #file: RegisterFile;
  readonly #ram: Uint8Array;
  readonly #ramView: DataView;
  readonly #latches: Latches;
  readonly #interrupts: Interrupts;
  readonly #timers: ChipTimers;
  readonly #connection: Connection;
  readonly #master: BusMaster;
  readonly #scripts: ScriptsProcessor;
  /** Registers whose writing does more than that, by offset. */
  readonly #writers: (Writer | undefined)[] = new Array(Reg.SIZE).fill(undefined);
  /** Aligned dwords whose reading is free of effect, and those whose writing does nothing else, by offset / 4. */
  readonly #plainReads = new Uint8Array(Reg.SIZE / 4);
  readonly #plainWrites = new Uint8Array(Reg.SIZE / 4);

  /**
   * @param host What the device may use of its host.
   * @param bus The targets. They may come and go while the device lives.
   */
  constructor(host: DeviceHost, bus: ScsiBus) {
    this.#host = host;
    const { config, registers, scriptsRam } = createChipMemory(host);
    this.config = new ConfigSpace(config);
    const chip = this.#chip = ChipState.allocate({ places: { registers, scriptsRam } });
    const file = this.#file = new RegisterFile(registers);
    this.#ram = scriptsRam;
    this.#ramView = new DataView(scriptsRam.buffer, scriptsRam.byteOffset, SCRIPTS_RAM_SIZE);
    this.#latches = new Latches(file, this.config, (hidden) => this.#hideScratch(hidden));
    const port: RegisterPort = {
      read: (offset) => this.#read(offset & 0xff),
      write: (offset, value) => this.#write(offset & 0xff, value),
    };
    this.#interrupts = new Interrupts(file, chip, host.interrupt);
    this.#timers = new ChipTimers(file, host.clock, (sist1) => this.#timerExpired(sist1));
    this.#connection = new Connection(file, bus, host.clock, {
      changed: () => this.#scripts.wake(),
      unexpectedDisconnect: () => this.#scripts.scsiInterrupt(Sist0.UDC, 0),
    });
    this.#master = new BusMaster(host.dma, this.#ram, port);
    const { clock } = host;
    const [connection, interrupts, timers, master] = [this.#connection, this.#interrupts, this.#timers, this.#master];
    this.#scripts = new ScriptsProcessor({ chip, file, port, master, connection, interrupts, timers, clock });
    this.#defineConfig();
    this.#defineWriters();
    this.#findPlainDwords();
    this.#file.reset();
    this.#latches.load();
  }

  /** How many SCRIPTS instructions have been executed since the device was made. */
  get instructionsExecuted(): number {
    return this.#scripts.executed;
  }

  /** How many SCSI commands are in flight. */
  get commandsInFlight(): number {
    return this.#connection.inFlight;
  }

  readBar(bar: number, offset: number, size: AccessSize): number {
    if (bar === Bar.SCRIPTS_RAM) return this.#readRam(offset, size);
    const at = offset & 0xff;
    const plain = (this.#plainReads[at >> 2] & this.#plainReads[((at + size - 1) & 0xff) >> 2]) !== 0;
    if (plain && size === 4 && (at & 3) === 0) return this.#file.dword(at);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#read((at + i) & 0xff) << (8 * i);
    if (!plain) this.#settle();
    return value >>> 0;
  }

  writeBar(bar: number, offset: number, size: AccessSize, value: number): void {
    if (bar === Bar.SCRIPTS_RAM) return this.#writeRam(offset, size, value);
    const at = offset & 0xff;
    if (size === 4 && (at & 3) === 0 && this.#plainWrites[at >> 2] !== 0) return this.#file.setDword(at, value);
    for (let i = 0; i < size; i++) this.#write((at + i) & 0xff, (value >>> (8 * i)) & 0xff);
    this.#settle();
  }

  configWritten(offset: number, size: AccessSize): void {
    const isCommand = offset < PciConfig.COMMAND + 2 && offset + size > PciConfig.COMMAND;
    const isBar = offset < PciConfig.BAR0 + 24 && offset + size > PciConfig.BAR0;
    if (isCommand || isBar) this.#master.remap(this.config.mappings());
    if (isBar) this.#latches.showBases();
  }

  reset(): void {
    this.config.reset();
    this.#master.remap(this.config.mappings());
    this.#connection.resetBus();
    this.#softReset();
    this.#file.lower(Reg.DCNTL, Dcntl.COM);
    this.#ram.fill(0);
  }

  /**
   * As if somebody had reset the SCSI bus, which a driver answers by setting up the chip anew and repeating its commands. It had this
   * interrupt enabled, or it would not be told of its own commands' failures either.
   */
  restarted(): void {
    this.#file.raise(Reg.SIEN0, Sist0.RST);
    this.#scripts.scsiInterrupt(Sist0.RST, 0);
  }

  /**
   * Everything that the guest can observe, in three records: "lsi53c895a" (registers, SCRIPTS RAM, SCRIPTS processor),
   * "lsi53c895a.pci" (config space) and "lsi53c895a.bus" (connection, messages, commands).
   *
   * Commands in flight belong to their logical units and do not travel. After a restore those whose status was not
   * known end with BUSY, so that the guest's driver issues them again; where the data phase had begun it sees a short
   * transfer.
   */
  save(): SavedState[] {
    this.#chip.generalTimer = this.#timers.generalRemaining;
    const pci = PciState.allocate();
    pci.config.set(this.config.bytes);
    const chip = this.#chip.save();
    this.#latches.store(chip.fields.registers as Uint8Array);
    return [chip, pci.save(), this.#connection.save()];
  }

  restore(saved: readonly SavedState[]): void {
    const find = (name: string) => {
      const record = saved.find((candidate) => candidate.name === name);
      if (record === undefined) throw new TypeError(`Saved state of an lsi53c895a has no record ${name}`);
      return record;
    };
    const [chip, bus] = [find(ChipState.name), find(BusState.name)];
    const pci = PciState.allocate();
    pci.restore(find(PciState.name));
    // Tried on a spare record first, so that a record that does not fit leaves the device as it was.
    ChipState.allocate().restore(chip);
    this.#connection.restore(bus);
    this.#scripts.stop();
    this.#timers.cancel();
    // Through the write masks: what identifies the function is not the state's to change.
    this.config.reset();
    pci.config.forEach((byte, offset) => this.config.write(offset, 1, byte));
    this.#chip.restore(chip);
    this.#chip.carry &= 1;
    if (this.#chip.wait > Wait.CONTINUE) this.#chip.wait = Wait.NONE;
    this.#master.remap(this.config.mappings());
    this.#timers.generalRemaining = this.#chip.generalTimer;
    if (this.#connection.selecting) this.#timers.awaitSelection();
    this.#registersFilled();
    this.#interrupts.unstack();
    this.#scripts.resume();
  }

  close(): void {
    this.#scripts.stop();
    this.#timers.cancel();
    this.#connection.dropAll();
  }

  #defineConfig(): void {
    const { config } = this;
    config.identify(IDENTITY);
    config.define(PciConfig.COMMAND, 2, 0, COMMAND);
    config.define(PciConfig.STATUS, 2, STATUS_DEVSEL_MEDIUM, 0, PciStatus.WRITE_ONE_TO_CLEAR);
    config.define(PciConfig.MIN_GNT, 1, MIN_GNT);
    config.define(PciConfig.MAX_LAT, 1, MAX_LAT);
    config.addBar({ index: Bar.IO_REGISTERS, space: "io", size: Reg.SIZE });
    config.addBar({ index: Bar.MEMORY_REGISTERS, space: "memory", size: REGISTER_BAR_SIZE });
    config.addBar({ index: Bar.SCRIPTS_RAM, space: "memory", size: SCRIPTS_RAM_SIZE });
  }

  #defineWriters(): void {
    const file = this.#file;
    const latches = this.#latches;
    const on = (offset: number, writer: Writer) => this.#writers[offset] = writer;
    on(Reg.GPREG, (value) => latches.writeGpreg(value));
    on(Reg.GPCNTL, (value) => latches.writeGpcntl(value));
    on(Reg.CTEST2, (value) => latches.writeCtest2(value));
    on(Reg.SCNTL0, (value) => this.#writeScntl0(value));
    on(Reg.SCNTL1, (value) => this.#writeScntl1(value));
    on(Reg.SOCL, (value) => {
      file.write(Reg.SOCL, value);
      this.#connection.setAttention((value & ControlLine.ATN) !== 0);
    });
    on(Reg.ISTAT0, (value) => this.#writeIstat0(value));
    on(Reg.DSP + 3, (value) => {
      file.write(Reg.DSP + 3, value);
      if (!file.has(Reg.DMODE, Dmode.MAN)) this.#scripts.start();
    });
    on(Reg.DCNTL, (value) => {
      file.write(Reg.DCNTL, value);
      this.#interrupts.update();
      if ((value & Dcntl.STD) !== 0) this.#scripts.start();
    });
    on(Reg.STIME1, (value) => {
      const previous = file.bytes[Reg.STIME1];
      file.write(Reg.STIME1, value);
      this.#timers.generalWritten(previous);
    });
    for (const masks of [Reg.DIEN, Reg.SIEN0, Reg.SIEN1, Reg.ISTAT1]) {
      on(masks, (value) => {
        file.write(masks, value);
        this.#interrupts.update();
      });
    }
  }

  #findPlainDwords(): void {
    for (let at = 0; at < Reg.SIZE; at += 4) {
      if (readsWithoutEffect(at)) this.#plainReads[at >> 2] = 1;
      const untouched = this.#writers.slice(at, at + 4).every((writer) => writer === undefined);
      if (untouched && this.#file.isPlain(at)) this.#plainWrites[at >> 2] = 1;
    }
  }

  /**
   * While SCRATCHA and SCRATCHB show base addresses, what is written to them goes to the latches; else they are like
   * any other.
   */
  #hideScratch(hidden: boolean): void {
    for (const register of [Reg.SCRATCHA, Reg.SCRATCHB]) {
      for (let at: number = register; at < register + 4; at++) {
        this.#writers[at] = hidden ? (value) => this.#latches.writeScratch(at, value) : undefined;
      }
      this.#plainWrites[register >> 2] = hidden ? 0 : 1;
    }
  }

  #read(offset: number): number {
    switch (offset) {
      case Reg.DSTAT:
        return this.#interrupts.readDstat();
      case Reg.CTEST2:
        return this.#readCtest2();
      case Reg.SIST0:
        return this.#interrupts.readSist0();
      case Reg.SIST1:
        return this.#interrupts.readSist1();
      default:
        return this.#file.bytes[offset];
    }
  }

  #write(offset: number, value: number): void {
    const writer = this.#writers[offset];
    if (writer === undefined) this.#file.write(offset, value);
    else writer(value);
  }

  /**
   * What follows a whole access: stacked interrupts move up, and a driver that has served all may be reselected.
   *
   * Both become due when an interrupt is taken or its mask changes: by a write, or by a read of DSTAT, SIST0 or SIST1.
   * SCRIPTS that do so look after the stack themselves at the end of their slice, and they stop with an interrupt only,
   * which is served before a reselection; a target that becomes ready wakes the processor. So other reads have nothing
   * to settle.
   */
  #settle(): void {
    this.#interrupts.unstack();
    this.#scripts.reselectWhenStopped();
  }

  #readRam(offset: number, size: AccessSize): number {
    if (size === 4) return this.#ramView.getUint32(offset, true);
    return size === 2 ? this.#ramView.getUint16(offset, true) : this.#ramView.getUint8(offset);
  }

  #writeRam(offset: number, size: AccessSize, value: number): void {
    if (size === 4) this.#ramView.setUint32(offset, value, true);
    else if (size === 2) this.#ramView.setUint16(offset, value, true);
    else this.#ramView.setUint8(offset, value);
  }

  /** ABRT is left as written, for the driver to clear. SRST is not: SeaBIOS sets it and never looks at it again. */
  #writeIstat0(value: number): void {
    if ((value & Istat0.SRST) !== 0) return this.#softReset();
    const before = this.#file.bytes[Reg.ISTAT0];
    this.#file.write(Reg.ISTAT0, value);
    if ((value & Istat0.INTF) !== 0) this.#interrupts.clearOnTheFly();
    if ((value & Istat0.ABRT) !== 0) this.#scripts.dmaInterrupt(Dstat.ABRT);
    if ((value & ~before & Istat0.SIGP) === 0) return;
    this.#connection.signalled();
    this.#scripts.signal();
  }

  /** Reading takes SIGP away from ISTAT0. */
  #readCtest2(): number {
    const { io, memory } = this.#master.mapped;
    const signalled = this.#file.has(Reg.ISTAT0, Istat0.SIGP);
    this.#file.lower(Reg.ISTAT0, Istat0.SIGP);
    return this.#file.bytes[Reg.CTEST2] | (io ? Ctest2.CIO : 0) | (memory ? Ctest2.CM : 0) |
      (signalled ? Ctest2.SIGP : 0);
  }

  #writeScntl0(value: number): void {
    this.#file.write(Reg.SCNTL0, value);
    if ((value & Scntl0.START) !== 0) this.#host.warnOnce("lsi53c895a: arbitration without SCRIPTS (SCNTL0.START)");
  }

  /** RST asserts the SCSI RST/ line for as long as it is set. */
  #writeScntl1(value: number): void {
    const before = this.#file.bytes[Reg.SCNTL1];
    this.#file.write(Reg.SCNTL1, value);
    if ((value & Scntl1.RST) === 0) return this.#file.lower(Reg.SSTAT0, Sstat0.RST);
    this.#file.raise(Reg.SSTAT0, Sstat0.RST);
    if ((before & Scntl1.RST) !== 0) return;
    this.#timers.selectionOver();
    this.#connection.resetBus();
    this.#scripts.scsiInterrupt(Sist0.RST, 0);
  }

  #timerExpired(sist1: number): void {
    if (sist1 === Sist1.STO) this.#scripts.endSelection();
    else this.#scripts.scsiInterrupt(0, sist1);
  }

  /** ISTAT0.SRST: all registers but DCNTL.COM and config space; the SCSI bus is let go, not reset. */
  #softReset(): void {
    const compatibility = this.#file.bytes[Reg.DCNTL] & Dcntl.COM;
    this.#scripts.stop();
    this.#timers.cancel();
    this.#connection.dropAll();
    this.#file.reset();
    this.#file.raise(Reg.DCNTL, compatibility);
    const chip = this.#chip;
    chip.carry = 0;
    chip.stackedDstat = chip.stackedSist0 = chip.stackedSist1 = 0;
    this.#registersFilled();
  }

  /** The register file has been filled as a whole: what follows something else does so again, and the pin last. */
  #registersFilled(): void {
    this.#file.followByteCount();
    this.#latches.load();
    this.#connection.show();
    this.#interrupts.update();
  }
}
