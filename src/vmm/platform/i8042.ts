/**
 * The keyboard controller of a PS/2, with nothing plugged into it (IBM PS/2 Hardware Interface Technical Reference,
 * "Keyboard and Auxiliary Device Controller").
 *
 * Guests look for it at ports 0x60 and 0x64, test it, and then talk to the keyboard and the mouse. A controller that
 * stays silent makes them wait for half a second and more at each step. This one does what a real one does when a
 * device does not answer its clock: it gives up, puts 0xfe into the output buffer and sets the time-out bit. SeaBIOS
 * and Linux then know at once that nothing is there.
 *
 * Guests also use its command 0xfe to reset the machine.
 *
 * @module
 */
import { defineState } from "../../device/state.ts";
import { Gsi } from "../layout.ts";
import type { BusDevice, PlatformHost } from "./platform.ts";

/** Status register, port 0x64. */
const Status = {
  OUTPUT_FULL: 0x01,
  /** The self test has passed. */
  SYSTEM: 0x04,
  /** The last write was to the command port. */
  COMMAND: 0x08,
  /** No key lock. */
  UNLOCKED: 0x10,
  AUXILIARY: 0x20,
  TIMEOUT: 0x40,
} as const;

/** Command byte ("CTR"), read and written with commands 0x20 and 0x60. */
const Control = {
  KEYBOARD_IRQ: 0x01,
  AUXILIARY_IRQ: 0x02,
  SYSTEM: 0x04,
  KEYBOARD_DISABLED: 0x10,
  AUXILIARY_DISABLED: 0x20,
} as const;

const Command = {
  READ_CONTROL: 0x20,
  WRITE_CONTROL: 0x60,
  DISABLE_AUXILIARY: 0xa7,
  ENABLE_AUXILIARY: 0xa8,
  TEST_AUXILIARY: 0xa9,
  SELF_TEST: 0xaa,
  TEST_KEYBOARD: 0xab,
  DISABLE_KEYBOARD: 0xad,
  ENABLE_KEYBOARD: 0xae,
  READ_INPUT_PORT: 0xc0,
  READ_OUTPUT_PORT: 0xd0,
  WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_OUTPUT: 0xd2,
  WRITE_AUXILIARY_OUTPUT: 0xd3,
  WRITE_AUXILIARY: 0xd4,
  /** 0xf0 to 0xff pulse the low output lines whose bits are 0; bit 0 is the CPU's reset. */
  PULSE_OUTPUT: 0xf0,
} as const;

/** Commands that take a byte at the data port. */
const WITH_PARAMETER: readonly number[] = [
  Command.WRITE_CONTROL,
  Command.WRITE_OUTPUT_PORT,
  Command.WRITE_KEYBOARD_OUTPUT,
  Command.WRITE_AUXILIARY_OUTPUT,
  Command.WRITE_AUXILIARY,
];

/** Output port: bit 0 is the CPU's reset line (low: reset), bit 1 gate A20, which KVM does not have. */
const OutputPort = { RUN: 0x01, A20: 0x02 } as const;

const SELF_TEST_PASSED = 0x55;
const INTERFACE_TEST_PASSED = 0x00;
const INPUT_PORT_UNLOCKED = 0x80;
const DEVICE_TIMED_OUT = 0xfe;

/** Registers of the keyboard controller. */
export const I8042State = defineState("i8042", 1, {
  /** The command whose parameter is awaited; 0 for none. */
  pending: "u8",
  control: "u8",
  status: "u8",
  /** The output buffer: one byte. */
  output: "u8",
  outputPort: "u8",
  /** The interrupt lines that are high, as in the command byte. */
  irqs: "u8",
});

/** What {@linkcode I8042} needs. */
export interface I8042Options {
  readonly state: ReturnType<typeof I8042State.attach>;
  readonly host: PlatformHost;
}

/** A keyboard controller without keyboard and mouse. */
export class I8042 {
  /** Port 0x60. */
  readonly data: BusDevice;
  /** Port 0x64. */
  readonly command: BusDevice;
  readonly #state: I8042Options["state"];
  readonly #host: PlatformHost;

  constructor({ state, host }: I8042Options) {
    this.#state = state;
    this.#host = host;
    this.data = {
      read: () => this.#readData(),
      write: (_offset, _size, value) => this.#writeData(value & 0xff),
    };
    this.command = {
      read: () => state.status,
      write: (_offset, _size, value) => this.#writeCommand(value & 0xff),
    };
  }

  /** Machine reset. */
  reset(): void {
    this.#state.pending = 0;
    this.#state.control = Control.KEYBOARD_DISABLED | Control.AUXILIARY_DISABLED;
    this.#state.status = Status.UNLOCKED;
    this.#state.output = 0;
    this.#state.outputPort = OutputPort.RUN | OutputPort.A20;
    this.#updateIrqs();
  }

  #readData(): number {
    this.#state.status &= ~(Status.OUTPUT_FULL | Status.AUXILIARY | Status.TIMEOUT);
    this.#updateIrqs();
    return this.#state.output;
  }

  #writeData(value: number): void {
    const { pending } = this.#state;
    this.#state.pending = 0;
    this.#state.status &= ~Status.COMMAND;
    switch (pending) {
      case Command.WRITE_CONTROL:
        return this.#writeControl(value);
      case Command.WRITE_OUTPUT_PORT:
        return this.#writeOutputPort(value);
      case Command.WRITE_KEYBOARD_OUTPUT:
        return this.#reply(value);
      case Command.WRITE_AUXILIARY_OUTPUT:
        return this.#reply(value, Status.AUXILIARY);
      case Command.WRITE_AUXILIARY:
        return this.#reply(DEVICE_TIMED_OUT, Status.AUXILIARY | Status.TIMEOUT);
      default:
        return this.#reply(DEVICE_TIMED_OUT, Status.TIMEOUT);
    }
  }

  #writeCommand(command: number): void {
    this.#state.status |= Status.COMMAND;
    this.#state.pending = WITH_PARAMETER.includes(command) ? command : 0;
    switch (command) {
      case Command.READ_CONTROL:
        return this.#reply(this.#state.control);
      case Command.DISABLE_AUXILIARY:
        return this.#writeControl(this.#state.control | Control.AUXILIARY_DISABLED);
      case Command.ENABLE_AUXILIARY:
        return this.#writeControl(this.#state.control & ~Control.AUXILIARY_DISABLED);
      case Command.DISABLE_KEYBOARD:
        return this.#writeControl(this.#state.control | Control.KEYBOARD_DISABLED);
      case Command.ENABLE_KEYBOARD:
        return this.#writeControl(this.#state.control & ~Control.KEYBOARD_DISABLED);
      case Command.TEST_AUXILIARY:
      case Command.TEST_KEYBOARD:
        return this.#reply(INTERFACE_TEST_PASSED);
      case Command.SELF_TEST:
        this.#writeControl(this.#state.control | Control.SYSTEM);
        return this.#reply(SELF_TEST_PASSED);
      case Command.READ_INPUT_PORT:
        return this.#reply(INPUT_PORT_UNLOCKED);
      case Command.READ_OUTPUT_PORT:
        return this.#reply(this.#state.outputPort);
    }
    const pulsesReset = command >= Command.PULSE_OUTPUT && (command & OutputPort.RUN) === 0;
    if (pulsesReset) this.#host.requestReset();
  }

  #writeControl(value: number): void {
    this.#state.control = value;
    // The status register's system flag is the one of the command byte.
    this.#state.status = (this.#state.status & ~Status.SYSTEM) | (value & Control.SYSTEM);
    this.#updateIrqs();
  }

  #writeOutputPort(value: number): void {
    this.#state.outputPort = value;
    if ((value & OutputPort.RUN) === 0) this.#host.requestReset();
  }

  /** Puts a byte into the output buffer; one that nobody has read is lost. */
  #reply(value: number, flags = 0): void {
    const { status } = this.#state;
    this.#state.output = value;
    this.#state.status = (status & ~(Status.AUXILIARY | Status.TIMEOUT)) | Status.OUTPUT_FULL | flags;
    this.#updateIrqs();
  }

  /** A byte in the output buffer raises the line of the device that it comes from, if the command byte lets it. */
  #updateIrqs(): void {
    const { status, control, irqs } = this.#state;
    const source = (status & Status.AUXILIARY) !== 0 ? Control.AUXILIARY_IRQ : Control.KEYBOARD_IRQ;
    const wanted = (status & Status.OUTPUT_FULL) !== 0 ? source & control : 0;
    const changed = wanted ^ irqs;
    if (changed === 0) return;
    this.#state.irqs = wanted;
    if ((changed & Control.KEYBOARD_IRQ) !== 0) {
      this.#host.setIrq(Gsi.KEYBOARD, (wanted & Control.KEYBOARD_IRQ) !== 0);
    }
    if ((changed & Control.AUXILIARY_IRQ) !== 0) {
      this.#host.setIrq(Gsi.MOUSE, (wanted & Control.AUXILIARY_IRQ) !== 0);
    }
  }
}
