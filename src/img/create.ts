/**
 * `splitvm img create`.
 *
 * @module
 */
import { type Coroutine, runToEnd } from "../block/coroutine.ts";
import type { HostFile } from "../block/host_file.ts";
import { folderOf, resolveImageName } from "../block/image_names.ts";
import { openHostFile } from "../block/open_host_file.ts";
import { EventLoop } from "../event_loop.ts";
import { OptionError } from "../options/option_error.ts";
import { print } from "../print.ts";
import type { ImgArguments } from "./arguments.ts";
import type { Format } from "./command_table.ts";
import { formattingLine, type ImageFormat, parseFormatOptions } from "./format_options.ts";
import { type ImageFile, openImageFile, virtualSize } from "./image_file.ts";
import { Interruptible } from "./interrupt.ts";
import { NewImage, type NewImageOptions } from "./new_image.ts";
import { startProgress } from "./progress_line.ts";

const SECTOR = 512;

/** The backing file that the options name. */
export interface Backing {
  readonly name: string;
  readonly format: Format;
}

/** One of two ways to say the same; not both. */
function oneOfTwo<T>(where: string, a: T | undefined, b: T | undefined): T | undefined {
  if (a !== undefined && b !== undefined) throw new OptionError(where, "is given twice, once among the options of -o");
  return a ?? b;
}

/** Puts `-b` and `-F` among the options of the format. */
export function withBacking(
  command: string,
  image: ImageFormat,
  [nameOption, name]: readonly [option: string, name: string | undefined],
  givenFormat: Format | undefined,
): { image: ImageFormat; backing: Backing | undefined } {
  const where = `${command} ${nameOption}`;
  if (image.format === "raw") {
    if (name === undefined && givenFormat === undefined) return { image, backing: undefined };
    throw new OptionError(where, "raw images have no backing file; expected the format qcow2");
  }
  const file = oneOfTwo(where, name, image.options.backing_file);
  const format = oneOfTwo(`${command} -F`, givenFormat, image.options.backing_fmt);
  if (file === undefined) {
    if (format !== undefined) {
      throw new OptionError(`${command} -F`, `is for a backing file; expected ${nameOption} as well`);
    }
    return { image, backing: undefined };
  }
  if (format === undefined) {
    throw new OptionError(where, "the backing file's format is missing; expected -F raw or -F qcow2");
  }
  const options = { ...image.options, backing_file: file, backing_fmt: format };
  return { image: { format: "qcow2", options }, backing: { name: file, format } };
}

/** Opens the backing file of an image that is to be made, even where it is in use. As long as it is open, it is not overwritten. */
function openBacking(image: string, { name, format }: Backing, loop: EventLoop): Coroutine<ImageFile> {
  return openImageFile(resolveImageName(name, folderOf(image)), format, { loop, readOnly: true, forceShare: true });
}

/** Opens a backing file that need not be there, nor be what it is said to be. */
function tryToOpen(image: string, { name }: Backing, loop: EventLoop): HostFile | undefined {
  try {
    return openHostFile(resolveImageName(name, folderOf(image)), { loop, readOnly: true, forceShare: true });
  } catch {
    return undefined;
  }
}

/** Makes an image, with a progress bar where that takes long; what is unfinished is removed. */
async function make(path: string, options: NewImageOptions): Promise<void> {
  using work = new Interruptible(options.loop);
  const bar = startProgress({ total: options.size });
  const image = new NewImage({ ...options, progress: (fraction) => bar.update(fraction * options.size) });
  try {
    await work.drive(work.guard(image.make(path)));
    image.close();
    bar.finish();
  } catch (error) {
    image.discard();
    throw error;
  } finally {
    bar.abandon();
  }
}

/** Makes an image. @returns The exit status. */
export async function runCreate({ options, positionals: [file, givenSize] }: ImgArguments<"create">): Promise<number> {
  const parsed = parseFormatOptions("create -o", options.f, options.o);
  const { image, backing } = withBacking("create", parsed, ["-b", options.b], options.F);
  const asked = oneOfTwo("create SIZE", givenSize, parsed.options.size);
  const loop = new EventLoop();
  let below: HostFile | undefined;
  try {
    const opened = backing === undefined || options.u ? undefined : runToEnd(loop, openBacking(file, backing, loop));
    below = opened?.file ?? (backing && tryToOpen(file, backing, loop));
    const size = asked ?? (opened && virtualSize(opened));
    if (size === undefined) throw new OptionError("create", "SIZE is missing; 'splitvm img create --help' explains it");
    if (!options.q) print(`${formattingLine(file, image, size)}\n`);
    await make(file, { loop, image, size: Math.ceil(size / SECTOR) * SECTOR });
    return 0;
  } finally {
    below?.close();
    loop.close();
  }
}
