import { assert, assertEquals, assertRejects } from "@std/assert";
import { closeFd } from "../../../src/ffi/file.ts";
import type { CharacterBackend } from "../../../src/vmm/config.ts";
import { type CharacterDevices, openCharacterDevices } from "../../../src/vmm/console/character_devices.ts";
import { Output } from "../../../src/vmm/console/output.ts";

/** Opens one device. */
function open(backend: CharacterBackend): Promise<CharacterDevices> {
  return openCharacterDevices([{ id: "con", backend, mux: false }], () => {});
}

/** A folder for a test. */
async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
  try {
    await body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function exists(path: string): boolean {
  return [...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))].some(({ name }) => path.endsWith(`/${name}`));
}

Deno.test("devices open to what they stand for", async () => {
  const handle = async (backend: CharacterBackend) => (await open(backend)).handles[0];
  assertEquals(await handle({ kind: "null" }), { id: "con", filename: "null", output: undefined });
  const input = { fd: 0, kind: "stdio" } as const;
  const stdio = { id: "con", filename: "stdio", output: 1, input };
  assertEquals(await handle({ kind: "stdio", signals: true }), stdio);
});

Deno.test("a file begins anew each time", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/log`;
    for (const text of ["first", "2nd"]) {
      const fd = (await open({ kind: "file", path })).handles[0].output!;
      new Output({ fd }).print(text);
      closeFd(fd);
      assertEquals(Deno.readTextFileSync(path), text);
    }
  });
});

Deno.test("a device that cannot be had is named, and no socket stays behind", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/socket`;
    const open = () =>
      openCharacterDevices([
        { id: "a", backend: { kind: "socket", transport: { kind: "listen", path, wait: false } }, mux: false },
        { id: "b", backend: { kind: "file", path: "/nonexistent/log" }, mux: false },
      ], () => {});
    const error = await assertRejects(open, Error, "character device b");
    assert((error.cause as Error).message.includes("output to /nonexistent/log"));
    assertEquals(exists(path), false);
  });
});

Deno.test("a socket's path is there until the end", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/socket`;
    const devices = await open({ kind: "socket", transport: { kind: "listen", path, wait: false } });
    assertEquals(exists(path), true);
    devices.close();
    assertEquals(exists(path), false);
    closeFd(devices.handles[0].output!);
  });
});
