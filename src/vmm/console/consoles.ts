/**
 * The character devices of a machine on its control thread, where their input arrives. Output is written by whoever has some: see
 * {@linkcode Output}.
 *
 * @module
 */
import type { Commands } from "../../qmp/commands.ts";
import type { Watcher } from "../../qmp/connection.ts";
import type { JsonObject } from "../../qmp/protocol.ts";
import type { Machine } from "../machine.ts";
import type { CharacterHandle } from "./character_devices.ts";
import { MonitorFrontEnd, SerialFrontEnd } from "./front_ends.ts";
import type { FrontEnd, InputReceiver } from "./input.ts";
import { InputPump } from "./input_pump.ts";
import { Mux } from "./mux.ts";
import { SocketClients, type SocketClientsOptions } from "./socket_clients.ts";

/** What {@linkcode Consoles} are made of. */
export interface ConsolesOptions {
  readonly machine: Machine;
  readonly handles: readonly CharacterHandle[];
  readonly watcher: Watcher;
  /** What the monitors can have done. */
  readonly commands: Commands;
  /** Writes one line to the log. */
  readonly log: (line: string) => void;
}

/** Takes what comes where nobody has a use for it, so that its end is seen. */
const NOBODY: InputReceiver = { room: 4096, receive() {} };

/** A device that has input. */
interface Source {
  /** The receiver may have room again, or none. */
  update(): void;
  /** Ends the connection, where there can be another. */
  disconnect(): void;
}

/** See the module. */
export class Consoles {
  readonly #options: ConsolesOptions;
  readonly #serial: SerialFrontEnd[] = [];
  /** By device. */
  readonly #sources: (Source | undefined)[];
  readonly #sockets = new Map<string, SocketClients>();

  constructor(options: ConsolesOptions) {
    this.#options = options;
    this.#sources = options.handles.map((handle, index) => this.#open(handle, index));
  }

  /** The entries of `query-chardev` (ChardevInfo, qapi/char.json). */
  describe(): JsonObject[] {
    return this.#options.handles.map(({ id: label, filename }) => {
      const socket = this.#sockets.get(label);
      const gone = socket !== undefined && !socket.connected;
      return { label, filename: gone ? `disconnected:${filename}` : filename, "frontend-open": true };
    });
  }

  /** Hands input on as fast as the guest takes it. Never ends. */
  async serve(): Promise<never> {
    const { inputDrained } = this.#options.machine;
    for (;;) {
      const seen = inputDrained.count;
      for (const frontEnd of this.#serial) frontEnd.retry();
      for (const source of this.#sources) source?.update();
      await inputDrained.changed(seen);
    }
  }

  #open(handle: CharacterHandle, index: number): Source | undefined {
    const frontEnds = this.#frontEnds(index);
    const receiver = this.#receiver(frontEnds, index);
    const begin = () => {
      if (receiver instanceof Mux) return receiver.renew();
      frontEnds[0]?.renew();
      frontEnds[0]?.focus();
    };
    if (handle.output !== undefined && handle.nowhere !== undefined) {
      return this.#serveSocket(handle, { output: handle.output, nowhere: handle.nowhere }, receiver, begin);
    }
    if (handle.input === undefined || frontEnds.length === 0) return undefined;
    return this.#pump(handle, handle.input, receiver, begin);
  }

  /** Serial ports come first, so that one of them has the focus. */
  #frontEnds(index: number): FrontEnd[] {
    const { machine: { config, serialPorts, lock } } = this.#options;
    const shared = config.characterDevices[index].mux;
    const serial = serialPorts.flatMap((port, i) =>
      port !== undefined && config.serialPorts[i] === index ? [new SerialFrontEnd(port, lock, shared)] : []
    );
    this.#serial.push(...serial);
    return config.humanMonitors.includes(index) ? [...serial, this.#monitor(index, shared)] : serial;
  }

  #monitor(index: number, shared: boolean): MonitorFrontEnd {
    const { machine, commands } = this.#options;
    return new MonitorFrontEnd({
      commands,
      shared,
      print: (text) => machine.outputs[index].print(text),
      onLeave: () => this.#sources[index]?.disconnect(),
      onRoomChange: () => this.#sources[index]?.update(),
    });
  }

  #receiver(frontEnds: readonly FrontEnd[], index: number): InputReceiver {
    const { machine } = this.#options;
    const { config, control } = machine;
    if (frontEnds.length === 0) return NOBODY;
    if (!config.characterDevices[index].mux) return frontEnds[0];
    return new Mux({
      frontEnds,
      escapeKey: config.escapeKey,
      print: (text) => machine.outputs[index].print(text),
      toggleTimestamps: () => machine.timestamps[index]?.toggle(),
      quit: () => control.requestExit(0, "host-qmp-quit"),
    });
  }

  #serveSocket(
    { id, listener, client }: CharacterHandle,
    outputs: Pick<SocketClientsOptions, "output" | "nowhere">,
    receiver: InputReceiver,
    onClient: () => void,
  ): Source {
    const { watcher } = this.#options;
    const log = (what: string) => this.#log(id, what);
    const clients = new SocketClients({ listener, client, ...outputs, watcher, receiver, onClient, log });
    this.#sockets.set(id, clients);
    return clients;
  }

  #pump(
    { id }: CharacterHandle,
    { fd, kind }: Required<CharacterHandle>["input"],
    receiver: InputReceiver,
    begin: () => void,
  ): Source {
    const { watcher } = this.#options;
    // Its end, good or bad, is not the machine's.
    const onEnd = (why: string | undefined) => {
      if (why !== undefined) this.#log(id, `has no input any more: ${why}`);
    };
    if (kind === "stdio") begin();
    const pump = new InputPump({
      ...{ fd, watcher, receiver, onEnd },
      kind: kind === "pty" ? "pty" : "stream",
      onReturn: begin,
    });
    return { update: () => pump.update(), disconnect() {} };
  }

  #log(id: string, what: string): void {
    this.#options.log(`character device ${id}: ${what}`);
  }
}
