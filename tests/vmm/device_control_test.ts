import { assert, assertEquals } from "@std/assert";
import { EventLoop } from "../../src/event_loop.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import type { BlockIoError } from "../../src/qmp/block_info.ts";
import { DeviceControl } from "../../src/vmm/device_control.ts";
import { leakingNothing } from "../support/leaks.ts";
import { TestClient } from "../qmp/client.ts";

const GREETING = { QMP: { version: {}, capabilities: [] } };
const ERROR = { device: "d0", operation: "write", action: "stop", nospace: true, reason: "ENOSPC" } as const;

/** A control link, with the test as the device process. */
class Fixture {
  readonly log: string[] = [];
  readonly errors: BlockIoError[] = [];
  readonly control: DeviceControl;
  /** The process's end. */
  readonly process: TestClient;
  now = 0;
  readonly #loop = new EventLoop();

  constructor() {
    const [near, far] = createSocketPair();
    this.process = new TestClient(far, () => this.settle());
    this.control = new DeviceControl({
      ...{ id: "lsi0", fd: near, drives: ["d0"], watcher: this.#loop, now: () => this.now },
      onBlockError: (error) => void this.errors.push(error),
      log: (line) => void this.log.push(line),
    });
  }

  settle(): void {
    for (let turns = 0; this.#loop.turn(false); turns++) assert(turns < 100_000, "the link does not come to rest");
  }

  /** The process sends messages, one on each line. */
  say(...messages: unknown[]): void {
    this.process.send(messages.map((message) => JSON.stringify(message)).join("\r\n"));
    this.settle();
  }

  tell(error: unknown): void {
    this.say({ timestamp: {}, event: "BLOCK_IO_ERROR", data: error });
  }

  close(): void {
    this.process.close();
    this.settle();
    this.#loop.close();
  }
}

/** A test body with a link that is up. */
function connected(body: (fixture: Fixture) => void): () => void {
  return leakingNothing(() => {
    const fixture = new Fixture();
    try {
      fixture.say(GREETING, { return: {} });
      assertEquals(fixture.process.take(), [{ execute: "qmp_capabilities" }]);
      body(fixture);
    } finally {
      fixture.close();
    }
  });
}

Deno.test(
  "an error is passed on, before and after the process is told to go on",
  connected((fixture) => {
    fixture.tell(ERROR);
    assertEquals(fixture.errors, [ERROR]);
    let done = 0;
    fixture.control.resume(() => done++);
    assertEquals(fixture.process.take(), [{ execute: "cont" }]);
    fixture.tell(ERROR);
    assertEquals([fixture.errors.length, done], [2, 0]);
    fixture.say({ return: {} });
    fixture.tell(ERROR);
    assertEquals([fixture.errors.length, done], [3, 1]);
  }),
);

Deno.test(
  "answers go to whoever asked",
  connected((fixture) => {
    const answers: unknown[] = [];
    fixture.control.queryBlock((answer) => answers.push(answer));
    fixture.control.queryBlock((answer) => answers.push(answer));
    fixture.say({ return: [1] }, { event: "RESUME" }, { error: { class: "GenericError", desc: "no" } });
    assertEquals(answers, [[1], undefined]);
  }),
);

Deno.test(
  "a process that goes away leaves nobody waiting, and its end is not told of here",
  connected((fixture) => {
    const answers: unknown[] = [];
    fixture.tell(ERROR);
    fixture.control.queryBlock((answer) => answers.push(answer));
    fixture.process.close();
    fixture.settle();
    fixture.control.queryBlock((answer) => answers.push(answer));
    assertEquals([answers, fixture.log], [[undefined, undefined], []]);
  }),
);

const UNEXPECTED: [string, unknown, string][] = [
  ["an event that is not expected", { event: "DEVICE_DELETED" }, "an unexpected event DEVICE_DELETED"],
  ["an answer to nothing", { return: {} }, "an answer to nothing"],
  ["something that is no message", [1], "a message that is no object"],
  ["a command", { execute: "quit" }, "a message that is neither an event nor an answer"],
  ...[
    { ...ERROR, device: "d1" },
    { ...ERROR, action: "panic" },
    { ...ERROR, operation: "erase" },
    { device: "d0" },
    null,
  ]
    .map((data): [string, unknown, string] => [
      `an error ${JSON.stringify(data)}`,
      { event: "BLOCK_IO_ERROR", data },
      "a BLOCK_IO_ERROR that tells of no error of its drives",
    ]),
];

for (const [name, message, why] of UNEXPECTED) {
  Deno.test(
    `${name} closes the link with one line`,
    connected((fixture) => {
      fixture.say(message);
      assertEquals(fixture.process.take(), []);
      assertEquals(fixture.process.ended, true);
      assertEquals([fixture.log, fixture.errors], [[`device lsi0: the control link is closed: ${why}`], []]);
    }),
  );
}

Deno.test(
  "a process may send a burst of messages, and then so many in each second",
  connected((fixture) => {
    for (let i = 0; i < 4000; i++) fixture.tell({ ...ERROR, action: "report" });
    assertEquals([fixture.errors.length, fixture.log], [4000, []]);
    fixture.now += 1000;
    for (let i = 0; i < 300; i++) fixture.tell({ ...ERROR, action: "report" });
    assertEquals(fixture.log, []);
    for (let i = 0; i < 300 && fixture.log.length === 0; i++) fixture.tell({ ...ERROR, action: "report" });
    assertEquals(fixture.log, ["device lsi0: the control link is closed: too many messages"]);
  }),
);

Deno.test(
  "a reason is made fit for one line",
  connected((fixture) => {
    fixture.tell({ ...ERROR, reason: `a\n\x1b[31m${"b".repeat(500)}` });
    const [{ reason }] = fixture.errors;
    assert(reason.startsWith("a??[31mbbb") && reason.length < 100, reason);
  }),
);
