import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { type FrontEnd, InputQueue } from "../../../src/vmm/console/input.ts";
import { Mux } from "../../../src/vmm/console/mux.ts";

const CTRL_A = "\x01";

/** A user that writes down what happens to it. */
class Recorder implements FrontEnd {
  readonly log: string[] = [];
  room = 100;

  receive(bytes: Uint8Array): void {
    this.log.push(new TextDecoder().decode(bytes));
  }
  focus(): void {
    this.log.push("<focus>");
  }
  sendBreak(): void {
    this.log.push("<break>");
  }
  renew(): void {
    this.log.push("<renew>");
  }
}

/** A device shared by a console and a monitor. */
function shared({ escapeKey = 1, users = 2 } = {}) {
  const frontEnds = Array.from({ length: users }, () => new Recorder());
  const log: string[] = [];
  const mux = new Mux({
    escapeKey,
    frontEnds,
    print: (text) => log.push(text),
    toggleTimestamps: () => log.push("<timestamps>"),
    quit: () => log.push("<quit>"),
  });
  const type = (keys: string) => mux.receive(new TextEncoder().encode(keys));
  return { mux, type, log, console: frontEnds[0], monitor: frontEnds[1] };
}

Deno.test("keys go to the console at first", () => {
  const { type, console, monitor } = shared();
  type("ls\r");
  assertEquals([console.log, monitor.log], [["ls\r"], []]);
});

Deno.test("Ctrl-A c switches to the monitor and back", () => {
  const { type, console, monitor } = shared();
  type(`a${CTRL_A}cb${CTRL_A}cd`);
  assertEquals(monitor.log, ["<focus>", "b"]);
  assertEquals(console.log, ["a", "<focus>", "d"]);
});

Deno.test("Ctrl-A c does nothing where there is nobody to switch to", () => {
  const { type, console } = shared({ users: 1 });
  type(`a${CTRL_A}cb`);
  assertEquals(console.log, ["a", "b"]);
});

Deno.test("the key after Ctrl-A may come later", () => {
  const { type, monitor } = shared();
  type(CTRL_A);
  type("c");
  assertEquals(monitor.log, ["<focus>"]);
});

Deno.test("Ctrl-A twice is Ctrl-A", () => {
  const { type, console } = shared();
  type(`a${CTRL_A}${CTRL_A}b`);
  assertEquals(console.log.join(""), `a${CTRL_A}b`);
});

Deno.test("Ctrl-A x says so and ends the machine", () => {
  const { type, log } = shared();
  type(`${CTRL_A}x`);
  assertEquals(log, ["\r\nsplitvm: Terminated\r\n", "<quit>"]);
});

Deno.test("Ctrl-A b sends a break to whoever has the focus", () => {
  const { type, console } = shared();
  type(`${CTRL_A}bh`);
  assertEquals(console.log, ["<break>", "h"]);
});

Deno.test("Ctrl-A t switches timestamps", () => {
  const { type, log } = shared();
  type(`${CTRL_A}t`);
  assertEquals(log, ["<timestamps>"]);
});

Deno.test("Ctrl-A h lists the keys, with the escape key by its name", () => {
  for (const [escapeKey, name] of [[1, "Ctrl-A"], [20, "Ctrl-T"]] as const) {
    const { type, log } = shared({ escapeKey });
    type(`${String.fromCharCode(escapeKey)}h`);
    assertEquals(log.length, 1);
    for (const key of ["h", "x", "c", "b", "t", name]) assertEquals(log[0].includes(`${name} ${key} `), true, key);
  }
});

Deno.test("another key after Ctrl-A does nothing, and does not reach the guest", () => {
  const { type, console, log } = shared();
  type(`a${CTRL_A}qb`);
  assertEquals([console.log, log], [["a", "b"], []]);
});

Deno.test("with another escape key, Ctrl-A is a key like any other", () => {
  const { type, console } = shared({ escapeKey: 20 });
  type(`${CTRL_A}c`);
  assertEquals(console.log, [`${CTRL_A}c`]);
});

Deno.test("there is as much room as for whoever has the focus", () => {
  const { mux, type, console } = shared();
  console.room = 3;
  assertEquals(mux.room, 3);
  type(`${CTRL_A}c`);
  assertEquals(mux.room, 100);
});

Deno.test("after a switch, no more than there is room for is handed on", () => {
  const { type, monitor } = shared();
  monitor.room = 2;
  type(`${CTRL_A}chelp`);
  assertEquals(monitor.log, ["<focus>", "he"]);
});

Deno.test("a new client is greeted by whoever has the focus, and begins without an escape key", () => {
  const { mux, type, console, monitor } = shared();
  type(CTRL_A);
  mux.renew();
  type("c");
  assertEquals([console.log, monitor.log], [["<renew>", "<focus>", "c"], ["<renew>"]]);
});

Deno.test("it does not matter how what is typed is cut into pieces", () => {
  const keys = fc.string({ unit: fc.constantFrom("a", "b", "c", "t", "x", "h", CTRL_A), maxLength: 30 });
  const outcome = (pieces: Iterable<string>) => {
    const { type, log, console, monitor } = shared();
    for (const piece of pieces) type(piece);
    // Neighbouring pieces of text are one text.
    const texts = ({ log }: Recorder) => log.join("");
    return [log, texts(console), texts(monitor)];
  };
  fc.assert(fc.property(keys, (typed) => assertEquals(outcome([typed]), outcome(typed))));
});

Deno.test("input waits in order for somebody who takes it piece by piece", () => {
  let taken = "";
  let appetite = 2;
  const queue = new InputQueue(10, (bytes) => {
    const piece = bytes.subarray(0, appetite);
    taken += new TextDecoder().decode(piece);
    appetite -= piece.length;
    return piece.length;
  });
  queue.push(new TextEncoder().encode("abcde"));
  assertEquals([taken, queue.room], ["ab", 7]);
  appetite = 1;
  queue.retry();
  appetite = 9;
  queue.push(new TextEncoder().encode("fg"));
  assertEquals([taken, queue.room], ["abcdefg", 10]);
});
