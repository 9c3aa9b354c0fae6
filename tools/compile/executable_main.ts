/**
 * The main module of the executable file, `main.ts` being that of the source: programs are texts in memory there
 * (`function_body.ts`).
 *
 * @module
 */
import { executableModule } from "../../src/main_module.ts";
import { type ProgramName, type Programs, start } from "../../src/start.ts";
import { META_PARAMETER } from "./function_body.ts";
import { PROGRAM_NAMES } from "./programs.ts";

/** `Function`, for asynchronous functions. */
const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

async function load(name: ProgramName) {
  const url = executableModule(import.meta.url, 1 + PROGRAM_NAMES.indexOf(name));
  const { default: text } = await import(url, { with: { type: "text" } });
  return await new AsyncFunction(META_PARAMETER, text)({ url });
}

await start(Object.fromEntries(PROGRAM_NAMES.map((name) => [name, () => load(name)])) as unknown as Programs);
