/**
 * A QMP server and a hostile client: an input is what the client sends, in pieces, and how much it reads of the
 * answers.
 *
 * @module
 */
import type { ByteStream } from "../../../src/qmp/byte_stream.ts";
import { action, type Commands, query } from "../../../src/qmp/commands.ts";
import type { Watcher } from "../../../src/qmp/connection.ts";
import { Ready } from "../../../src/ffi/event.ts";
import { QmpSession } from "../../../src/qmp/session.ts";
import { ByteReader } from "../engine/byte_reader.ts";
import { input } from "../engine/byte_writer.ts";
import type { Features } from "../engine/features.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";

const Kind = { ANSWER: 0, END: 1 } as const;

/** How a piece is preceded: its length, with a bit for a client that reads nothing for now. */
const READS_NOTHING = 0x80;

/** A client in this process: one number stands for its socket, and readiness is what the client makes it. */
class Client implements ByteStream, Watcher {
  readonly input = 3;
  readonly output = 3;
  ended = false;
  received = "";
  #room = Infinity;
  #arrived = new Uint8Array(0);
  readonly #watches = new Map<object, { readonly events: number; readonly ready: (events: number) => void }>();
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });

  receive(into: Uint8Array<ArrayBuffer>): number {
    if (this.#arrived.length === 0) return -1;
    const part = this.#arrived.subarray(0, into.length);
    this.#arrived = this.#arrived.subarray(part.length);
    into.set(part);
    return part.length;
  }

  send(bytes: Uint8Array<ArrayBuffer>): number {
    if (this.#room === 0) return -1;
    this.received += this.#decoder.decode(bytes, { stream: true });
    return bytes.length;
  }

  close(): void {
    this.ended = true;
  }

  watch(_fd: number, events: number, ready: (events: number) => void) {
    const key = { modify() {}, cancel: () => void this.#watches.delete(key) };
    this.#watches.set(key, { events, ready });
    return key;
  }

  /** Sends bytes, and lets the server work. @param reads Whether the client takes answers meanwhile. */
  say(bytes: Uint8Array, reads = true): void {
    this.#arrived = Uint8Array.of(...this.#arrived, ...bytes);
    this.#room = reads ? Infinity : 0;
    for (let turns = 0; this.#turn(); turns++) invariant(turns < 10_000, "the server does not come to rest");
  }

  #turn(): boolean {
    const available = (this.#arrived.length > 0 ? Ready.IN : 0) | (this.#room > 0 ? Ready.OUT : 0);
    const due = [...this.#watches.values()].filter(({ events }) => (events & available) !== 0);
    for (const { events, ready } of due) ready(events & available);
    return due.length > 0;
  }
}

const COMMANDS: Commands = {
  "query-status": query(() => ({ running: true })),
  "stop": action(() => {}),
  "fails": query(() => {
    throw new Error("Cannot do that");
  }),
  "set": {
    arguments: {
      name: { type: "string" },
      on: { type: "boolean", optional: true },
      list: { type: "array", optional: true },
      n: { type: "integer", optional: true },
    },
    run: ({ name }, reply) => reply({ name }),
  },
};

function converse(bytes: Uint8Array, features: Features): void {
  const client = new Client();
  const session = new QmpSession({
    ...{ stream: client, watcher: client, commands: COMMANDS, program: "splitvm", pretty: false },
    onEnd: (why) => features.message(Kind.END, why ?? ""),
  });
  const reader = new ByteReader(bytes);
  while (!reader.done) {
    const how = reader.u8();
    client.say(reader.bytes(how & ~READS_NOTHING), (how & READS_NOTHING) === 0);
  }
  client.say(new Uint8Array(0));
  invariant(!client.ended, "the server has hung up on a client that reads its answers");
  checkAnswers(client.received, features);
  client.received = "";
  // A byte 0xff brings any reader to its senses (QMP specification).
  const encoder = new TextEncoder();
  client.say(input(0xff, encoder.encode('\n{"execute":"qmp_capabilities"}{"execute":"query-status","id":"fuzz"}')));
  invariant(
    client.received.includes('"return":{"running":true},"id":"fuzz"') ||
      client.received.includes('"id":"fuzz","return":{"running":true}'),
    `no answer but ${client.received}`,
  );
  session.close();
}

function checkAnswers(text: string, features: Features): void {
  const lines = text.split("\r\n");
  invariant(lines.pop() === "", "an answer is cut off");
  for (const line of lines) {
    const answer = JSON.parse(line) as Record<string, { readonly desc?: string } | undefined>;
    features.message(
      Kind.ANSWER,
      answer.error?.desc?.replace(/^The command .* has/s, "The command has") ?? Object.keys(answer).join(),
    );
  }
}

function conversation(name: string, ...pieces: readonly string[]): Seed {
  const encoder = new TextEncoder();
  const bytes = pieces.flatMap((piece) => {
    const encoded = encoder.encode(piece);
    return [encoded.length, ...encoded];
  });
  return { name, bytes: Uint8Array.from(bytes) };
}

/** See the module. */
export function qmpTarget(): Target {
  const hello = '{"execute":"qmp_capabilities"}';
  const deep = "[".repeat(100);
  return {
    name: "qmp",
    maxLength: 4096,
    dictionary: [
      hello,
      '{"execute":"',
      '","arguments":{',
      '"id":',
      "{",
      "}",
      "[",
      "]",
      '"',
      "\\u0000",
      "\\ud800",
      "1e999",
      "18446744073709551615",
      "null",
      "\n",
      "set",
      '"name":"',
      "\xff",
    ]
      .map((word) => new TextEncoder().encode(word)),
    seeds: [
      conversation(
        "session",
        hello,
        '{"execute":"query-status","id":1}\n',
        '{"execute":"set","arguments":{"name":"a","on":true}}',
      ),
      conversation("before-negotiation", '{"execute":"query-status"}'),
      conversation("unknown", hello, '{"execute":"nonesuch"}', '{"execute":"__proto__"}', '{"execute":"constructor"}'),
      conversation(
        "arguments",
        hello,
        '{"execute":"set"}',
        '{"execute":"set","arguments":{"name":1}}',
        '{"execute":"set","arguments":{"__proto__":1,"name":""}}',
      ),
      conversation("not-json", hello, "{,}", "[1,2]", "nonsense\n", '{"execute":1}', '{"id":{"a":[1]}}'),
      conversation("deep", deep, deep, "\n", hello),
      conversation("failing", hello, '{"execute":"fails","id":"x"}', '{"execute":"stop"}'),
      conversation(
        "numbers",
        hello,
        '{"execute":"stop","id":123456789012345678901234567890}',
        '{"execute":"set","arguments":{"name":"a","n":1e400}}',
      ),
      conversation("capabilities", '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}', hello, hello),
    ],
    run: converse,
  };
}
