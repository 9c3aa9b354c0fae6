/** The example at the top of mod.ts: it type-checks, and the process that it makes serves its device to a proxy. */
import { assert, assertEquals } from "@std/assert";
import { closeFd } from "../src/ffi/file.ts";
import { type ChildProcess, spawn } from "../src/ffi/process.ts";
import { createSocketPair } from "../src/ffi/socket.ts";
import { PciCommand, PciConfig } from "../src/device/config_space.ts";
import { closeInterruptFds } from "../src/proxy/interrupt.ts";
import { connectProxy, PciProxy } from "../src/proxy/pci_proxy.ts";
import { RecordingMachine } from "./proxy/support/fake_peer.ts";
import { childEnvironment } from "./support/child.ts";
import { leakingNothing } from "./support/leaks.ts";

const MODULE = new URL("../mod.ts", import.meta.url);
const CONFIG = new URL("../deno.json", import.meta.url).pathname;
const BAR_ADDRESS = 0xfebf_0000;

/** The example, in a folder of its own. */
function writeExample(folder: string): string {
  const source = Deno.readTextFileSync(MODULE);
  const [, commented] = /^ \* ```ts\n(.*?)^ \* ```$/ms.exec(source)!;
  const example = commented.replace(/^ \* ?/gm, "").replace(`"./mod.ts"`, JSON.stringify(MODULE.href));
  assert(example.includes(MODULE.href));
  const path = `${folder}/counter.ts`;
  Deno.writeTextFileSync(path, example);
  return path;
}

/** Runs the example as a device process. @param link What it has as descriptor 3. */
function start(path: string, link: number): ChildProcess {
  return spawn({
    command: [Deno.execPath(), "run", "--quiet", "--no-prompt", "--check", `--config=${CONFIG}`, "--allow-ffi", path],
    env: childEnvironment(),
    descriptors: new Map([[3, link]]),
  });
}

Deno.test(
  "the counter of mod.ts counts the reads of its register, and starts anew at a reset",
  leakingNothing(() => {
    const folder = Deno.makeTempDirSync({ prefix: "splitvm-test-" });
    const [near, far] = createSocketPair();
    const process = start(writeExample(folder), far);
    closeFd(far);
    try {
      const handle = connectProxy("counter0", near);
      const proxy = new PciProxy(handle, new RecordingMachine(), 0);
      assertEquals(proxy.readConfig(PciConfig.VENDOR_ID, 4), 0x11e9_1234);
      assertEquals(proxy.bars, [{ index: 0, space: "memory", size: 16 }]);
      const place = () => {
        proxy.writeConfig(PciConfig.BAR0, 4, BAR_ADDRESS);
        proxy.writeConfig(PciConfig.COMMAND, 2, PciCommand.MEMORY);
      };
      const [bar] = proxy.bars;
      const count = () => proxy.readBar(bar, 0, 4);
      place();
      assertEquals([count(), count(), count()], [0, 1, 2]);
      proxy.writeBar(bar, 0, 4, 100);
      assertEquals([count(), count()], [100, 101]);
      proxy.reset();
      place();
      assertEquals(count(), 0);
      assertEquals(proxy.failed, false);
      closeInterruptFds(handle.interrupt);
    } finally {
      closeFd(near);
      const status = process.wait();
      process.close();
      Deno.removeSync(folder, { recursive: true });
      assertEquals(status, { code: 0 });
    }
  }),
);
