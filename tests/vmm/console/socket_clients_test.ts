import { assertEquals } from "@std/assert";
import { closeFd, openFile, OpenFlags, readFd, writeFd } from "../../../src/ffi/file.ts";
import { closeAll, createSocketPair, MessageSocket } from "../../../src/ffi/socket.ts";
import { connectTo, listenAt } from "../../../src/ffi/unix_socket.ts";
import { Output } from "../../../src/vmm/console/output.ts";
import { SocketClients } from "../../../src/vmm/console/socket_clients.ts";
import { Watches } from "../../../src/watches.ts";
import { openDescriptors } from "../../support/leaks.ts";

/** At most so long for what should come, in milliseconds. */
const LONG = 30_000;

/** A device on a socket that listens. */
class Bench {
  readonly folder = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
  readonly path = `${this.folder}/socket`;
  readonly watches = new Watches();
  readonly log: string[] = [];
  readonly nowhere = openFile("/dev/null", OpenFlags.O_WRONLY);
  readonly output = openFile("/dev/null", OpenFlags.O_WRONLY);
  readonly clients: SocketClients;
  readonly #socket = listenAt(this.path);

  constructor() {
    const receive = (bytes: Uint8Array) => void this.log.push(new TextDecoder().decode(bytes));
    this.clients = new SocketClients({
      ...{ listener: this.#socket.fd, client: undefined, output: this.output, nowhere: this.nowhere },
      watcher: this.watches,
      receiver: { room: 1000, receive },
      onClient: () => this.log.push("<client>"),
      log: (line) => this.log.push(`<log: ${line}>`),
    });
  }

  turnUntil(done: () => boolean): void {
    for (const deadline = performance.now() + LONG; !done();) {
      if (performance.now() > deadline) throw new Error(`The log stays ${JSON.stringify(this.log)}`);
      this.watches.wait(100);
    }
  }

  dispose(): void {
    this.clients.disconnect();
    this.watches.close();
    this.#socket.close();
    closeAll([this.output, this.nowhere]);
    Deno.removeSync(this.folder, { recursive: true });
  }
}

function withBench(body: (bench: Bench) => void): void {
  const bench = new Bench();
  try {
    body(bench);
  } finally {
    bench.dispose();
  }
}

function send(fd: number, text: string): void {
  writeFd(fd, new TextEncoder().encode(text));
}

function read(fd: number): string {
  const piece = new Uint8Array(100);
  return new TextDecoder().decode(piece.subarray(0, readFd(fd, piece)));
}

Deno.test("output goes to the client that is there, and is dropped in between", () => {
  withBench((bench) => {
    const output = new Output({ fd: bench.output });
    for (const text of ["first", "second"]) {
      output.print("lost");
      const client = connectTo(bench.path);
      bench.turnUntil(() => bench.clients.connected);
      output.print(text);
      assertEquals(read(client), text);
      closeFd(client);
      bench.turnUntil(() => !bench.clients.connected);
    }
  });
});

Deno.test("what clients send arrives in order, each client after the other", () => {
  withBench((bench) => {
    for (const text of ["first", "second"]) {
      const client = connectTo(bench.path);
      send(client, text);
      closeFd(client);
      bench.turnUntil(() => bench.log.at(-1) === text);
      bench.turnUntil(() => !bench.clients.connected);
    }
    assertEquals(bench.log, ["<client>", "first", "<client>", "second"]);
  });
});

Deno.test("a client that is sent away sees the end, and makes room for the next", () => {
  withBench((bench) => {
    const first = connectTo(bench.path);
    bench.turnUntil(() => bench.clients.connected);
    bench.clients.disconnect();
    assertEquals(read(first), "");
    const second = connectTo(bench.path);
    bench.turnUntil(() => bench.clients.connected);
    closeAll([first, second]);
  });
});

Deno.test("clients leave no descriptor behind", () => {
  withBench((bench) => {
    const before = openDescriptors();
    for (let i = 0; i < 300; i++) {
      const client = connectTo(bench.path);
      if (i % 2 === 0) send(client, "garbage");
      closeFd(client);
      bench.turnUntil(() => bench.log.filter((line) => line === "<client>").length > i && !bench.clients.connected);
    }
    assertEquals(openDescriptors(), before);
  });
});

Deno.test("descriptors that a client sends along are closed", () => {
  withBench((bench) => {
    const client = connectTo(bench.path);
    bench.turnUntil(() => bench.clients.connected);
    const before = openDescriptors();
    const pair = createSocketPair();
    new MessageSocket(client).send(new TextEncoder().encode("x"), 0, 1, pair, true);
    bench.turnUntil(() => bench.log.at(-1) === "x");
    closeAll(pair);
    assertEquals(openDescriptors(), before);
    closeFd(client);
  });
});
