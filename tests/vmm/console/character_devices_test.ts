import { assert, assertEquals, assertThrows } from "@std/assert";
import { closeFd } from "../../../src/ffi/file.ts";
import type { CharacterBackend } from "../../../src/vmm/config.ts";
import { type CharacterDevices, openCharacterDevices } from "../../../src/vmm/console/character_devices.ts";
import { Output } from "../../../src/vmm/console/output.ts";

/** Opens one device. */
function open(backend: CharacterBackend): CharacterDevices {
  return openCharacterDevices([{ id: "con", backend, mux: false }], () => {});
}

/** A folder for a test. */
function withFolder(body: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
  try {
    body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function exists(path: string): boolean {
  return [...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))].some(({ name }) => path.endsWith(`/${name}`));
}

Deno.test("devices open to what they stand for", () => {
  const handle = (backend: CharacterBackend) => open(backend).handles[0];
  assertEquals(handle({ kind: "null" }), { id: "con", filename: "null", output: undefined });
  const input = { fd: 0, kind: "stdio" } as const;
  const stdio = { id: "con", filename: "stdio", output: 1, input };
  assertEquals(handle({ kind: "stdio", signals: true }), stdio);
});

Deno.test("a file begins anew each time", () => {
  withFolder((folder) => {
    const path = `${folder}/log`;
    for (const text of ["first", "2nd"]) {
      const fd = open({ kind: "file", path }).handles[0].output!;
      new Output({ fd }).print(text);
      closeFd(fd);
      assertEquals(Deno.readTextFileSync(path), text);
    }
  });
});

Deno.test("a device that cannot be had is named, and no socket stays behind", () => {
  withFolder((folder) => {
    const path = `${folder}/socket`;
    const open = () =>
      openCharacterDevices([
        { id: "a", backend: { kind: "socket", transport: { kind: "listen", path, wait: false } }, mux: false },
        { id: "b", backend: { kind: "file", path: "/nonexistent/log" }, mux: false },
      ], () => {});
    const error = assertThrows(open, Error, "character device b");
    assert((error.cause as Error).message.includes("output to /nonexistent/log"));
    assertEquals(exists(path), false);
  });
});

Deno.test("a socket's path is there until the end", () => {
  withFolder((folder) => {
    const path = `${folder}/socket`;
    const devices = open({ kind: "socket", transport: { kind: "listen", path, wait: false } });
    assertEquals(exists(path), true);
    devices.close();
    assertEquals(exists(path), false);
    closeFd(devices.handles[0].output!);
  });
});
