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
import { CurrentInput, type Extent, type Job, type Line } from "./job.ts";
import type { Target } from "./target.ts";

/** Milliseconds between two lines of progress. */
const PROGRESS_INTERVAL = 1000;

/** Inputs between two looks at the clock. */
const LOOK_INTERVAL = 16;

/** What a module of targets exports. */
type Targets = Readonly<Record<string, () => Target>>;

function say(line: Line): void {
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

function run(target: Target, job: Job, record: (input: Uint8Array) => void): void {
  const { seed, inputs = Infinity, seconds = Infinity, keep } = job;
  const corpus = job.corpus.map((text) => Uint8Array.fromBase64(text));
  const fuzzer = new Fuzzer({
    target,
    seed,
    corpus,
    onInput: record,
    onFinding: ({ input, what, signature }) => say({ kind: "discovery", input: input.toBase64(), what, signature }),
  });
  const extent = (): Extent => ({
    inputs: fuzzer.inputs,
    features: fuzzer.features.total,
    corpus: fuzzer.corpus.length,
  });
  const start = performance.now();
  const end = start + seconds * 1000;
  for (let look = start, told = start; fuzzer.inputs < inputs && look < end; look = performance.now()) {
    for (let i = 0; i < LOOK_INTERVAL && fuzzer.inputs < inputs; i++) fuzzer.step();
    if (look - told < PROGRESS_INTERVAL) continue;
    say({ kind: "progress", ...extent(), memory: Deno.memoryUsage().rss });
    told = look;
  }
  const kept = distil(target, inputs === 0 ? corpus : fuzzer.corpus, keep);
  say({ kind: "completion", ...extent(), kept: kept.map((input) => input.toBase64()) });
}

if (import.meta.main) {
  // A terminal sends it to each process; when to end is for the one that has started this one to say.
  Deno.addSignalListener("SIGINT", () => {});
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
      say({ kind: "progress", inputs: 0, features: 0, corpus: 0, memory: 0 });
      run(target, job, record);
    }
  }
}
