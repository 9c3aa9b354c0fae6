/**
 * What programs get that tests start, and what they leave.
 *
 * @module
 */
import { readFd } from "../../src/ffi/file.ts";
import { PROGRAM_PATH } from "./requirements.ts";

/** What programs get of this process's environment. */
export function childEnvironment(): Record<string, string> {
  const kept = ["HOME", "DENO_DIR"].flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return { PATH: PROGRAM_PATH.join(":"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...Object.fromEntries(kept) };
}

/** All that was written to the other end, which is closed. */
export function readAll(fd: number): string {
  const decoder = new TextDecoder();
  const piece = new Uint8Array(4096);
  let text = "";
  for (let length; (length = readFd(fd, piece)) > 0;) {
    text += decoder.decode(piece.subarray(0, length), { stream: true });
  }
  return text;
}
