/**
 * What the host's processor calls itself.
 *
 * @module
 */
import { closeFd, openFile, OpenFlags, readAt } from "../ffi/file.ts";

const CPUINFO = "/proc/cpuinfo";
/** The first processor's paragraph begins with its name; the rest, which may be long, is not wanted. */
const ENOUGH = 1024;

/** The processor's brand string, as Linux shows it; `undefined` where it shows none. */
export function hostBrand(): string | undefined {
  let fd: number | undefined;
  try {
    fd = openFile(CPUINFO, OpenFlags.O_RDONLY);
    const bytes = new Uint8Array(ENOUGH);
    return brandIn(new TextDecoder().decode(bytes.subarray(0, readAt(fd, 0, bytes))));
  } catch {
    // A host without /proc has guests without a name.
    return undefined;
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}

/** The name in a text such as `/proc/cpuinfo`. Linux writes "unknown" for a processor without one. */
export function brandIn(cpuinfo: string): string | undefined {
  const brand = /^model name\s*: (.+)$/m.exec(cpuinfo)?.[1].trim();
  return brand === "unknown" ? undefined : brand;
}
