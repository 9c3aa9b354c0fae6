/**
 * Carries out the jobs of a plan, and keeps what they find in the corpus: each finding as soon as there is one, so
 * that it outlives whatever ends the campaign.
 *
 * @module
 */
import { keepInput, replaceReached } from "./corpus_files.ts";
import { FuzzProcess } from "./fuzz_process.ts";
import type { FoundCase, Job, JobResult } from "./job.ts";

/** What a {@linkcode Campaign} is made of. */
export interface CampaignOptions {
  /** How many processes work at a time. */
  readonly processes: number;
  /** The module that has the targets. @default {tests/fuzz/targets/mod.ts} */
  readonly targets?: URL;
  /** The folder of the corpora. @default {tests/fuzz/corpus} */
  readonly corpus?: URL;
  /** Takes lines for the user. */
  readonly say: (text: string) => void;
}

/** What has become of a target: all its processes together. */
export interface TargetResult {
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  /** Of the process that has most. */
  readonly features: number;
  /** Of the process that has most. */
  readonly corpus: number;
  /** Different ones. */
  readonly findings: number;
}

/** Fuzzes by means of several processes, until there are no jobs left or somebody stops it. */
export class Campaign {
  readonly #options: CampaignOptions;
  readonly #running = new Set<FuzzProcess>();
  readonly #results: JobResult[] = [];
  /** Per target, the signatures of what has been found. */
  readonly #found = new Map<string, Set<string>>();
  /** Findings on their way to the disk. */
  readonly #writes: Promise<void>[] = [];
  #stopped = false;

  constructor(options: CampaignOptions) {
    this.#options = options;
  }

  /** Has each process take the next job until there is none. Temporary files are gone afterwards. */
  async run(jobs: readonly Job[]): Promise<void> {
    const left = [...jobs];
    await this.#withProcesses(Math.min(this.#options.processes, left.length), async (process) => {
      for (let job = left.shift(); job !== undefined && !this.#stopped; job = left.shift()) {
        const result = await process.run(job, (finding) => this.#keep(job!.target, finding));
        this.#results.push(result);
        this.#options.say(`${job.target}: ${result.inputs} inputs, ${result.findings.length} findings`);
      }
    });
    await Promise.all(this.#writes);
  }

  /** Ends all processes. {@linkcode Campaign.run} returns soon, with results as far as they go. */
  stop(): void {
    this.#stopped = true;
    for (const process of this.#running) process.stop();
  }

  /**
   * Puts the inputs that reach most in the place of those that the corpus has: where all of a target's processes came
   * to the end of their jobs. What is there is never removed for less.
   */
  async keepReached(jobs: readonly Job[], keep: number): Promise<void> {
    const targets = new Set(keep > 0 ? jobs.map(({ target }) => target) : []);
    for (const target of targets) {
      const kept = await this.#reachedMost(target, jobs, keep);
      if (kept.length > 0) await replaceReached(target, kept.map(decode), this.#options.corpus);
      else this.#options.say(`${target}: what the corpus keeps stays as it is: there is no whole new set`);
    }
  }

  /** What was done, in the order of `targets`; those without any result are left out. */
  summary(targets: readonly string[]): TargetResult[] {
    return targets.flatMap((target) => {
      const results = this.#resultsOf(target);
      if (results.length === 0) return [];
      const most = (of: (result: JobResult) => number) => Math.max(...results.map(of));
      return [{
        target,
        inputs: results.reduce((sum, { inputs }) => sum + inputs, 0),
        seconds: most(({ seconds }) => seconds),
        features: most(({ features }) => features),
        corpus: most(({ corpus }) => corpus),
        findings: this.#found.get(target)?.size ?? 0,
      }];
    });
  }

  #resultsOf(name: string): JobResult[] {
    return this.#results.filter(({ target }) => target === name);
  }

  /** Of several processes' choices the best ones; none unless each process has made its choice. */
  async #reachedMost(target: string, jobs: readonly Job[], keep: number): Promise<readonly string[]> {
    const results = this.#resultsOf(target);
    const whole = results.length === jobs.filter((job) => job.target === target).length;
    if (!whole || results.some(({ kept }) => kept === undefined)) return [];
    const corpus = [...new Set(results.flatMap(({ kept }) => kept ?? []))];
    if (results.length === 1) return corpus;
    let chosen: readonly string[] = [];
    await this.#withProcesses(1, async (process) => {
      chosen = (await process.run({ target, seed: 0, inputs: 0, corpus, keep })).kept ?? [];
    });
    return chosen;
  }

  async #withProcesses(count: number, work: (process: FuzzProcess) => Promise<void>): Promise<void> {
    await Promise.all(Array.from({ length: count }, async () => {
      const process = new FuzzProcess({ targets: this.#options.targets });
      this.#running.add(process);
      if (this.#stopped) process.stop();
      try {
        await work(process);
      } finally {
        this.#running.delete(process);
        await process.close();
      }
    }));
  }

  #keep(target: string, { input, what, signature }: FoundCase): void {
    const known = this.#found.get(target) ?? new Set();
    this.#found.set(target, known);
    if (known.has(signature)) return;
    known.add(signature);
    const written = keepInput(target, "found", decode(input), this.#options.corpus);
    this.#writes.push(written.then((path) => this.#options.say(`\ntests/fuzz/corpus/${path}\n${what}`)));
  }
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(base64);
}
