/**
 * `splitvm img check`.
 *
 * @module
 */
import { type Coroutine, runToEnd } from "../block/coroutine.ts";
import { checkQcow2, type CheckReport, checkReport, type CheckResult } from "../block/qcow2/check.ts";
import { repairQcow2 } from "../block/qcow2/repair.ts";
import { EventLoop } from "../event_loop.ts";
import { OptionError } from "../options/option_error.ts";
import { print, printJson } from "../print.ts";
import type { ImgArguments } from "./arguments.ts";
import { toDecimals } from "./decimals.ts";
import { openImageFile } from "./image_file.ts";
import { startProgress } from "./progress_line.ts";

/** Exit statuses, as qemu-img(1) has them. */
export const CheckStatus = { CONSISTENT: 0, UNCHECKED: 1, CORRUPT: 2, LEAKS: 3, UNSUPPORTED: 63 } as const;

/** The exit status that says how an image is. */
export function checkStatus({ checkErrors, corruptions, leaks }: CheckResult): number {
  if (checkErrors > 0) return CheckStatus.UNCHECKED;
  if (corruptions > 0) return CheckStatus.CORRUPT;
  return leaks > 0 ? CheckStatus.LEAKS : CheckStatus.CONSISTENT;
}

/** A result for people, as qemu-img prints it. */
export function checkText(result: CheckResult): string {
  const { corruptions, leaks, checkErrors, totalClusters: total, allocatedClusters: allocated } = result;
  const lines: string[] = [];
  if (result.corruptionsFixed > 0 || result.leaksFixed > 0) {
    lines.push("The following inconsistencies were found and repaired:", "");
    lines.push(`    ${result.leaksFixed} leaked clusters`, `    ${result.corruptionsFixed} corruptions`, "");
    lines.push("Double checking the fixed image now...");
  }
  if (corruptions + leaks + checkErrors === 0) lines.push("No errors were found on the image.");
  if (corruptions > 0) {
    lines.push("", `${corruptions} errors were found on the image.`);
    lines.push("Data may be corrupted, or further writes to the image may corrupt it.");
  }
  if (leaks > 0) {
    lines.push("", `${leaks} leaked clusters were found on the image.`);
    lines.push("This means waste of disk space, but no harm to data.");
  }
  if (checkErrors > 0) lines.push("", `${checkErrors} internal errors have occurred during the check.`);
  if (total > 0 && allocated > 0) {
    const percent = (part: number, whole: number) => `${toDecimals(part * 100 / whole, 2)}%`;
    const parts = [
      `${percent(allocated, total)} allocated`,
      `${percent(result.fragmentedClusters, allocated)} fragmented`,
      `${percent(result.compressedClusters, allocated)} compressed clusters`,
    ];
    lines.push(`${allocated}/${total} = ${parts.join(", ")}`);
  }
  if (result.imageEndOffset > 0) lines.push(`Image end offset: ${result.imageEndOffset}`);
  return lines.map((line) => `${line}\n`).join("");
}

/** The fields of a report that are there. */
function present(report: CheckReport): Partial<CheckReport> {
  return Object.fromEntries(Object.entries(report).filter(([, value]) => value !== undefined));
}

/** Checks an image, and repairs it where that is asked for. @returns The exit status. */
export function runCheck({ options, positionals: [path] }: ImgArguments<"check">): number {
  if (options.r !== undefined && options.U) {
    throw new OptionError("check -U", "is for images that are only read; not with -r");
  }
  const loop = new EventLoop();
  try {
    const result = runToEnd(loop, examine(path, options, loop));
    if (result === undefined) {
      print(`splitvm img: Cannot check ${path}: raw images have nothing to check\n`, Deno.stderr);
      return CheckStatus.UNSUPPORTED;
    }
    if (options.output === "json") printJson(present(checkReport(path, result)));
    else if (!options.q) print(checkText(result));
    return checkStatus(result);
  } finally {
    loop.close();
  }
}

/** @returns `undefined` for a format that cannot be checked. */
function* examine(
  path: string,
  { f, r, U, T }: ImgArguments<"check">["options"],
  loop: EventLoop,
): Coroutine<CheckResult | undefined> {
  const image = yield* openImageFile(path, f, { loop, readOnly: r === undefined, forceShare: U, cache: T });
  const findings: string[] = [];
  const bar = startProgress({ total: image.file.size });
  try {
    if (image.format === "raw") return undefined;
    const told = {
      report: (line: string) => void findings.push(`${line}\n`),
      progress: (fraction: number) => bar.update(fraction * image.file.size),
    };
    const result = r === undefined ? yield* checkQcow2(image.file, told) : yield* repairQcow2(image.file, r, told);
    bar.finish();
    return result;
  } finally {
    bar.abandon();
    print(findings.join(""), Deno.stderr);
    image.file.close();
  }
}
