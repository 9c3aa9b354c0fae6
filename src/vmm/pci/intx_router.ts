/**
 * Which GSI each INTx pin on the bus is attached to, and what has to be attached anew when the guest changes the
 * routing.
 *
 * @module
 */
import { bytes, defineState } from "../../device/state.ts";
import { Gsi } from "../layout.ts";
import { buildGsiRoutes, type GsiRoute, type PirqRoute, type PirqTable, routePirq } from "./intx_routing.ts";

const SLOT_COUNT = 32;
const PIN_COUNT = 4;

/** Routes in force, by slot × 4 + pin: GSI plus one, 0 for a pin without a device; and the ISA IRQ plus one, or 0. */
export const IntxRouterState = defineState("intx-router", 1, {
  gsis: bytes(SLOT_COUNT * PIN_COUNT),
  isaIrqs: bytes(SLOT_COUNT * PIN_COUNT),
});

/** An interrupt pin of a device on bus 0. */
export interface IntxPin {
  /** 0 to 31. */
  readonly slot: number;
  /** 0 to 3 for INTA# to INTD#. */
  readonly pin: number;
}

/** A pin whose route has changed. */
export interface MovedPin extends IntxPin {
  /** The GSI that its irqfd is attached to. */
  readonly from: number;
  /** The GSI that its irqfd belongs to now; it can be the same, when what lies behind the GSI has changed. */
  readonly to: number;
}

/** A change of the routing. */
export interface IntxRoutingChange {
  /** Empty when only the table has changed, because a device has come or gone. */
  readonly moved: readonly MovedPin[];
  /** The whole new routing table. */
  readonly routes: readonly GsiRoute[];
}

/** What knows the registers that decide about the routing: the LPC bridge. */
export interface PirqSource {
  /** The PIRQ (0 to 7) that an interrupt pin is wired to. */
  pirqOf(pin: IntxPin): number;
  /** The ISA IRQ that a PIRQ is steered to, or `undefined`. */
  isaIrqOf(pirq: number): number | undefined;
}

/** What {@linkcode IntxRouter} needs. */
export interface IntxRouterOptions {
  readonly state: ReturnType<typeof IntxRouterState.attach>;
  readonly pirqs: PirqSource;
  /**
   * Carries a change out, on the thread whose guest CPU caused it:
   *
   * 1. detach the irqfds of `moved` from their GSI `from`, while the old table is in force, so that KVM lowers the old
   *    pins;
   * 2. KVM_SET_GSI_ROUTING with `routes`;
   * 3. attach the irqfds to `to`;
   * 4. signal their resample descriptors, since a line that was high has not been seen at its new place.
   */
  onChange(change: IntxRoutingChange): void;
}

/** Keeps irqfds and the GSI routing table in step with the guest's PIRQ registers. */
export class IntxRouter {
  readonly #state: IntxRouterOptions["state"];
  readonly #pirqs: PirqSource;
  readonly #onChange: IntxRouterOptions["onChange"];

  constructor({ state, pirqs, onChange }: IntxRouterOptions) {
    this.#state = state;
    this.#pirqs = pirqs;
    this.#onChange = onChange;
  }

  /**
   * A device drives this pin from now on. Pins of other devices may move because of it. Several functions of a device
   * may name the same pin.
   *
   * @returns The GSI to attach the device's irqfd to, once the call has returned.
   * @throws {RangeError} for a slot or pin that does not exist.
   */
  connect(pin: IntxPin): number {
    const index = this.#index(pin);
    if (this.#state.gsis[index] === 0) {
      this.#place(index, this.#route(pin, this.#used() | this.#bit(pin)));
      this.#onChange({ moved: this.#move(), routes: this.routes() });
    }
    return this.#state.gsis[index] - 1;
  }

  /**
   * No function of the slot drives this pin any more; the irqfds are detached already. @throws {RangeError} as
   * `connect`.
   */
  disconnect(pin: IntxPin): void {
    const index = this.#index(pin);
    this.#state.gsis[index] = 0;
    this.#state.isaIrqs[index] = 0;
    this.#onChange({ moved: this.#move(), routes: this.routes() });
  }

  /** The GSI that a pin is attached to, or `undefined` when no device drives it. @throws {RangeError} as `connect`. */
  gsi(pin: IntxPin): number | undefined {
    const stored = this.#state.gsis[this.#index(pin)];
    return stored === 0 ? undefined : stored - 1;
  }

  /** The routing table in force. */
  routes(): GsiRoute[] {
    return buildGsiRoutes(this.#table(this.#used()));
  }

  /** The registers may have changed: routes anew, and reports what moved. */
  update(): void {
    const moved = this.#move();
    if (moved.length > 0) this.#onChange({ moved, routes: this.routes() });
  }

  #move(): MovedPin[] {
    const used = this.#used();
    const moved: MovedPin[] = [];
    for (const pin of this.#connected()) {
      const index = this.#index(pin);
      const from = this.#state.gsis[index] - 1;
      const route = this.#route(pin, used);
      if (this.#place(index, route)) moved.push({ ...pin, from, to: route.gsi });
    }
    return moved;
  }

  /** Stores a route. @returns whether it differs from the one before. */
  #place(index: number, { gsi, isaIrq }: PirqRoute): boolean {
    const { gsis, isaIrqs } = this.#state;
    const isa = isaIrq === undefined ? 0 : isaIrq + 1;
    if (gsis[index] === gsi + 1 && isaIrqs[index] === isa) return false;
    gsis[index] = gsi + 1;
    isaIrqs[index] = isa;
    return true;
  }

  #route(pin: IntxPin, used: number): PirqRoute {
    return routePirq(this.#table(used), this.#pirqs.pirqOf(pin));
  }

  #table(used: number): PirqTable {
    return { isaIrqs: Array.from({ length: Gsi.PIRQ_COUNT }, (_, pirq) => this.#pirqs.isaIrqOf(pirq)), used };
  }

  #bit(pin: IntxPin): number {
    return 1 << this.#pirqs.pirqOf(pin);
  }

  #used(): number {
    return this.#connected().reduce((used, pin) => used | this.#bit(pin), 0);
  }

  #connected(): IntxPin[] {
    const pins: IntxPin[] = [];
    for (const [index, gsi] of this.#state.gsis.entries()) {
      if (gsi !== 0) pins.push({ slot: Math.floor(index / PIN_COUNT), pin: index % PIN_COUNT });
    }
    return pins;
  }

  #index({ slot, pin }: IntxPin): number {
    const exists = Number.isInteger(slot) && slot >= 0 && slot < SLOT_COUNT && Number.isInteger(pin) && pin >= 0 &&
      pin < PIN_COUNT;
    if (!exists) throw new RangeError(`There is no interrupt pin ${pin} in PCI slot ${slot}`);
    return slot * PIN_COUNT + pin;
  }
}
