/**
 * The splitvm executable: virtual machine monitor, device process, and each thread of the former, by the role it is
 * started in.
 *
 * Threads are workers of this same module, so that one file is all there is. What a role does not need is not loaded.
 *
 * @module
 */
import { start } from "./src/start.ts";

if ("WorkerGlobalScope" in globalThis || import.meta.main) {
  await start({
    vmm: () => import("./src/cli/programs/vmm.ts"),
    remote: () => import("./src/cli/programs/remote.ts"),
    img: () => import("./src/cli/programs/img.ts"),
    jail: () => import("./src/cli/programs/jail.ts"),
    spawner: () => import("./src/cli/programs/spawner.ts"),
    help: () => import("./src/cli/programs/help.ts"),
    machine: () => import("./src/vmm/worker.ts"),
    io: () => import("./src/block/io_thread.ts"),
  });
}
