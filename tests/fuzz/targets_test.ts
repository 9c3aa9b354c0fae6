/**
 * Every target with its seeds, with what is kept of its corpus, and with as many inputs as the table says that are
 * made of these. `deno task fuzz` goes on where this ends.
 */
import { assertEquals } from "@std/assert";
import { runs } from "../support/runs.ts";
import { readCorpus } from "./engine/corpus_files.ts";
import { Features } from "./engine/features.ts";
import { FuzzProcess } from "./engine/fuzz_process.ts";
import { TARGETS } from "./targets/mod.ts";

/** How many inputs, quick and thorough: what takes half a second, and a few. */
const INPUTS: Readonly<Record<string, readonly [quick: number, thorough: number]>> = {
  "lsi53c895a": [500, 3000],
  "scsi": [2000, 12_000],
  "wire-to-device": [1000, 6000],
  "wire-to-proxy": [1000, 6000],
  "command-line": [8000, 60_000],
  "platform": [1000, 6000],
  "boot-image": [1000, 6000],
  "qmp": [2000, 12_000],
  "qcow2": [1000, 6000],
  "compressed-cluster": [5000, 30_000],
};

/** Each run of the tests is the same. */
const SEED = 1;

Deno.test("every target has a number of inputs", () => {
  assertEquals(Object.keys(INPUTS).sort(), Object.keys(TARGETS).sort());
});

Deno.test("what somebody hostile sends breaks nothing", async (test) => {
  const process = new FuzzProcess();
  for (const [target, amounts] of Object.entries(INPUTS)) {
    const inputs = runs(...amounts);
    const corpus = readCorpus(target).map(({ bytes }) => bytes.toBase64());
    await test.step(`${target}: ${inputs} inputs`, async () => {
      const result = await process.run({ target, seed: SEED, inputs, corpus, keep: 0 });
      assertEquals(result.findings, []);
      // Making a finding smaller takes more; there is none.
      assertEquals(result.inputs, inputs);
    });
  }
  await process.close();
});

for (const name of Object.keys(TARGETS)) {
  for (const { name: file, bytes } of readCorpus(name).filter(({ name }) => name.startsWith("found-"))) {
    Deno.test(`${name}: ${file}, which broke something once, does so no more`, () => {
      TARGETS[name]().run(bytes, new Features());
    });
  }
}
