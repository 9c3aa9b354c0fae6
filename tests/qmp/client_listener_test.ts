import { assertEquals, assertMatch } from "@std/assert";
import { closeFd, redirectFd, writeFd } from "../../src/ffi/file.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { connectTo, listenAt } from "../../src/ffi/unix_socket.ts";
import { ClientListener } from "../../src/qmp/client_listener.ts";
import { Watches } from "../../src/watches.ts";
import { leakingNothing } from "../support/leaks.ts";

/** At most so long for what should come, in milliseconds. */
const LONG = 30_000;

/** A listener whose socket the test provides. */
class Bench {
  readonly watches = new Watches();
  readonly clients: number[] = [];
  readonly log: string[] = [];
  readonly listener: ClientListener;

  constructor(socket: number) {
    this.listener = new ClientListener({
      ...{ socket, watcher: this.watches, retryPeriod: 1e6 },
      onClient: (fd) => this.clients.push(fd),
      log: (line) => this.log.push(line),
    });
  }

  turnUntil(done: () => boolean): void {
    for (const deadline = performance.now() + LONG; !done();) {
      if (performance.now() > deadline) throw new Error(`The log stays ${JSON.stringify(this.log)}`);
      this.watches.wait(100);
    }
  }

  close(): void {
    this.listener.close();
    this.watches.close();
    this.clients.forEach(closeFd);
  }
}

/** A test body with a socket that listens at a path. */
function withSocket(body: (path: string, socket: number) => void): () => void {
  return leakingNothing(() => {
    const folder = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
    const socket = listenAt(`${folder}/socket`);
    try {
      body(`${folder}/socket`, socket.fd);
    } finally {
      socket.close();
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

Deno.test(
  "one client is taken each time",
  withSocket((path, socket) => {
    const bench = new Bench(socket);
    const clients = [connectTo(path), connectTo(path)];
    bench.watches.wait(0);
    assertEquals(bench.clients.length, 0);
    bench.listener.listen();
    bench.turnUntil(() => bench.clients.length === 1);
    assertEquals(bench.watches.wait(0), 0, "the second waits");
    bench.listener.listen();
    bench.turnUntil(() => bench.clients.length === 2);
    assertEquals(bench.log, []);
    clients.forEach(closeFd);
    bench.close();
  }),
);

Deno.test(
  "a client that cannot be taken is tried again, and said once to have failed",
  withSocket((path, socket) => {
    // Something is there to be accepted, which fails: the socket does not listen.
    const [fails, peer] = createSocketPair();
    writeFd(peer, new Uint8Array(1));
    const bench = new Bench(fails);
    bench.listener.listen();
    bench.turnUntil(() => bench.log.length > 0);
    for (let i = 0; i < 10; i++) bench.watches.wait(100);
    assertMatch(bench.log.join(), /^cannot take a client, and tries again: accept\(\d+\): EINVAL$/);
    const client = connectTo(path);
    redirectFd(socket, fails);
    bench.turnUntil(() => bench.clients.length === 1);
    bench.close();
    [client, fails, peer].forEach(closeFd);
  }),
);
