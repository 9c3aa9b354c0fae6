/**
 * Ports for people who debug guests: POST codes at 0x80, QEMU's debug console and QEMU's isa-debug-exit.
 *
 * @module
 */
import { defineState } from "../../device/state.ts";
import { readByteWise, writeByteWise } from "./byte_access.ts";
import type { BusDevice, PlatformHost } from "./platform.ts";

/** What the debug console's port reads as; firmware recognises the console by it. */
const DEBUG_CONSOLE_PRESENT = 0xe9;

/** A debug console: each byte that the guest writes to its one port goes to `sink`. */
export function createDebugConsole(sink: (byte: number) => void): BusDevice {
  return {
    read: () => DEBUG_CONSOLE_PRESENT,
    write: (_offset, _size, value) => sink(value & 0xff),
  };
}

/**
 * isa-debug-exit: a write ends the machine with exit status (value × 2) + 1, so that no value means success. The status
 * that a parent process sees has 8 bits. Reads return 0.
 */
export function createDebugExit(host: PlatformHost): BusDevice {
  return {
    read: () => 0,
    write: (_offset, _size, value) => host.requestExit(((value << 1) | 1) & 0xff),
  };
}

/** The last byte that the guest wrote to the POST code port. */
export const PostCodeState = defineState("post-code", 1, { code: "u8" });

/** Port 0x80: keeps the last POST code, for whoever asks why a guest got stuck. */
export function createPostCode(state: ReturnType<typeof PostCodeState.attach>): BusDevice {
  return {
    read: (offset, size) => readByteWise(offset, size, () => state.code),
    write: (offset, size, value) => writeByteWise(offset, size, value, (_at, byte) => state.code = byte),
  };
}
