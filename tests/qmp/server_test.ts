import { assert, assertEquals, assertMatch } from "@std/assert";
import { EventLoop } from "../../src/event_loop.ts";
import { isOpenFd } from "../../src/ffi/file.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { connectTo } from "../../src/ffi/unix_socket.ts";
import { action, query, type Reply } from "../../src/qmp/commands.ts";
import { openEndpoints, type QmpEndpoint } from "../../src/qmp/endpoint.ts";
import { QmpServer } from "../../src/qmp/server.ts";
import { leakingNothing, leakingNothingAwaited } from "../support/leaks.ts";
import { TestClient } from "./client.ts";

/** A server with commands for tests, and clients of it. */
class Fixture {
  readonly log: string[] = [];
  readonly loop = new EventLoop();
  /** Answers to `later`, which the test gives. */
  readonly pending: Reply[] = [];
  readonly server: QmpServer;
  readonly #clients: TestClient[] = [];

  constructor(endpoints: readonly QmpEndpoint[]) {
    this.server = new QmpServer({
      watcher: this.loop,
      endpoints,
      commands: {
        "one": query(() => 1),
        "big": query(() => "x".repeat(300_000)),
        "fail": action(() => {
          throw new TypeError("oops");
        }),
        "later": { run: (_args, reply) => void this.pending.push(reply) },
        "named": {
          arguments: { name: { type: "string" }, force: { type: "boolean", optional: true } },
          run: ({ name }, reply) => reply(name),
        },
      },
      program: "test-1.0",
      log: (line) => this.log.push(line),
    });
  }

  client(fd: number): TestClient {
    const client = new TestClient(fd, () => this.settle());
    this.#clients.push(client);
    return client;
  }

  settle(): void {
    for (let turns = 0; this.loop.turn(false); turns++) assert(turns < 100_000, "the server does not come to rest");
  }

  close(): void {
    this.server.close();
    this.loop.close();
    for (const client of this.#clients) client.close();
  }
}

/** A test body with a server that one client is connected to. */
function connected(body: (client: TestClient, fixture: Fixture) => void, negotiate = true): () => void {
  return leakingNothing(() => {
    const [near, far] = createSocketPair();
    const fixture = new Fixture([{ id: "mon0", filename: "unix:fd=3", pretty: false, connected: near }]);
    try {
      const client = fixture.client(far);
      if (negotiate) {
        client.send({ execute: "qmp_capabilities" });
        assertEquals(client.take().length, 2);
      }
      body(client, fixture);
    } finally {
      fixture.close();
    }
  });
}

const error = (desc: string, errorClass = "GenericError") => ({ error: { class: errorClass, desc } });

Deno.test(
  "a client is greeted, negotiates, and then gives commands",
  connected((client) => {
    const [greeting] = client.take();
    assertEquals(greeting, {
      QMP: { version: { qemu: { micro: 0, minor: 2, major: 7 }, package: "test-1.0" }, capabilities: [] },
    });
    const expecting = error("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound");
    assertEquals(client.call("one"), expecting);
    assertEquals(client.call("qmp_capabilities", { enable: ["oob"] }), error("Capability 'oob' is not offered"));
    assertEquals(client.call("qmp_capabilities"), { return: {} });
    assertEquals(client.call("one"), { return: 1 });
    const complete = error("Capabilities negotiation is already complete, command ignored", "CommandNotFound");
    assertEquals(client.call("qmp_capabilities"), complete);
  }, false),
);

Deno.test(
  "commands that are sent at once are answered in order, each with its id",
  connected((client) => {
    client.send(
      '{"execute":"one","id":{"a":[1]}}{"execute":"nonesuch","id":"x"} {"execute":"one","id":18446744073709551615}',
    );
    assertEquals(client.take().map((message) => message.id), [{ a: [1] }, "x", 18446744073709552000]);
  }),
);

Deno.test(
  "what is wrong with a request is said, by QEMU's classes",
  connected((client) => {
    const answers: [string, unknown][] = [
      ['{"execute":"nonesuch"}', error("The command nonesuch has not been found", "CommandNotFound")],
      ['{"execute":"toString"}', error("The command toString has not been found", "CommandNotFound")],
      ["{}", error("QMP input lacks member 'execute'")],
      ['{"execute":1,"id":7}', { ...error("QMP input member 'execute' must be a string"), id: 7 }],
      ['{"exec-oob":"one"}', error("QMP input member 'exec-oob' is unexpected")],
      ['{"execute":"one","arguments":[]}', error("QMP input member 'arguments' must be an object")],
      ["[1]", error("QMP input must be a JSON object")],
      ["{'execute':'one'}", error("JSON parse error, not a JSON text")],
      ['{"execute":"one","arguments":{"x":1}}', error("Parameter 'x' is unexpected")],
      ['{"execute":"named"}', error("Parameter 'name' is missing")],
      ['{"execute":"named","arguments":{"name":1}}', error("Invalid parameter type for 'name', expected: string")],
      ['{"execute":"fail"}', error("internal error: oops")],
      ['{"execute":"named","arguments":{"name":"\u00e4"}}', { return: "ä" }],
    ];
    for (const [request, answer] of answers) {
      client.send(request);
      assertEquals(client.take(), [answer], request);
    }
  }),
);

Deno.test(
  "while a command is in progress, the client's next one waits, and events go on",
  connected((client, { pending, server }) => {
    client.send('{"execute":"later"}{"execute":"one"}');
    assertEquals(client.take(), []);
    server.emit("STOP");
    const [stop] = client.take();
    assertEquals([stop.event, "data" in stop], ["STOP", false]);
    assert(Number.isSafeInteger(stop.timestamp.seconds) && stop.timestamp.microseconds < 1e6);
    pending[0]("done");
    pending[0]("twice");
    assertEquals(client.take(), [{ return: "done" }, { return: 1 }]);
  }),
);

Deno.test(
  "a client that has not negotiated gets no events",
  connected((client, { server }) => {
    client.take();
    server.emit("STOP");
    assertEquals(client.take(), []);
  }, false),
);

Deno.test(
  "a client that asks without reading the answers is not asked on, and loses nothing",
  connected((client, fixture) => {
    for (let i = 0; i < 4; i++) client.send({ execute: "big" });
    fixture.settle();
    let answers: unknown[] = [];
    for (let i = 0; i < 100 && answers.length < 4; i++) answers = [...answers, ...client.take()];
    assertEquals(answers.length, 4);
  }),
);

Deno.test(
  "a client that reads no events is cut off, and nobody else",
  connected((client, fixture) => {
    const data = { text: "x".repeat(10_000) };
    for (let i = 0; i < 200; i++) fixture.server.emit("NOISE", data);
    fixture.settle();
    client.take();
    client.take();
    assert(client.ended);
    assertEquals(fixture.log, ["QMP on mon0: a client was cut off: it does not read what is sent to it"]);
  }),
);

Deno.test(
  "a client that goes away is no event, also in the middle of a command",
  connected((client, fixture) => {
    client.send('{"execute":"later"}{"exec');
    fixture.settle();
    client.close();
    fixture.settle();
    fixture.pending[0]({});
    fixture.settle();
    assertEquals(fixture.log, []);
    assert(!isOpenFd(client.fd));
  }),
);

/** A test body with a path for a socket. */
function withPath(body: (path: string) => Promise<void>): () => Promise<void> {
  return leakingNothingAwaited(async () => {
    const directory = Deno.makeTempDirSync({ prefix: "splitvm-qmp-" });
    try {
      await body(`${directory}/qmp.sock`);
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  });
}

const listenAt = (path: string) =>
  openEndpoints([{ id: "qmp0", transport: { kind: "listen", path, wait: false }, pretty: false }], () => {});

Deno.test(
  "a listening server has one client after the other, and takes its path away at the end",
  withPath(async (path) => {
    const { endpoints, close } = await listenAt(path);
    const fixture = new Fixture(endpoints);
    const first = fixture.client(connectTo(path));
    assertEquals(first.take().length, 1);
    const second = fixture.client(connectTo(path));
    assertEquals(second.take(), [], "the second client waits");
    first.send({ execute: "qmp_capabilities" });
    first.send({ execute: "query-chardev" });
    const chardev = { label: "qmp0", filename: `unix:${path},server=on`, "frontend-open": true };
    assertEquals(first.take().at(-1)?.return, [chardev]);
    first.send(new Uint8Array(65536).fill(0x5b));
    fixture.settle();
    first.close();
    assertEquals(second.take().length, 1);
    fixture.close();
    close();
    assertEquals([...Deno.readDirSync(path.replace(/\/[^/]*$/, ""))], []);
  }),
);

/** What opening fails with. */
async function refusal(path: string): Promise<string> {
  try {
    (await listenAt(path)).close();
  } catch (error) {
    return ((error as Error).cause as Error).message;
  }
  return "nothing";
}

Deno.test(
  "a socket that nobody listens at any more is replaced, another's and a file are not",
  withPath(async (path) => {
    const { endpoints, close } = await listenAt(path);
    assertMatch(await refusal(path), /is another process's, which listens there$/);
    const fixture = new Fixture(endpoints);
    fixture.close();
    Deno.renameSync(path, `${path}.old`);
    close();
    assertEquals(await refusal(`${path}.old`), "nothing");
    Deno.writeTextFileSync(path, "text");
    assertMatch(await refusal(path), /is there already, and is no socket$/);
    assertEquals(Deno.readTextFileSync(path), "text");
  }),
);
