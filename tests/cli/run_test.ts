import { assert, assertEquals } from "@std/assert";
import { VERSION } from "../../src/version.ts";
import denoJson from "../../deno.json" with { type: "json" };

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a module of the project. Without permissions, unless given, it has none. */
async function run(
  module: string,
  argv: string[],
  { permissions = [], env = {} }: { permissions?: string[]; env?: Record<string, string> } = {},
): Promise<Outcome> {
  const { pathname } = new URL(module, import.meta.url);
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", "--cached-only", ...permissions, pathname, ...argv],
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

const splitvm = (...argv: string[]) => run("../../main.ts", argv);

Deno.test("-version prints the version that deno.json has", async () => {
  assertEquals(VERSION, denoJson.version);
  assertEquals(await splitvm("-version"), { code: 0, stdout: `splitvm ${VERSION}\n`, stderr: "" });
});

Deno.test("-help prints to standard output and succeeds", async () => {
  const { code, stdout, stderr } = await splitvm("-help");
  assertEquals([code, stderr], [0, ""]);
  assert(stdout.startsWith("Usage: splitvm "));
});

Deno.test("no options print the usage to standard error and fail", async () => {
  const { code, stdout, stderr } = await splitvm();
  assertEquals([code, stdout], [1, ""]);
  assert(stderr.startsWith("Usage: splitvm "));
  assert(stderr.split("\n").length <= 6);
});

Deno.test("a bad command line prints one line and fails with status 1", async () => {
  assertEquals(await splitvm("-nographc"), {
    code: 1,
    stdout: "",
    stderr: "splitvm: '-nographc': unknown option; did you mean '-nographic'?\n",
  });
});

Deno.test("an error that nobody catches is one line too", async () => {
  const { code, stderr } = await run("./uncaught_fixture.ts", []);
  assertEquals([code, stderr], [1, "splitvm: internal error: no such register: offset 0x100\n"]);
});

Deno.test("SPLITVM_DEBUG=1 adds the stack, where it may be read", async () => {
  const env = { SPLITVM_DEBUG: "1" };
  const { stderr } = await run("./uncaught_fixture.ts", [], { env, permissions: ["--allow-env=SPLITVM_DEBUG"] });
  assert(/^splitvm: internal error: .*\n.*\n +at .*uncaught_fixture/.test(stderr), stderr);
  assertEquals((await run("./uncaught_fixture.ts", [], { env })).stderr.trimEnd().split("\n").length, 1);
});
