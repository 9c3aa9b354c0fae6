/**
 * `splitvm img resize`.
 *
 * @module
 */
import type { BlockDevice } from "../block/block_device.ts";
import { type Coroutine, runToEnd, waitFor } from "../block/coroutine.ts";
import type { HostFile } from "../block/host_file.ts";
import { folderOf, resolveImageName } from "../block/image_names.ts";
import { openHostFile } from "../block/open_host_file.ts";
import { openChain } from "../block/open_image.ts";
import type { Qcow2Header } from "../block/qcow2/header.ts";
import { resizeQcow2 } from "../block/qcow2/resize.ts";
import { EventLoop } from "../event_loop.ts";
import { OptionError } from "../options/option_error.ts";
import { print } from "../print.ts";
import type { ImgArguments } from "./arguments.ts";
import { LARGEST_DISK, type SizeChange } from "./command_table.ts";
import { knownFormat, openImageFile, virtualSize } from "./image_file.ts";
import { allocate } from "./new_image.ts";
import { startProgress } from "./progress_line.ts";

const SECTOR = 512;

type ResizeOptions = ImgArguments<"resize">["options"];

/**
 * The new size.
 *
 * @throws {OptionError} when it is no disk's, or smaller than allowed.
 */
export function newSize(size: number, { relation, bytes }: SizeChange, shrink: boolean): number {
  const wanted = relation === "=" ? bytes : relation === "+" ? size + bytes : size - bytes;
  const where = "resize SIZE";
  if (wanted % SECTOR !== 0) throw new OptionError(where, `${wanted} bytes are no multiple of ${SECTOR}`);
  if (wanted === 0) throw new OptionError(where, "nothing would be left of the image");
  if (wanted < 0) throw new OptionError(where, `the image has ${size} bytes; ${bytes} cannot be taken off`);
  if (wanted > LARGEST_DISK) throw new OptionError(where, `${wanted} bytes are too many`);
  if (wanted < size && !shrink) {
    throw new OptionError(
      where,
      `${wanted} bytes are fewer than the ${size} that there are; expected --shrink as well`,
    );
  }
  return wanted;
}

function* resizeRaw(
  file: HostFile,
  size: number,
  { preallocation }: ResizeOptions,
  progress: (fraction: number) => void,
): Coroutine<void> {
  if (preallocation === "metadata") {
    throw new OptionError("resize --preallocation", "raw images have no metadata; expected off, falloc or full");
  }
  if (file.kind === "device") throw new Error(`Cannot resize ${file.name}: a device has the size that it has`);
  const before = file.size;
  yield* waitFor((done) => file.truncate(size, done));
  if (preallocation !== "off") yield* allocate(file, before, size, preallocation, progress);
  yield* waitFor((done) => file.sync(done));
}

/** Opens what is behind an image; resizing closes it. */
function* behind(
  path: string,
  { backingFile, backingFormat, dataFile }: Qcow2Header,
  loop: EventLoop,
): Coroutine<{ backing?: BlockDevice; dataFile?: HostFile }> {
  const data = dataFile === undefined ? undefined : openHostFile(resolveImageName(dataFile, ""), { loop, named: true });
  if (backingFile === undefined) return { dataFile: data };
  try {
    const format = knownFormat(path, backingFormat);
    const name = resolveImageName(backingFile, folderOf(path));
    const { device: backing } = yield* openChain(name, { loop, format, readOnly: true });
    return { backing, dataFile: data };
  } catch (cause) {
    data?.close();
    throw new Error(`Cannot open what is behind ${path}`, { cause });
  }
}

function* resize(path: string, change: SizeChange, options: ResizeOptions, loop: EventLoop): Coroutine<void> {
  const image = yield* openImageFile(path, options.f, { loop });
  try {
    const size = newSize(virtualSize(image), change, options.shrink);
    const bar = startProgress({ total: size, quiet: options.q });
    try {
      const progress = (fraction: number) => bar.update(fraction * size);
      if (image.format === "raw") yield* resizeRaw(image.file, size, options, progress);
      else yield* resizeQcow2(image.file, size, { ...(yield* behind(path, image.header, loop)), ...options, progress });
      bar.finish();
    } finally {
      bar.abandon();
    }
  } finally {
    image.file.close();
  }
}

/** Changes the size of an image. @returns The exit status. */
export function runResize({ options, positionals: [path, change] }: ImgArguments<"resize">): number {
  const loop = new EventLoop();
  try {
    runToEnd(loop, resize(path, change, options, loop));
    if (!options.q) print("Image resized.\n");
    return 0;
  } finally {
    loop.close();
  }
}
