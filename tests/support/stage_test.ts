import { assert, assertEquals, assertThrows } from "@std/assert";
import { closeFd, isOpenFd } from "../../src/ffi/file.ts";
import { Signal } from "../../src/ffi/process.ts";
import { createSocketPair } from "../../src/ffi/socket.ts";
import { commandLineOf } from "./process_tree.ts";
import { GIVEN_FD, onStage, type Program, type Stage } from "./stage.ts";

function startShell(stage: Stage, script: string, given?: number): Program {
  return stage.start({ name: "shell", command: ["sh", "-c", script], given });
}

Deno.test(
  "a program is waited for, answered, and waited for again",
  onStage((stage) => {
    const shell = startShell(stage, "printf 'name? '; read name; echo hello $name; exit 3");
    assertEquals(shell.waitFor("? "), "name");
    shell.send("you\n");
    assertEquals(shell.waitFor("you"), "hello ");
    assertEquals(shell.wait(), { code: 3 });
    assertEquals(shell.console, "name? hello you\n");
  }),
);

Deno.test(
  "what is waited for is looked for behind what was waited for before",
  onStage((stage) => {
    const shell = startShell(stage, "echo once");
    shell.waitFor("once");
    assertThrows(() => shell.waitFor("once"), Error, 'shell ended without printing "once"');
  }),
);

Deno.test(
  "standard error is kept apart",
  onStage((stage) => {
    const shell = startShell(stage, "echo good; echo bad >&2");
    shell.waitForError("bad");
    shell.wait();
    assertEquals([shell.console, shell.errors], ["good\n", "bad\n"]);
  }),
);

Deno.test(
  "programs that were given the ends of a link see each other's end",
  onStage((stage) => {
    const [near, far] = stage.link();
    const ending = startShell(stage, `echo over >&${GIVEN_FD}`, near);
    const waiting = startShell(stage, `cat <&${GIVEN_FD}; echo end`, far);
    stage.giveAway();
    waiting.waitFor("over\nend");
    assertEquals([ending.wait(), waiting.wait()], [{ code: 0 }, { code: 0 }]);
  }),
);

Deno.test("a test that fails tells what its programs wrote, and leaves no program and no folder behind", () => {
  let pid = 0;
  let directory = "";
  const body = onStage((stage) => {
    const shell = startShell(stage, "echo sleeping; exec sleep 100");
    shell.waitFor("sleeping");
    pid = shell.pid;
    directory = stage.directory;
    throw new Error("failed");
  });
  const { message, cause } = assertThrows(body, Error);
  assertEquals(message, "shell was still running\n--- shell: console ---\nsleeping\n\n--- shell: errors ---\n");
  assertEquals((cause as Error).message, "failed");
  assertEquals(commandLineOf(pid), "");
  assertThrows(() => Deno.statSync(directory), Deno.errors.NotFound);
});

Deno.test("a descriptor that stays open makes a test fail", () => {
  const leaked: number[] = [];
  assertThrows(onStage(() => void leaked.push(...createSocketPair())), Error, "descriptors are not what they were");
  assert(leaked.every(isOpenFd));
  leaked.forEach(closeFd);
});

Deno.test("a process that a program left behind makes a test fail, unless it ends as well", () => {
  const outlive = (script: string, patience?: number) =>
    onStage((stage) => {
      const shell = startShell(stage, `(${script}) & echo started; wait`);
      shell.waitFor("started");
      shell.signal(Signal.KILL);
    }, patience);
  outlive("sleep 0.1")();
  assertThrows(outlive("sleep 100", 10), Error, "processes did not end with the program that started them");
});
