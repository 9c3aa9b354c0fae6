/**
 * A fuzzing process: takes jobs from standard input, and says on standard output how they go. Before each input it
 * writes that to a file that is mapped, where it is found should the process hang or die.
 *
 * @module
 */
import { openFile, OpenFlags } from "../../../src/ffi/file.ts";
import { mapFile } from "../../../src/ffi/memory.ts";
import { distil } from "./distil.ts";
import { Fuzzer } from "./fuzzer.ts";
import { CurrentInput, type Job, type JobResult, type Progress } from "./job.ts";
import type { Target } from "./target.ts";

/** Milliseconds between two lines of progress. */
const PROGRESS_INTERVAL = 1000;

/** Inputs between two looks at the clock. */
const LOOK_INTERVAL = 16;

/** What a module of targets exports. */
type Targets = Readonly<Record<string, () => Target>>;

function say(line: Progress | JobResult): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

function recorder(path: string): (input: Uint8Array) => void {
  const { bytes } = mapFile(openFile(path, OpenFlags.O_RDWR), 0, CurrentInput.SIZE);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return (input) => {
    bytes.set(input.subarray(0, CurrentInput.SIZE - CurrentInput.BYTES), CurrentInput.BYTES);
    view.setUint32(CurrentInput.LENGTH, input.length, true);
  };
}

function run(target: Target, job: Job, record: (input: Uint8Array) => void): JobResult {
  const { seed, inputs = Infinity, seconds = Infinity, corpus, keep } = job;
  const start = performance.now();
  const fuzzer = new Fuzzer({
    target,
    seed,
    corpus: corpus.map((text) => Uint8Array.fromBase64(text)),
    onInput: record,
  });
  const end = start + seconds * 1000;
  for (let look = start, told = start; fuzzer.inputs < inputs && look < end; look = performance.now()) {
    for (let i = 0; i < LOOK_INTERVAL && fuzzer.inputs < inputs; i++) fuzzer.step();
    if (look - told < PROGRESS_INTERVAL) continue;
    say({ kind: "progress", inputs: fuzzer.inputs, memory: Deno.memoryUsage().rss });
    told = look;
  }
  return {
    kind: "result",
    target: job.target,
    inputs: fuzzer.inputs,
    seconds: (performance.now() - start) / 1000,
    features: fuzzer.features.total,
    corpus: fuzzer.corpus.length,
    findings: fuzzer.findings.map(({ input, what }) => ({ input: input.toBase64(), what })),
    kept: distil(target, fuzzer.corpus, keep).map((input) => input.toBase64()),
  };
}

if (import.meta.main) {
  const [inputFile, module] = Deno.args;
  const record = recorder(inputFile);
  const { TARGETS } = await import(module) as { TARGETS: Targets };
  let text = "";
  for await (const piece of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (text + piece).split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      const job: Job = JSON.parse(line);
      const target = TARGETS[job.target]();
      say({ kind: "progress", inputs: 0, memory: 0 });
      say(run(target, job, record));
    }
  }
}
