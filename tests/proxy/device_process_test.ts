import { assert, assertEquals, assertThrows } from "@std/assert";
import { closeFd, readFd } from "../../src/ffi/file.ts";
import { deviceProcessArguments } from "../../src/options/device_arguments.ts";
import type { ControllerConfig } from "../../src/options/storage.ts";
import { type DeviceProcess, reapDeviceProcess, spawnDeviceProcess } from "../../src/proxy/device_process.ts";
import { closeInterruptFds } from "../../src/proxy/interrupt.ts";
import { connectProxy, PciProxy } from "../../src/proxy/pci_proxy.ts";
import { SELF_ENVIRONMENT, selfCommand } from "../../src/vmm/self_command.ts";
import { leakingNothing } from "../support/leaks.ts";
import { RecordingMachine } from "./support/fake_peer.ts";

const CONTROLLER: ControllerConfig = { driver: "lsi53c895a", id: "lsi0", disks: [] };

/** Spawns a shell script in a device process's place. */
function spawnScript(script: string, env: Record<string, string> = {}): DeviceProcess {
  return spawnDeviceProcess({ command: ["/bin/sh", "-c", script, "sh"], env }, CONTROLLER);
}

/** All that the process writes to its link. */
function readLink({ fd }: DeviceProcess): string {
  const piece = new Uint8Array(4096);
  let text = "";
  for (let length; (length = readFd(fd, piece)) > 0;) text += new TextDecoder().decode(piece.subarray(0, length));
  return text;
}

/** Closes the link and waits for the end. */
function end(process: DeviceProcess) {
  [process.fd, process.control].forEach(closeFd);
  return reapDeviceProcess(process);
}

Deno.test(
  "the process gets the controller's command line, and how it ended is told",
  leakingNothing(() => {
    const process = spawnScript('printf "%s\\n" "$@" >&3; exit 7');
    assertEquals(readLink(process).trimEnd().split("\n"), deviceProcessArguments(CONTROLLER, { link: 3, control: 4 }));
    assertEquals(end(process), { code: 7 });
  }),
);

Deno.test(
  "it reads nothing and prints nothing, and has the link",
  leakingNothing(() => {
    const process = spawnScript("targets=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/3); echo $targets >&3");
    const [input, output, link] = readLink(process).trimEnd().split(" ");
    assertEquals([input, output], ["/dev/null", "/dev/null"]);
    assert(link.startsWith("socket:"), link);
    end(process);
  }),
);

Deno.test(
  "it has no other descriptor but that for control",
  leakingNothing(() => {
    const process = spawnScript("exec ls /proc/self/fd >&3");
    // The last is ls's own, of the directory.
    assertEquals(readLink(process).trimEnd().split("\n"), ["0", "1", "2", "3", "4", "5"]);
    end(process);
  }),
);

Deno.test(
  "it has the environment that it was given, and nothing of this process's",
  leakingNothing(() => {
    const process = spawnScript('echo "$GIVEN-$HOME-" >&3', { GIVEN: "yes" });
    assertEquals(readLink(process), "yes--\n");
    end(process);
  }),
);

Deno.test(
  "a process that waits for its link ends when that is closed",
  leakingNothing(() => {
    assertEquals(end(spawnScript("exec cat <&3")), { code: 0 });
  }),
);

Deno.test(
  "a process that cannot be started is an error that names the device",
  leakingNothing(() => {
    const self = { command: ["/nonexistent/splitvm"], env: {} };
    const error = assertThrows(
      () => spawnDeviceProcess(self, CONTROLLER),
      Error,
      "Cannot start the device process of lsi0",
    );
    assert((error.cause as Error).message.includes("ENOENT"));
  }),
);

Deno.test("splitvm's own device process answers a proxy, and ends with its link", () => {
  const home = Deno.env.get("HOME") ?? "/";
  const cache = Deno.env.get("DENO_DIR");
  const env = { ...SELF_ENVIRONMENT, HOME: home, ...cache === undefined ? {} : { DENO_DIR: cache } };
  const process = spawnDeviceProcess({ command: selfCommand(), env }, CONTROLLER);
  try {
    const handle = connectProxy("lsi0", process.fd);
    const proxy = new PciProxy(handle, new RecordingMachine(), 0);
    assertEquals(proxy.readConfig(0, 4), 0x0012_1000);
    assertEquals(handle.bars.map(({ space, size }) => [space, size]), [["io", 256], ["memory", 1024], [
      "memory",
      8192,
    ]]);
    closeInterruptFds(handle.interrupt);
  } finally {
    assertEquals(end(process), { code: 0 });
  }
});
