import { assertEquals } from "@std/assert";
import { PROGRAM_MODULES } from "../tools/compile/programs.ts";
import { likelyProgram } from "../src/start.ts";

for (
  const [program, ...argv] of [
    ["vmm"],
    ["vmm", "-machine", "q35"],
    ["vmm", "-kernel", "img"],
    ["vmm", "-machine"],
    ["remote", "-machine", "remote"],
    ["remote", "-m", "1G", "--machine", "x-remote,accel=kvm"],
    ["remote", "-M", "type=remote"],
    ["img", "img", "info", "disk.img"],
    ["jail", "jail", "--", "-machine", "remote"],
    ["spawner", "spawner", "-machine", "remote"],
  ]
) {
  Deno.test(`the command line [${argv.join(" ")}] is taken to be for the program ${program}`, () => {
    assertEquals(likelyProgram(argv), program);
  });
}

/** What a splitvm without any permission prints. */
async function splitvm(...argv: string[]): Promise<string> {
  const main = new URL("../main.ts", import.meta.url).pathname;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", "--cached-only", main, ...argv],
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  const { stdout, stderr } = await command.output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("a command line that was taken for another program's is carried out by its own", async () => {
  // An id that looks like the option; and the type behind another property.
  assertEquals(
    await splitvm("-name", "-machine", "-machine", "graphics=off,type=remote"),
    await splitvm("-machine", "remote,graphics=off", "-name", "-machine"),
  );
});

Deno.test("each program of the executable file is a module that main.ts imports, and the other way round", async () => {
  const main = await Deno.readTextFile(new URL("../main.ts", import.meta.url));
  const imported = Object.fromEntries(
    [...main.matchAll(/(\w+): \(\) => import\("\.\/([^"]+)"\)/g)].map(([, name, path]) => [name, path]),
  );
  assertEquals(imported, { ...PROGRAM_MODULES });
});
