/**
 * The ways in which a PC's software resets it or opens gate A20 without a keyboard controller: RST_CNT, the byte at
 * port 0xcf9 (ICH9, section 13.7.5), and PORT92 (ICH9, chapter "LPC Interface", processor interface registers).
 *
 * @module
 */
import { defineState } from "../../device/state.ts";
import type { BusDevice, PlatformHost } from "./platform.ts";

const RstCnt = {
  /** With SYS_RST, also cycles the power: the same to a virtual machine. */
  FULL_RST: 0x08,
  /** The reset happens when this bit rises. */
  RST_CPU: 0x04,
  /** Hard reset rather than INIT#. Both reset the whole machine here, as on QEMU. */
  SYS_RST: 0x02,
  MASK: 0x0e,
} as const;

const Port92 = {
  /** KVM has no gate A20: it is always open. The bit can be read back. */
  A20: 0x02,
  /** INIT# when this bit rises. */
  INIT_NOW: 0x01,
  MASK: 0x03,
} as const;

/** Both registers. */
export const ResetControlState = defineState("reset-control", 1, { rstCnt: "u8", port92: "u8" });

/** What {@linkcode ResetControl} needs. */
export interface ResetControlOptions {
  readonly state: ReturnType<typeof ResetControlState.attach>;
  readonly host: PlatformHost;
}

/** RST_CNT and PORT92. */
export class ResetControl {
  /** The byte at 0xcf9; `ConfigPorts` passes accesses on. */
  readonly rstCnt: BusDevice;
  /** The byte at 0x92. */
  readonly port92: BusDevice;
  readonly #state: ResetControlOptions["state"];

  constructor({ state, host }: ResetControlOptions) {
    this.#state = state;
    this.rstCnt = {
      read: () => state.rstCnt,
      write: (_offset, _size, value) => {
        const rises = (value & ~state.rstCnt & RstCnt.RST_CPU) !== 0;
        state.rstCnt = value & RstCnt.MASK;
        if (rises) host.requestReset();
      },
    };
    this.port92 = {
      read: () => state.port92,
      write: (_offset, _size, value) => {
        const rises = (value & ~state.port92 & Port92.INIT_NOW) !== 0;
        state.port92 = value & Port92.MASK;
        if (rises) host.requestReset();
      },
    };
  }

  /** Machine reset. */
  reset(): void {
    this.#state.rstCnt = 0;
    this.#state.port92 = Port92.A20;
  }
}
