import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { bytes, defineState, type SavedState } from "../../src/device/state.ts";

const Layout = defineState("device", 2, {
  small: "u8",
  wide: "u32",
  signed: "i32",
  half: "u16",
  time: "f64",
  enabled: "bool",
  fifo: bytes(3),
});

function filled() {
  const state = Layout.allocate();
  Object.assign(state, { small: 1, wide: 0xffffffff, signed: -5, half: 0xabcd, time: 1e15 + 0.5, enabled: true });
  state.fifo.set([7, 8, 9]);
  return state;
}

Deno.test("a new record is zero", () => {
  const { small, wide, signed, half, time, enabled, fifo } = Layout.allocate();
  assertEquals([small, wide, signed, half, time, enabled, [...fifo]], [0, 0, 0, 0, 0, false, [0, 0, 0]]);
});

Deno.test("a run of bytes can lie in a place of its own, which is saved and restored like the others", () => {
  const memory = Uint8Array.of(0xff, 1, 2, 3, 0xff);
  const state = Layout.allocate({ places: { fifo: memory.subarray(1, 4) } });
  assertEquals([...state.fifo], [1, 2, 3], "as it is");
  const saved = state.save();
  state.restore(filled().save());
  assertEquals([...memory], [0xff, 7, 8, 9, 0xff]);
  assertEquals([state.wide, ...saved.fields.fifo as Uint8Array], [0xffffffff, 1, 2, 3]);
});

Deno.test("a place of another length than the field's is refused", () => {
  const allocate = () => Layout.allocate({ places: { fifo: new Uint8Array(4) } });
  assertThrows(allocate, RangeError, "Field fifo has 3 bytes, and its place 4");
});

Deno.test("fields wrap as their width does", () => {
  const state = Layout.allocate();
  Object.assign(state, { small: 0x1ff, half: -1, wide: -1, signed: 0xffffffff });
  assertEquals([state.small, state.half, state.wide, state.signed], [0xff, 0xffff, 0xffffffff, -1]);
});

Deno.test("fields do not reach into each other", () => {
  const state = filled();
  state.small = 0xff;
  state.half = 0;
  const { wide, signed, time, enabled, fifo } = state;
  assertEquals([wide, signed, time, enabled, [...fifo]], [0xffffffff, -5, 1e15 + 0.5, true, [7, 8, 9]]);
});

Deno.test("a record attached elsewhere is the same memory", () => {
  const state = Layout.allocate({ shared: true });
  assert(state.buffer instanceof SharedArrayBuffer);
  Layout.attach(state.buffer).wide = 42;
  assertEquals(state.wide, 42);
});

Deno.test("too little memory is refused", () => {
  assertThrows(() => Layout.attach(new ArrayBuffer(Layout.size - 1)), RangeError, "device");
});

Deno.test("a record that was saved and restored is the same, by way of JSON-like data", () => {
  const saved = structuredClone(filled().save());
  assertEquals([saved.name, saved.version], ["device", 2]);
  const restored = Layout.allocate();
  restored.restore(saved);
  assertEquals(restored.save(), filled().save());
});

Deno.test("saved state is a copy", () => {
  const state = filled();
  const saved = state.save();
  state.fifo.fill(0);
  assertEquals([...(saved.fields.fifo as Uint8Array)], [7, 8, 9]);
});

Deno.test("fields that saved state does not name keep their value, in whatever order the others come", () => {
  const state = filled();
  state.restore({ name: "device", version: 1, fields: { half: 2, small: 3 } });
  assertEquals([state.half, state.small, state.wide], [2, 3, 0xffffffff]);
});

Deno.test("state that does not fit is refused by name, and changes nothing", () => {
  const cases: [Partial<SavedState>, string][] = [
    [{ name: "other" }, "other"],
    [{ version: 3 }, "version 3"],
    [{ fields: { small: 9, unknown: 1 } }, "unknown"],
    [{ fields: { small: 9, toString: 1 } }, "toString"],
    [{ fields: { small: 9, wide: true } }, "wide is not a number"],
    [{ fields: { small: 9, enabled: 1 } }, "enabled is not a boolean"],
    [{ fields: { small: 9, fifo: 1 } }, "fifo is not a run of bytes"],
    [{ fields: { small: 9, fifo: new Uint8Array(4) } }, "4 bytes instead of 3"],
  ];
  for (const [changes, text] of cases) {
    const state = filled();
    assertThrows(() => state.restore({ name: "device", version: 2, fields: {}, ...changes }), TypeError, text);
    assertEquals(state.save(), filled().save());
  }
});

Deno.test("any values survive being saved and restored by another version's order of fields", () => {
  const Reordered = defineState("device", 3, { fifo: bytes(3), time: "f64", wide: "u32", small: "u8" });
  const Original = defineState("device", 2, { small: "u8", wide: "u32", time: "f64", fifo: bytes(3) });
  const values = fc.record({
    small: fc.integer({ min: 0, max: 0xff }),
    wide: fc.integer({ min: 0, max: 0xffffffff }),
    time: fc.double({ noNaN: true }),
    fifo: fc.uint8Array({ minLength: 3, maxLength: 3 }),
  });
  fc.assert(fc.property(values, (fields) => {
    const original = Original.allocate();
    original.restore({ name: "device", version: 2, fields });
    const reordered = Reordered.allocate();
    reordered.restore(original.save());
    const { small, wide, time, fifo } = reordered;
    assertEquals({ small, wide, time, fifo: [...fifo] }, { ...fields, fifo: [...fields.fifo] });
  }));
});
