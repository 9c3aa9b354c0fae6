/**
 * `splitvm img info`.
 *
 * @module
 */
import { runToEnd } from "../block/coroutine.ts";
import { EventLoop } from "../event_loop.ts";
import { print, printJson } from "../print.ts";
import type { ImgArguments } from "./arguments.ts";
import { lookAt, lookAtChain } from "./image_chain.ts";
import type { ImageInfo } from "./image_info.ts";
import { infoText } from "./info_text.ts";

/** Says what an image is. @returns The exit status. */
export function runInfo({ options, positionals: [file] }: ImgArguments<"info">): number {
  const loop = new EventLoop();
  try {
    const look = options["backing-chain"] ? lookAtChain : lookAt;
    const found = runToEnd<ImageInfo | ImageInfo[]>(loop, look(file, options.f, { loop, forceShare: options.U }));
    if (options.output === "json") printJson(found);
    else print([found].flat().map(infoText).join("\n"));
    return 0;
  } finally {
    loop.close();
  }
}
