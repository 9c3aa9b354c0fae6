import { assertEquals } from "@std/assert";
import { selfCommand, selfFiles, selfModule } from "../../src/vmm/self_command.ts";

const PROGRAM = "file:///proc/self/fd/220?219,220,221";

Deno.test("The executable file starts itself by its path", () => {
  assertEquals(selfCommand(PROGRAM, "/opt/splitvm"), ["/opt/splitvm"]);
});

Deno.test("An executable file that was removed or replaced starts itself by way of /proc", () => {
  assertEquals(selfCommand(PROGRAM, "/opt/splitvm (deleted)"), ["/proc/self/exe"]);
});

Deno.test("The executable file starts workers from the main module's URL, whichever module asks", () => {
  assertEquals(selfModule(PROGRAM), "file:///proc/self/fd/219?219,220,221");
});

Deno.test("From source, deno runs the main module with the permission set of the configuration file", () => {
  const [command, ...args] = selfCommand("file:///src%20dir/src/vmm/self_command.ts", "/usr/bin/deno");
  assertEquals([command, args[0], args.at(-1)], ["/usr/bin/deno", "run", "/src dir/main.ts"]);
  assertEquals(args.filter((arg) => /config|permission/.test(arg)), [
    "--config=/src dir/deno.json",
    "--permission-set=splitvm",
  ]);
});

Deno.test("From source, workers start from the main module", () => {
  assertEquals(selfModule("file:///project/src/main_module.ts"), "file:///project/main.ts");
});

Deno.test("By default the running program is meant", () => {
  assertEquals(selfCommand()[0], Deno.execPath());
  assertEquals(selfModule(), new URL("../../main.ts", import.meta.url).href);
});

Deno.test("The executable file needs nothing else to start", () => {
  assertEquals(selfFiles(PROGRAM), { readable: [], env: {} });
});

/** What running from source needs where these variables are set, and no others of them. */
function filesWith(variables: Readonly<Record<string, string>>) {
  const names = ["DENO_DIR", "XDG_CACHE_HOME", "HOME"];
  return selfFiles("file:///src%20dir/src/vmm/self_command.ts", (name) => names.includes(name) ? variables[name] : "");
}

Deno.test("From source, the modules are needed, and the cache, which Deno is told of", () => {
  const at = (cache: string) => ({ readable: ["/src dir", cache], env: { DENO_DIR: cache } });
  assertEquals(filesWith({ DENO_DIR: "/cache", XDG_CACHE_HOME: "/xdg", HOME: "/home/me" }), at("/cache"));
  assertEquals(filesWith({ XDG_CACHE_HOME: "/xdg", HOME: "/home/me" }), at("/xdg/deno"));
  assertEquals(filesWith({ HOME: "/home/me" }), at("/home/me/.cache/deno"));
});

Deno.test("From source without a cache, Deno is given a place that is not there", () => {
  assertEquals(filesWith({}), { readable: ["/src dir"], env: { DENO_DIR: "/nowhere" } });
});
