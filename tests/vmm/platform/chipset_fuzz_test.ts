/**
 * Nothing that a guest does to the chipset may make it throw, or answer with what is no number of the access's width.
 */
import fc from "fast-check";
import { configAddress, createChipset } from "../support/q35.ts";

type Chipset = ReturnType<typeof createChipset>;
type Access = (chipset: Chipset) => { value: number; size: number } | undefined;

const size = fc.constantFrom(1, 2, 4);
const value = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.constantFrom(0, 1, 0x80, 0xff, 0xffffffff));
const chipsetPort = fc.constantFrom(0x60, 0x64, 0x80, 0x92, 0xb2, 0xb3, 0x402, 0x501, 0xcf8, 0xcf9, 0xcfc, 0xcff);
const port = fc.oneof(chipsetPort, fc.integer({ min: 0x600, max: 0x680 }), fc.integer({ min: 0, max: 0xffff }));
const address = fc.oneof(
  fc.integer({ min: 0xb0000000, max: 0xb0110000 }),
  fc.integer({ min: 0xfed1c000, max: 0xfed20000 }),
  fc.maxSafeNat(),
);
const register = fc.oneof(fc.constantFrom(0x40, 0x44, 0x60, 0x64, 0x68, 0x90, 0x94, 0x9d, 0xf0), fc.nat({ max: 0xff }));

const access: fc.Arbitrary<Access> = fc.oneof(
  fc.tuple(port, size).map(([at, n]) => ({ ports }: Chipset) => ({ value: ports.read(at, n), size: n })),
  fc.tuple(address, size).map(([at, n]) => ({ memory }: Chipset) => ({ value: memory.read(at, n), size: n })),
  fc.tuple(port, size, value).map(([at, n, v]) => ({ ports }: Chipset) => ports.write(at, n, v) as undefined),
  fc.tuple(address, size, value).map(([at, n, v]) => ({ memory }: Chipset) => memory.write(at, n, v) as undefined),
  fc.tuple(fc.constantFrom(0, 31), register, size, value).map(([slot, at, n, v]) => ({ ports }: Chipset) => {
    ports.write(0xcf8, 4, configAddress(slot, 0, at & 0xfc));
    ports.write(0xcfc + (at & 3), n, v);
    return { value: ports.read(0xcfc, n), size: n };
  }),
  fc.nat({ max: 0xffffffff }).map((step) => ({ host, pm }: Chipset) => {
    host.time += step;
    pm.nextDeadline();
    pm.expire();
    return undefined;
  }),
);

Deno.test("random port, memory and configuration accesses never throw and read unsigned numbers of their width", () => {
  fc.assert(
    fc.property(fc.array(access, { maxLength: 200 }), (accesses) => {
      const chipset = createChipset();
      chipset.intx.connect({ slot: 1, pin: 0 });
      chipset.intx.connect({ slot: 2, pin: 0 });
      chipset.intx.connect({ slot: 25, pin: 0 });
      for (const perform of accesses) {
        const result = perform(chipset);
        if (result === undefined) continue;
        const fits = Number.isInteger(result.value) && result.value >= 0 && result.value < 2 ** (8 * result.size);
        if (!fits) throw new Error(`a ${result.size}-byte read returned ${result.value}`);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("after any accesses a reset brings back the state of power-on", () => {
  fc.assert(
    fc.property(fc.array(access, { maxLength: 50 }), (accesses) => {
      const chipset = createChipset();
      const registers = () => {
        const config: number[] = [];
        for (let at = 0; at < 0x100; at += 4) {
          config.push(chipset.hostBridge.readConfig(at, 4), chipset.lpc.readConfig(at, 4));
        }
        return JSON.stringify([config, [0x60, 0x64, 0x92, 0xb2, 0xcf9].map((at) => chipset.ports.read(at, 1))]);
      };
      const atPowerOn = registers();
      for (const perform of accesses) perform(chipset);
      chipset.reset();
      if (registers() !== atPowerOn) throw new Error("a register survived the reset");
      if (chipset.host.high.size !== 0) throw new Error("an interrupt line stayed high");
    }),
    { numRuns: 100 },
  );
});
