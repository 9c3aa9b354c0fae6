/**
 * A board without a CPU: guest RAM, an interrupt line, and the link to a device process, for a driver that runs on the host. It does what a
 * VMM's proxy does for a guest, one message for each access.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { createEventFd, drainEventFd, Epoll, Ready, signalEventFd } from "../../../src/ffi/event.ts";
import { closeFd } from "../../../src/ffi/file.ts";
import { createMemoryFile, mapFile, type Mapping } from "../../../src/ffi/memory.ts";
import { PciCommand, PciConfig } from "../../../src/device/config_space.ts";
import { Channel } from "../../../src/link/channel.ts";
import { LinkError } from "../../../src/link/link_error.ts";
import type { Message } from "../../../src/link/message.ts";
import { Bar } from "./layout.ts";

/** After this long without an answer a device process counts as hung, in milliseconds. */
const PATIENCE = 30_000;

/** See the module. */
export class Board {
  /** Guest RAM, from guest-physical address 0. */
  readonly ram: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  /** Messages sent since the board was made. */
  messages = 0;
  readonly #channel: Channel;
  readonly #memory: Mapping;
  readonly #irq = createEventFd();
  readonly #resample = createEventFd();
  readonly #epoll = new Epoll();

  /**
   * @param link The socket to the device process, which belongs to the board from now on.
   * @param ramSize Bytes: a multiple of 4096.
   */
  constructor(link: number, ramSize: number) {
    this.#channel = new Channel(link);
    const fd = createMemoryFile("guest-ram", ramSize);
    try {
      this.#memory = mapFile(fd, 0, ramSize);
      this.ram = this.#memory.bytes;
      this.view = new DataView(this.ram.buffer);
      this.#tell((message) => message.setSyncSysmem([{ gpa: 0, size: ramSize, offset: 0 }]), [fd]);
    } finally {
      closeFd(fd);
    }
    this.#tell((message) => message.setIrqFd(), [this.#irq, this.#resample]);
    this.#epoll.add(this.#irq, Ready.IN);
    this.#epoll.add(link, Ready.RDHUP);
  }

  /** Puts the LSI53C895A where the driver expects it, as firmware does. */
  enableDevice(): void {
    assertEquals(this.readConfig(PciConfig.VENDOR_ID, 4), 0x00121000, "the device is not an LSI53C895A");
    this.writeConfig(PciConfig.BAR0, 4, Bar.IO);
    this.writeConfig(PciConfig.BAR0 + 4, 4, Bar.REGISTERS);
    this.writeConfig(PciConfig.BAR0 + 8, 4, Bar.SCRIPTS_RAM);
    this.writeConfig(PciConfig.COMMAND, 2, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
  }

  readConfig(offset: number, length: number): number {
    this.#channel.outgoing.setConfigRead(offset, length);
    return this.#call();
  }

  writeConfig(offset: number, length: number, value: number): void {
    this.#channel.outgoing.setConfigWrite(offset, length, value);
    this.#call();
  }

  /** Reads a byte of the registers. */
  read8(register: number): number {
    this.#channel.outgoing.setBarRead(Bar.REGISTERS + register, 1, true);
    return this.#call() & 0xff;
  }

  write8(register: number, value: number): void {
    this.#channel.outgoing.setBarWrite(Bar.REGISTERS + register, 1, true, value);
    this.#call();
  }

  write32(register: number, value: number): void {
    this.#channel.outgoing.setBarWrite(Bar.REGISTERS + register, 4, true, value);
    this.#call();
  }

  /**
   * Waits for the interrupt.
   *
   * @param timeout Milliseconds. @default {30 s, which no device takes that works}
   * @returns whether it came.
   * @throws {LinkError} when the device process has gone away.
   */
  waitForInterrupt(timeout = PATIENCE): boolean {
    let gone = false;
    this.#epoll.wait(timeout, (fd) => gone ||= fd !== this.#irq);
    if (drainEventFd(this.#irq)) return true;
    if (gone) throw new LinkError("the device process has gone away", "closed");
    return false;
  }

  /** Tells the device process that the guest has served the interrupt: it comes again where the pin is still high. */
  endInterrupt(): void {
    signalEventFd(this.#resample);
  }

  /** Closes the link, whereupon the device process ends, and gives the memory back. */
  close(): void {
    this.#epoll.close();
    this.#channel.close();
    this.#memory.unmap();
    [this.#irq, this.#resample].forEach(closeFd);
  }

  #call(): number {
    this.messages++;
    this.#channel.call(this.#channel.outgoing, PATIENCE);
    return this.#channel.incoming.returnLow;
  }

  #tell(make: (message: Message) => void, descriptors: readonly number[]): void {
    make(this.#channel.outgoing);
    this.#channel.send(this.#channel.outgoing, descriptors, PATIENCE);
  }
}
