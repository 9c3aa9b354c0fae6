/**
 * The programs in the executable file.
 *
 * @module
 */
import type { ProgramName } from "../../src/start.ts";

/** Their modules, which `main.ts` names as well, in the order in which they stand behind the main module. */
export const PROGRAM_MODULES: Readonly<Record<ProgramName, string>> = {
  vmm: "src/cli/programs/vmm.ts",
  remote: "src/cli/programs/remote.ts",
  img: "src/cli/programs/img.ts",
  jail: "src/cli/programs/jail.ts",
  spawner: "src/cli/programs/spawner.ts",
  help: "src/cli/programs/help.ts",
  machine: "src/vmm/worker.ts",
  io: "src/block/io_thread.ts",
};

/** Their names, in the same order. */
export const PROGRAM_NAMES = Object.keys(PROGRAM_MODULES) as ProgramName[];
