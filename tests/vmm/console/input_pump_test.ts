import { assertEquals } from "@std/assert";
import { closeFd, createPipe, openFile, OpenFlags, writeFd } from "../../../src/ffi/file.ts";
import { closeAll, createSocketPair } from "../../../src/ffi/socket.ts";
import { openPseudoTerminal } from "../../../src/ffi/terminal.ts";
import { InputPump, type InputPumpOptions } from "../../../src/vmm/console/input_pump.ts";
import { Watches } from "../../../src/watches.ts";
import { openSlave } from "../../support/terminal.ts";

/** How long a test looks for what should not come, and at most for what should, in milliseconds. */
const [SHORT, LONG] = [20, 30_000];

/** A pump that writes down what it does, and the loop that it runs on. */
class Bench {
  readonly watches = new Watches();
  readonly log: string[] = [];
  readonly pump: InputPump;
  room = 1000;

  constructor(fd: number, kind: InputPumpOptions["kind"]) {
    // The room changes while the test goes on.
    const hasRoom = () => this.room;
    const receiver = {
      get room() {
        return hasRoom();
      },
      receive: (bytes: Uint8Array) => void this.log.push(new TextDecoder().decode(bytes)),
    };
    this.pump = new InputPump({
      ...{ fd, kind, receiver, watcher: this.watches },
      onReturn: () => this.log.push("<return>"),
      onEnd: (why) => this.log.push(why === undefined ? "<end>" : `<end: ${why}>`),
    });
  }

  /** Waits until the last of the log is `last`. */
  async until(last: string): Promise<void> {
    for (const deadline = performance.now() + LONG; this.log.at(-1) !== last;) {
      if (performance.now() > deadline) throw new Error(`The log stays ${JSON.stringify(this.log)}`);
      await this.turn();
    }
  }

  /** A turn of both loops, the watcher's and that of the timers. */
  async turn(): Promise<void> {
    this.watches.wait(SHORT);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }

  close(): void {
    this.pump.close();
    this.watches.close();
  }
}

function send(fd: number, text: string): void {
  writeFd(fd, new TextEncoder().encode(text));
}

Deno.test("a stream's input is handed on as it comes, and its end is told", async () => {
  const [reader, writer] = createPipe();
  const bench = new Bench(reader, "stream");
  send(writer, "one");
  await bench.until("one");
  send(writer, "two");
  closeFd(writer);
  await bench.until("<end>");
  assertEquals(bench.log, ["one", "two", "<end>"]);
  bench.close();
  closeFd(reader);
});

Deno.test("no more is read than there is room for, and the rest once there is", async () => {
  const [reader, writer] = createPipe();
  const bench = new Bench(reader, "stream");
  bench.room = 3;
  send(writer, "abcdef");
  await bench.until("abc");
  bench.room = 0;
  bench.pump.update();
  await bench.turn();
  bench.room = 1000;
  bench.pump.update();
  await bench.until("def");
  bench.close();
  closeAll([reader, writer]);
});

Deno.test("a stream without room may end, and keeps what it holds", async () => {
  const [reader, writer] = createPipe();
  const bench = new Bench(reader, "stream");
  bench.room = 0;
  bench.pump.update();
  send(writer, "late");
  closeFd(writer);
  await bench.turn();
  assertEquals(bench.log, []);
  bench.room = 1000;
  bench.pump.update();
  await bench.until("<end>");
  assertEquals(bench.log, ["late", "<end>"]);
  bench.close();
  closeFd(reader);
});

Deno.test("a socket without room is given up when its peer goes", async () => {
  const [near, far] = createSocketPair();
  const bench = new Bench(near, "socket");
  bench.room = 0;
  bench.pump.update();
  send(far, "lost");
  await bench.turn();
  assertEquals(bench.log, []);
  closeFd(far);
  await bench.until("<end>");
  bench.close();
  closeFd(near);
});

Deno.test("a regular file and /dev/null can be read, of which epoll does not tell", async () => {
  const path = Deno.makeTempFileSync({ prefix: "splitvm-test-" });
  Deno.writeTextFileSync(path, "abcdef");
  for (const [name, log] of [[path, ["abc", "def", "<end>"]], ["/dev/null", ["<end>"]]] as const) {
    const fd = openFile(name, OpenFlags.O_RDONLY);
    const bench = new Bench(fd, "stream");
    bench.room = 3;
    await bench.until("<end>");
    assertEquals(bench.log, [...log]);
    bench.close();
    closeFd(fd);
  }
  Deno.removeSync(path);
});

Deno.test("a pseudo-terminal goes on when it is opened again, and its return is told", async () => {
  const { master, path } = openPseudoTerminal();
  const bench = new Bench(master, "pty");
  for (const text of ["first", "second"]) {
    const slave = openSlave(path);
    send(slave, text);
    await bench.until(text);
    closeFd(slave);
    await bench.turn();
  }
  assertEquals(bench.log, ["<return>", "first", "<return>", "second"]);
  bench.close();
  closeFd(master);
});

Deno.test("a pseudo-terminal that waited for room is read once there is some", async () => {
  const { master, path } = openPseudoTerminal();
  const bench = new Bench(master, "pty");
  const slave = openSlave(path);
  bench.room = 0;
  send(slave, "late");
  await bench.turn();
  assertEquals(bench.log, []);
  bench.room = 1000;
  bench.pump.update();
  await bench.until("late");
  bench.close();
  closeAll([slave, master]);
});

Deno.test("a pump that was closed reads no more", async () => {
  const [reader, writer] = createPipe();
  const bench = new Bench(reader, "stream");
  bench.pump.close();
  send(writer, "late");
  await bench.turn();
  assertEquals(bench.log, []);
  bench.close();
  closeAll([reader, writer]);
});
