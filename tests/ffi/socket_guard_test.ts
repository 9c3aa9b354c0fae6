import { assertEquals } from "@std/assert";
import { assemble } from "../../guests/assembler/mod.ts";
import { listDirectory } from "../../src/ffi/file.ts";
import { buildSocketGuard, SocketGuard } from "../../src/ffi/socket_guard.ts";
import { listenAt, type ListeningSocket } from "../../src/ffi/unix_socket.ts";
import { leakingNothing } from "../support/leaks.ts";
import { childrenOf } from "../support/process_tree.ts";

const SOURCE = await Deno.readTextFile(new URL("../../src/ffi/socket_guard.ts", import.meta.url));

/** Offset of the machine code in the executable: behind the ELF header and one program header. */
const CODE = 120;

/** Sockets that listen, in a folder of their own. */
function withSockets(names: readonly string[], body: (sockets: ListeningSocket[], folder: string) => void): () => void {
  return leakingNothing(() => {
    const folder = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
    const sockets = names.map((name) => listenAt(`${folder}/${name}`));
    try {
      body(sockets, folder);
    } finally {
      sockets.forEach((socket) => socket.close());
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

Deno.test("the guard's machine code is what its listing says", () => {
  const listing = [...SOURCE.split("```nasm\n")[1].split("```")[0].matchAll(/^ \* ?(.*)$/gm)].map(([, line]) => line);
  const { bytes } = assemble(`bits 64\norg 0\n${listing.join("\n")}`);
  bytes.set(new TextEncoder().encode("splitvm-sockets"), bytes.length - 16);
  assertEquals([...buildSocketGuard([]).subarray(CODE, CODE + bytes.length)], [...bytes]);
});

Deno.test(
  "a guard takes away the paths that it was given, and no others",
  withSockets(["a", "b", "c"], ([a, , c], folder) => {
    new SocketGuard([a.bound, c.bound]).dismiss();
    assertEquals(listDirectory(folder), ["b"]);
    assertEquals(childrenOf("self"), []);
  }),
);

Deno.test(
  "a guard leaves a path alone where another socket listens by then, or nobody",
  withSockets(["a", "b"], ([a, b], folder) => {
    const guard = new SocketGuard([a.bound, b.bound]);
    // Both names stay taken, so that neither file has the number of one that has gone.
    Deno.renameSync(`${folder}/a`, `${folder}/kept`);
    Deno.renameSync(`${folder}/b`, `${folder}/a`);
    guard.dismiss();
    assertEquals(listDirectory(folder).toSorted(), ["a", "kept"]);
  }),
);

Deno.test(
  "a path may be as long as a socket's can be",
  withSockets([], (_sockets, folder) => {
    const path = `${folder}/${"x".repeat(106 - folder.length)}`;
    const socket = listenAt(path);
    new SocketGuard([socket.bound]).dismiss();
    assertEquals(listDirectory(folder), []);
    socket.close();
  }),
);

Deno.test(
  "a guard has its pipe, and nothing else",
  withSockets(["a"], ([a]) => {
    const guard = new SocketGuard([a.bound]);
    const [pid] = childrenOf("self");
    assertEquals(listDirectory(`/proc/${pid}/fd`).map(Number), [0, 1, 2]);
    guard.dismiss();
  }),
);
