/**
 * `splitvm img convert`.
 *
 * @module
 */
import type { BlockDevice } from "../block/block_device.ts";
import { type Coroutine, runToEnd, waitFor } from "../block/coroutine.ts";
import { folderOf, resolveImageName } from "../block/image_names.ts";
import { openChain, openImage } from "../block/open_image.ts";
import { openQcow2 } from "../block/qcow2/qcow2.ts";
import { openRaw } from "../block/raw.ts";
import { EventLoop } from "../event_loop.ts";
import { CACHE_POLICIES } from "../options/storage.ts";
import { OptionError } from "../options/option_error.ts";
import type { ImgArguments } from "./arguments.ts";
import { type Compressor, copyImage } from "./copy.ts";
import { type ImageFormat, parseFormatOptions } from "./format_options.ts";
import { Interruptible } from "./interrupt.ts";
import { NewImage } from "./new_image.ts";
import { startProgress } from "./progress_line.ts";
import { type Backing, withBacking } from "./create.ts";

type ConvertOptions = ImgArguments<"convert">["options"];

/** What is to be done, with everything that can be checked beforehand checked. */
interface Plan {
  readonly source: string;
  readonly target: string;
  readonly options: ConvertOptions;
  /** What the target is to be. */
  readonly image: ImageFormat;
  readonly backing: Backing | undefined;
}

/** A target that is open, and what it reads as where nothing was written. */
interface Target {
  readonly disk: BlockDevice;
  readonly beneath: BlockDevice | "zeroes" | "unknown";
}

function plan({ options, positionals: [source, target] }: ImgArguments<"convert">): Plan {
  if (options.n && options.o !== undefined) throw new OptionError("convert -o", "is for a new image; not with -n");
  if (options.n && options.B !== undefined) throw new OptionError("convert -B", "is for a new image; not with -n");
  if (options["target-is-zero"] && !options.n) throw new OptionError("convert --target-is-zero", "expected -n as well");
  const parsed = parseFormatOptions("convert -o", options.O, options.o);
  if (parsed.options.size !== undefined) throw new OptionError("convert -o", "'size' is that of SRC");
  const { image, backing } = withBacking("convert", parsed, ["-B", options.B], options.F);
  if (options.c && image.format === "raw") throw new OptionError("convert -c", "raw images cannot be compressed");
  return { source, target, options, image, backing };
}

/** Opens the target that is there. */
function* openExisting({ target, options }: Plan, loop: EventLoop): Coroutine<Target> {
  const { device: disk } = yield* openChain(target, { loop, format: options.O, cache: options.t, discard: true });
  return { disk, beneath: options["target-is-zero"] ? "zeroes" : "unknown" };
}

/** Makes the target, once its backing file is open. */
function* openNew(plan: Plan, made: NewImage, loop: EventLoop): Coroutine<Target> {
  const { target, backing } = plan;
  if (backing === undefined) return yield* make(plan, made, undefined);
  const path = resolveImageName(backing.name, folderOf(target));
  const { device: below } = yield* openChain(path, { loop, format: backing.format, readOnly: true });
  try {
    return yield* make(plan, made, below);
  } catch (error) {
    yield* close(below);
    throw error;
  }
}

function* make({ target, options, image }: Plan, made: NewImage, below: BlockDevice | undefined): Coroutine<Target> {
  const { file, dataFile } = yield* made.make(target);
  const { writeCache } = CACHE_POLICIES[options.t];
  if (image.format === "raw") {
    return { disk: openRaw(file, { writeCache, discard: true }), beneath: file.kind === "file" ? "zeroes" : "unknown" };
  }
  const disk = yield* openQcow2(file, { writeCache, discard: true, dataFile, backing: below });
  return { disk, beneath: below ?? (dataFile?.kind === "device" ? "unknown" : "zeroes") };
}

function* close(disk: BlockDevice): Coroutine<void> {
  yield* waitFor((done) => disk.close(done));
}

/** @throws {Error} for a target that holds nothing compressed. */
function compressorOf(disk: BlockDevice): Compressor {
  if (disk.writeCompressed === undefined || disk.discardGranularity === undefined) {
    throw new OptionError("convert -c", "the target cannot be compressed; expected -O qcow2");
  }
  return { cluster: disk.discardGranularity, write: disk.writeCompressed.bind(disk) };
}

/** Copies, and brings the target to stable storage. */
function* copy(
  { target, options }: Plan,
  source: BlockDevice,
  { disk, beneath }: Target,
  work: Interruptible,
): Coroutine<void> {
  if (disk.size < source.size) {
    throw new Error(`Cannot write to ${target}: it has ${disk.size} bytes, and ${source.size} are to be written`);
  }
  const bar = startProgress({ total: source.size, asked: options.p, quiet: options.q });
  try {
    yield* copyImage({
      source,
      target: disk,
      beneath,
      sparse: options.S,
      compressor: options.c ? compressorOf(disk) : undefined,
      cluster: disk.discardGranularity,
      requests: options.m,
      ordered: !options.W,
      guard: (body) => work.guard(body),
      progress: (done) => bar.update(done),
    });
    yield* waitFor((done) => disk.flush(done));
    bar.finish();
  } finally {
    bar.abandon();
  }
}

function* convert(
  plan: Plan,
  made: NewImage,
  source: BlockDevice,
  work: Interruptible,
  loop: EventLoop,
): Coroutine<void> {
  const target = plan.options.n ? yield* openExisting(plan, loop) : yield* openNew(plan, made, loop);
  let copied = false;
  try {
    yield* copy(plan, source, target, work);
    copied = true;
  } finally {
    // After a failure, what closing says is of no account.
    yield* waitFor((done) => target.disk.close((error) => done(copied ? error : undefined)));
  }
}

/** Drives the conversion; a target that was made is removed where it fails. */
async function drive(plan: Plan, source: BlockDevice, loop: EventLoop): Promise<void> {
  using work = new Interruptible(loop);
  const { image, options } = plan;
  const made = new NewImage({ loop, cache: options.t, image, size: source.size });
  try {
    await work.drive(work.guard(convert(plan, made, source, work, loop)));
  } catch (error) {
    made.discard();
    throw error;
  }
}

/** Copies an image into another. @returns The exit status. */
export async function runConvert(args: ImgArguments<"convert">): Promise<number> {
  const task = plan(args);
  const { f, T, U } = task.options;
  const loop = new EventLoop();
  try {
    // As long as the source is open, and a backing file, the target can be neither of them, nor one of the files behind them.
    const { device: disk } = openImage(task.source, { loop, format: f, readOnly: true, cache: T, forceShare: U });
    try {
      await drive(task, disk, loop);
    } finally {
      runToEnd(loop, close(disk));
    }
    return 0;
  } finally {
    loop.close();
  }
}
