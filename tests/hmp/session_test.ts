import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { HmpSession, KEY_LIMIT } from "../../src/hmp/session.ts";
import { action, type Command, type Commands, query, type Reply } from "../../src/qmp/commands.ts";
import { QmpError } from "../../src/qmp/protocol.ts";
import { runs } from "../support/runs.ts";
import { TerminalModel } from "./terminal_model.ts";

/** A session, what it wrote, and the commands that were given. */
class Fixture {
  readonly terminal = new TerminalModel();
  readonly given: string[] = [];
  readonly busy: boolean[] = [];
  left = 0;
  /** Answers to `cont`, which are given by hand. */
  readonly replies: Reply[] = [];
  readonly session: HmpSession;
  #text = "";

  constructor(commands: Commands = {}) {
    this.session = new HmpSession({
      version: "1.2.3",
      commands: { ...this.#commands(), ...commands },
      write: (text) => {
        this.#text += text;
        this.terminal.write(text);
      },
      onLeave: () => this.left++,
      onBusy: (busy) => this.busy.push(busy),
    });
    this.session.open();
  }

  #commands(): Commands {
    const noted = (name: string, command: Command): Commands => ({
      [name]: {
        run: (args, reply) => {
          this.given.push(name);
          command.run(args, reply);
        },
      },
    });
    return {
      ...noted("stop", action(() => {})),
      ...noted("cont", { run: (_args, reply) => void this.replies.push(reply) }),
      ...noted("quit", action(() => {})),
      ...noted("system_reset", action(() => {})),
      "query-status": query(() => ({ running: true, status: "running" })),
      "query-name": query(() => ({ name: "a\x1b[2Jb\u202e" })),
    };
  }

  type(text: string): void {
    this.session.receive(new TextEncoder().encode(text));
  }

  /** What was written since the last call. */
  take(): string {
    const text = this.#text;
    this.#text = "";
    return text;
  }

  /** Types a line, and returns the rows of its answer. */
  ask(line: string): string[] {
    this.terminal.write("\x1b[H\x1b[2J");
    this.type(`${line}\n`);
    const { rows } = this.terminal;
    assertEquals(rows.at(-1), "(splitvm) ");
    return rows.slice(1, -1);
  }
}

Deno.test("a monitor greets with the version, and prompts", () => {
  assertEquals(new Fixture().take(), "splitvm 1.2.3 monitor - type 'help' for more information\r\n(splitvm) ");
});

Deno.test("a command without a result is answered by the next prompt", () => {
  const fixture = new Fixture();
  assertEquals([fixture.ask("stop"), fixture.given], [[], ["stop"]]);
});

Deno.test("commands can be given by their aliases, and between blanks", () => {
  const fixture = new Fixture();
  fixture.type("s\n   system_reset  \nq\n");
  assertEquals(fixture.given, ["stop", "system_reset", "quit"]);
});

Deno.test("an empty line is answered by the next prompt", () => {
  assertEquals([new Fixture().ask(""), new Fixture().ask("   ")], [[], []]);
});

Deno.test("a command that is not answered at once keeps the prompt back", () => {
  const fixture = new Fixture();
  fixture.take();
  fixture.type("c\n");
  assertEquals(fixture.take(), "c\r\n");
  fixture.replies[0]({});
  assertEquals(fixture.take(), "(splitvm) ");
});

Deno.test("what is typed meanwhile counts afterwards, in order", () => {
  const fixture = new Fixture();
  fixture.type("c\nstop\nc\nsystem_");
  fixture.type("reset\ninf");
  assertEquals(fixture.given, ["cont"]);
  fixture.replies[0]({});
  assertEquals(fixture.given, ["cont", "stop", "cont"]);
  fixture.replies[1]({});
  assertEquals(fixture.given, ["cont", "stop", "cont", "system_reset"]);
  assertEquals(fixture.terminal.line, "(splitvm) inf");
});

Deno.test("no more than 4096 keys are kept meanwhile", () => {
  const fixture = new Fixture();
  fixture.type(`c\n${"\n".repeat(KEY_LIMIT)}stop\n`);
  fixture.replies[0]({});
  assertEquals([KEY_LIMIT, fixture.given], [4096, ["cont"]]);
});

Deno.test("who brings keys is told when they have to wait, and when no longer", () => {
  const fixture = new Fixture();
  fixture.type("stop\nc\nc\n");
  assertEquals(fixture.busy, [true]);
  fixture.replies[0]({});
  assertEquals(fixture.busy, [true]);
  fixture.replies[1]({});
  assertEquals(fixture.busy, [true, false]);
});

Deno.test("a second answer to the same command is ignored", () => {
  const fixture = new Fixture();
  fixture.type("c\n");
  fixture.replies[0]({});
  fixture.take();
  fixture.replies[0]({});
  assertEquals(fixture.take(), "");
});

Deno.test("why a command cannot be carried out is told", () => {
  const refuse: Command = {
    run() {
      throw new QmpError("the machine is ending");
    },
  };
  assertEquals(new Fixture({ system_reset: refuse }).ask("system_reset"), ["Error: the machine is ending"]);
});

Deno.test("an answer that cannot be understood is an error, not the end", () => {
  const fixture = new Fixture({ "query-cpus-fast": query(() => 7) });
  const [line, ...more] = fixture.ask("info cpus");
  assert(line.startsWith("Error: "));
  assertEquals(more, []);
});

Deno.test("an unknown command is answered by one line, with a near one if there is", () => {
  const fixture = new Fixture();
  assertEquals(fixture.ask("stp now"), ["unknown command: 'stp'; did you mean 'stop'?"]);
  assertEquals(fixture.ask("device_add e1000"), ["unknown command: 'device_add'"]);
  assertEquals(fixture.ask("info statsu"), ["unknown command: 'info statsu'; did you mean 'info status'?"]);
});

Deno.test("a command that begins like another is not that one", () => {
  const fixture = new Fixture();
  fixture.ask("sto");
  assertEquals(fixture.given, []);
});

Deno.test("more words than a command takes are an error, and it is not carried out", () => {
  const fixture = new Fixture();
  assertEquals(fixture.ask("stop now"), ["stop: unexpected 'now'; try 'help stop'"]);
  assertEquals(fixture.ask("info status -v"), ["status: unexpected '-v'; try 'help info status'"]);
  assertEquals(fixture.given, []);
});

Deno.test("an option that a command does not know is an error", () => {
  const fixture = new Fixture({ "query-block": query(() => []) });
  assertEquals(fixture.ask("info block -vn"), ["block: unexpected '-n'; try 'help info block'"]);
});

Deno.test("help lists the commands that can be carried out, with their aliases", () => {
  const names = new Fixture().ask("help").map((line) => line.split(" -- ")[0]);
  assertEquals(names, ["cont|c", "help|? [command]", "info [topic]", "quit|q", "stop|s", "system_reset"]);
});

Deno.test("help tells about one command by any of its names, or about one topic", () => {
  const fixture = new Fixture();
  assertEquals(fixture.ask("help s"), ["stop|s -- has the machine stand still"]);
  assertEquals(fixture.ask("? stop"), ["stop|s -- has the machine stand still"]);
  assertEquals(fixture.ask("help info name"), ["info name -- the machine's name"]);
  assertEquals(fixture.ask("help system_powerdown"), ["unknown command: 'system_powerdown'"]);
});

Deno.test("info alone lists its topics, as help does", () => {
  const fixture = new Fixture();
  const topics = fixture.ask("info");
  assertEquals(topics.map((line) => line.split(" -- ")[0]), [
    "info history",
    "info name",
    "info status",
    "info version",
  ]);
  assertEquals(fixture.ask("help info"), topics);
});

Deno.test("info tells about the machine", () => {
  const fixture = new Fixture();
  assertEquals(fixture.ask("info status"), ["VM status: running"]);
  assertEquals(fixture.ask("info version"), ["1.2.3"]);
});

Deno.test("info history lists what was entered, itself included", () => {
  const fixture = new Fixture();
  fixture.ask("stop");
  assertEquals(fixture.ask("info history"), ["0: 'stop'", "1: 'info history'"]);
});

Deno.test("control characters in answers are spelt out", () => {
  assertEquals(new Fixture().ask("info name"), ["a\\x1b[2Jb\\u202e"]);
});

Deno.test("Tab completes commands, topics, and what help is for", () => {
  const cases = {
    "sy\t": "system_reset ",
    "info st\t": "info status ",
    "? st\t": "? stop ",
    "help info na\t": "help info name ",
  };
  for (const [typed, line] of Object.entries(cases)) {
    const { session, terminal } = new Fixture();
    session.receive(new TextEncoder().encode(typed));
    assertEquals(terminal.line, `(splitvm) ${line}`.trimEnd() + " ");
  }
});

Deno.test("Ctrl-D on an empty line is the wish to leave, on any other nothing", () => {
  const fixture = new Fixture();
  fixture.type("st\x04op\n");
  assertEquals([fixture.left, fixture.given], [0, ["stop"]]);
  fixture.type("\x04");
  assertEquals(fixture.left, 1);
});

Deno.test("Ctrl-C drops the line", () => {
  const fixture = new Fixture();
  fixture.type("quit\x03stop\n");
  assertEquals(fixture.given, ["stop"]);
});

Deno.test("after quit there is no prompt, and nothing more is taken", () => {
  const fixture = new Fixture();
  fixture.take();
  fixture.type("q\nstop\n");
  assertEquals([fixture.take(), fixture.given], ["q\r\n", ["quit"]]);
});

Deno.test("a refreshed session shows the prompt and the line so far", () => {
  const fixture = new Fixture();
  fixture.type("info\x02");
  fixture.terminal.write("\r\n");
  fixture.session.refresh();
  assertEquals([fixture.terminal.line, fixture.terminal.column], ["(splitvm) info", "(splitvm) inf".length]);
});

Deno.test("a session that is refreshed during a command shows nothing before the answer", () => {
  const fixture = new Fixture();
  fixture.type("c\n");
  fixture.take();
  fixture.session.refresh();
  assertEquals(fixture.take(), "");
});

Deno.test("a closed session writes and takes nothing, even when an answer comes", () => {
  const fixture = new Fixture();
  fixture.type("c\n");
  fixture.take();
  fixture.session.close();
  fixture.replies[0]({});
  fixture.type("stop\n");
  fixture.session.refresh();
  assertEquals([fixture.take(), fixture.given], ["", ["cont"]]);
});

Deno.test("a session that is closed because text cannot be written writes no more", () => {
  let written = 0;
  const session = new HmpSession({
    version: "1.2.3",
    commands: {},
    write: () => {
      written++;
      session.close();
    },
  });
  session.receive(new TextEncoder().encode("help\nhelp\n"));
  assertEquals(written, 1);
});

Deno.test("[property] whatever is received, nothing is thrown, and only what a terminal may show is written", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.string({ unit: "binary", maxLength: 64 }).map((text) => new TextEncoder().encode(text)),
    fc.constantFrom("stop\n", "c\r", "info ", "\t", "help\r\n", "\x1b[A", "\x03", "x".repeat(6000))
      .map((text) => new TextEncoder().encode(text)),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(piece, fc.boolean()), { maxLength: 40 }), (pieces) => {
      const fixture = new Fixture();
      fixture.take();
      for (const [bytes, isAnswered] of pieces) {
        fixture.session.receive(bytes);
        if (isAnswered) fixture.replies.shift()?.({});
        // deno-lint-ignore no-control-regex
        const text = fixture.take().replace(/\x1b\[(?:[0-9]+C|K|H|2J)|\r|\n/g, "");
        assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(text));
      }
    }),
    { numRuns: runs(200, 2000) },
  );
});
