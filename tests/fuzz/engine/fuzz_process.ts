/**
 * Starts and watches a fuzzing process: one that hangs, dies or takes too much memory is a finding like any other,
 * and the next job gets a new one.
 *
 * Threads would not do. What a target must not leave behind is counted for the whole process (descriptors), what it
 * may break is the process itself (mapped memory), and a thread that waits in the kernel cannot be ended.
 *
 * @module
 */
import { CurrentInput, type Job, type JobResult, type Progress } from "./job.ts";

/** How long a process may take to start and to make a target, in milliseconds. */
const START_PATIENCE = 120_000;

/**
 * A process that says nothing for so long hangs, in milliseconds. It speaks each second; an input takes milliseconds.
 */
const PATIENCE = 60_000;

/** Resident memory in bytes that no target needs: each runs in a few hundred megabytes. */
const MEMORY_LIMIT = 3 * 2 ** 30;

type Child = {
  readonly process: Deno.ChildProcess;
  readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly lines: ReadableStreamDefaultReader<string>;
};

/** Splits text into lines. */
function lineStream(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(text, controller) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      lines.forEach((line) => controller.enqueue(line));
    },
  });
}

/** A fuzzing process, started for the first job. */
export class FuzzProcess {
  readonly #inputFile = Deno.makeTempFileSync({ prefix: "splitvm-fuzz-" });
  readonly #targets: URL;
  readonly #patience: number;
  #child: Child | undefined;

  /**
   * @param options `targets`: the module that has the targets. `patience`: after how many milliseconds of silence a
   * process hangs.
   * @default {{ targets: "../targets/mod.ts", patience: 60_000 }}
   */
  constructor({ targets = new URL("../targets/mod.ts", import.meta.url), patience = PATIENCE } = {}) {
    this.#targets = targets;
    this.#patience = patience;
    Deno.truncateSync(this.#inputFile, CurrentInput.SIZE);
  }

  /** Carries out a job. @param onProgress Called about every second with the number of inputs. */
  async run(job: Job, onProgress: (inputs: number) => void = () => {}): Promise<JobResult> {
    const child = this.#child ??= this.#start();
    let inputs = 0;
    const start = performance.now();
    const failed = async (what: string) => {
      const finding = { input: this.#currentInput(), what };
      await this.#end(true);
      const seconds = (performance.now() - start) / 1000;
      return {
        kind: "result",
        target: job.target,
        inputs,
        seconds,
        features: 0,
        corpus: 0,
        findings: [finding],
        kept: [],
      } as const;
    };
    await child.writer.write(new TextEncoder().encode(`${JSON.stringify(job)}\n`));
    for (let patience = START_PATIENCE;; patience = this.#patience) {
      const line = await this.#nextLine(child, patience);
      if (line === "silence") return failed(`the process has hung for ${patience / 1000} s with this input`);
      if (line === undefined) return failed(`the process has died with this input: ${await this.#fate()}`);
      if (line.kind === "result") return line;
      if (line.memory > MEMORY_LIMIT) {
        return failed(`the process takes ${line.memory} bytes, at the latest with this input`);
      }
      onProgress(inputs = line.inputs);
    }
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#end(false);
    Deno.removeSync(this.#inputFile);
  }

  #start(): Child {
    const [config, main] = ["../../../deno.json", "./process_main.ts"].map((path) =>
      new URL(path, import.meta.url).pathname
    );
    const process = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-prompt",
        "--no-check",
        `--config=${config}`,
        "-P=fuzz",
        main,
        this.#inputFile,
        this.#targets.href,
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream()).getReader();
    return { process, writer: process.stdin.getWriter(), lines };
  }

  async #nextLine({ lines }: Child, patience: number): Promise<Progress | JobResult | "silence" | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<"silence">((resolve) => timer = setTimeout(() => resolve("silence"), patience));
    const line = await Promise.race([lines.read(), silence]);
    clearTimeout(timer);
    if (line === "silence") return line;
    return line.done ? undefined : JSON.parse(line.value);
  }

  async #fate(): Promise<string> {
    const { code, signal } = await this.#child!.process.status;
    return signal ?? `status ${code}`;
  }

  #currentInput(): string {
    const bytes = Deno.readFileSync(this.#inputFile);
    const length = new DataView(bytes.buffer).getUint32(CurrentInput.LENGTH, true);
    return bytes.subarray(CurrentInput.BYTES, CurrentInput.BYTES + length).toBase64();
  }

  async #end(atOnce: boolean): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    if (atOnce) kill(child.process);
    await child.writer.close().catch(() => {}); // its end of the pipe may be gone
    await child.lines.cancel();
    await child.process.status;
  }
}

function kill(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
