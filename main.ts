/**
 * The splitvm executable: virtual machine monitor, device process, and each thread of the former, by the role it is started in.
 *
 * Threads are workers of this same module, so that one file is all there is. What a role does not need is not loaded.
 *
 * @module
 */
if ("WorkerGlobalScope" in globalThis) {
  // Before anything is waited for: a message that finds nobody to listen is lost.
  const message = new Promise<Event>((resolve) => addEventListener("message", resolve, { once: true }));
  const { runWorker } = (globalThis as { name?: string }).name === "io"
    ? await import("./src/block/io_thread.ts")
    : await import("./src/vmm/worker.ts");
  runWorker((await message as MessageEvent).data);
} else if (import.meta.main) {
  const { run } = await import("./src/cli/run.ts");
  Deno.exit(await run(Deno.args));
}
