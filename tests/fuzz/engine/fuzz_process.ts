/**
 * Starts and watches a fuzzing process: one that hangs, dies or takes too much memory is a finding like any other,
 * and the next job gets a new one.
 *
 * Threads would not do. What a target must not leave behind is counted for the whole process (descriptors), what it
 * may break is the process itself (mapped memory), and a thread that waits in the kernel cannot be ended.
 *
 * @module
 */
import { kindOf } from "./features.ts";
import { CurrentInput, type Extent, type FoundCase, type Job, type JobResult, type Line } from "./job.ts";

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

/** Signals that somebody sends who wants an end: no target does. */
const ENDING: ReadonlySet<string> = new Set(["SIGINT", "SIGTERM"]);

/** A fuzzing process, started for the first job. */
export class FuzzProcess {
  /** Has the input's file, and is what the process takes for /tmp, so that nothing is left of one that was killed. */
  readonly #folder = Deno.makeTempDirSync({ prefix: "splitvm-fuzz-" });
  readonly #inputFile = `${this.#folder}/input`;
  readonly #targets: URL;
  readonly #patience: number;
  #child: Child | undefined;
  #stopped = false;

  /**
   * @param options `targets`: the module that has the targets. `patience`: after how many milliseconds of silence a
   * process hangs.
   * @default {{ targets: "../targets/mod.ts", patience: 60_000 }}
   */
  constructor({ targets = new URL("../targets/mod.ts", import.meta.url), patience = PATIENCE } = {}) {
    this.#targets = targets;
    this.#patience = patience;
    Deno.writeFileSync(this.#inputFile, new Uint8Array(CurrentInput.SIZE));
  }

  /** Carries out a job. @param onFinding Called with each finding at once. */
  async run(job: Job, onFinding: (finding: FoundCase) => void = () => {}): Promise<JobResult> {
    const start = performance.now();
    const findings: FoundCase[] = [];
    const found = (finding: FoundCase) => {
      findings.push(finding);
      onFinding(finding);
    };
    let extent: Extent = { inputs: 0, features: 0, corpus: 0 };
    const ended = (kept?: readonly string[]): JobResult => {
      const { inputs, features, corpus } = extent;
      const seconds = (performance.now() - start) / 1000;
      return { target: job.target, inputs, features, corpus, seconds, findings, kept };
    };
    if (this.#stopped) return ended();
    const child = this.#child ??= this.#start();
    // What it dies of before it has read the job is told by its end.
    await child.writer.write(new TextEncoder().encode(`${JSON.stringify(job)}\n`)).catch(() => {});
    for (let patience = START_PATIENCE;; patience = this.#patience) {
      const line = await this.#nextLine(child, patience);
      const loss = line === undefined ? await this.#fate(child) : lossOf(line, patience);
      if (line === undefined || line === "silence" || loss !== undefined) {
        if (loss !== undefined) found({ input: this.#currentInput(), what: loss, signature: kindOf(loss) });
        await this.#end(true);
        return ended();
      }
      if (line.kind === "discovery") found(line);
      else extent = line;
      if (line.kind === "completion") return ended(line.kept);
    }
  }

  /** Ends the process at once, and with it the job: its result is what there is. */
  stop(): void {
    this.#stopped = true;
    if (this.#child !== undefined) kill(this.#child.process);
  }

  /** Ends the process, and removes its files. */
  async close(): Promise<void> {
    await this.#end(this.#stopped);
    Deno.removeSync(this.#folder, { recursive: true });
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
      env: { TMPDIR: this.#folder },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines = process.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream()).getReader();
    return { process, writer: process.stdin.getWriter(), lines };
  }

  async #nextLine({ lines }: Child, patience: number): Promise<Line | "silence" | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<"silence">((resolve) => timer = setTimeout(() => resolve("silence"), patience));
    const line = await Promise.race([lines.read(), silence]);
    clearTimeout(timer);
    if (line === "silence") return line;
    return line.done ? undefined : JSON.parse(line.value);
  }

  /** What a process that has ended has died of; undefined when it was told to end. */
  async #fate({ process }: Child): Promise<string | undefined> {
    const { code, signal } = await process.status;
    if (this.#stopped || signal !== null && ENDING.has(signal)) return undefined;
    return `the process has died with this input: ${signal ?? `status ${code}`}`;
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

/** Why a process has to be given up. */
function lossOf(line: Line | "silence", patience: number): string | undefined {
  if (line === "silence") return `the process has hung for ${patience / 1000} s with this input`;
  if (line.kind !== "progress" || line.memory <= MEMORY_LIMIT) return undefined;
  return `the process takes ${line.memory} bytes, at the latest with this input`;
}

function kill(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
