/**
 * qemu-img, the yardstick for images.
 *
 * @module
 */
import { findProgram } from "./requirements.ts";

/** What a run of qemu-img printed, and its exit status. */
export interface QemuImgRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs qemu-img, in a folder. */
export function qemuImg(folder: string, ...args: string[]): QemuImgRun {
  const run = new Deno.Command(findProgram("qemu-img") ?? "qemu-img", { args, cwd: folder }).outputSync();
  const [stdout, stderr] = [run.stdout, run.stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code: run.code, stdout, stderr };
}

/** Runs qemu-img and reads the JSON that it prints. `undefined` where it prints none. */
export function qemuImgJson(folder: string, command: string, ...args: string[]): Record<string, unknown> | undefined {
  const { stdout } = qemuImg(folder, command, "--output=json", ...args);
  return stdout === "" ? undefined : JSON.parse(stdout);
}

/** A folder that is gone afterwards. */
export function withFolder<T>(body: (folder: string) => T): T {
  const folder = Deno.makeTempDirSync({ prefix: "splitvm-qcow2-" });
  try {
    return body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
