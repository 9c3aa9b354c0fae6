import { assert, assertEquals, assertThrows } from "@std/assert";
import { ByteReader } from "./engine/byte_reader.ts";
import { input, u16, u32, u64 } from "./engine/byte_writer.ts";
import { distil } from "./engine/distil.ts";
import { Features, kindOf } from "./engine/features.ts";
import { FuzzProcess } from "./engine/fuzz_process.ts";
import { Fuzzer } from "./engine/fuzzer.ts";
import { GuardedRegion } from "./engine/guarded_memory.ts";
import { minimise } from "./engine/minimise.ts";
import { invariant, type Target } from "./engine/target.ts";

/** What breaks the target below: chance alone would take 2^40 inputs for it. */
const PASSWORD = [0xca, 0xfe, 0x12, 0x34, 0x56];

/** A target that fails for a password, and tells how much of it is right. */
function passwordTarget(options: Partial<Target> = {}): Target {
  return {
    name: "password",
    maxLength: 16,
    dictionary: [],
    seeds: [],
    run(bytes, features) {
      let right = 0;
      while (right < PASSWORD.length && bytes[right] === PASSWORD[right]) right++;
      features.hit(0, right);
      invariant(right < PASSWORD.length, `the password of ${bytes.length} bytes is known`);
    },
    ...options,
  };
}

function fuzz(target: Target, inputs: number, seed = 1): Fuzzer {
  const fuzzer = new Fuzzer({ target, seed });
  while (fuzzer.inputs < inputs && fuzzer.findings.length === 0) fuzzer.step();
  return fuzzer;
}

Deno.test("what inputs have reached leads to what is hard to find, and the finding is made short", () => {
  const { findings, corpus } = fuzz(passwordTarget(), 500_000);
  assertEquals(findings.map(({ input }) => [...input]), [PASSWORD]);
  assert(findings[0].what.includes("the password of 5 bytes is known"));
  assert(corpus.length <= PASSWORD.length + 1);
});

Deno.test("without features a fuzzer is left to chance", () => {
  const { run } = passwordTarget();
  const blind = passwordTarget({ run: (bytes) => run(bytes, new Features()) });
  assertEquals(fuzz(blind, 20_000).findings, []);
});

Deno.test("the same seed makes the same inputs, another one others", () => {
  const inputsOf = (seed: number) => {
    const inputs: string[] = [];
    fuzz(passwordTarget({ run: (bytes) => void inputs.push(bytes.toHex()) }), 200, seed);
    return inputs;
  };
  assertEquals(inputsOf(7), inputsOf(7));
  assert(inputsOf(7).join() !== inputsOf(8).join());
});

Deno.test("no input is longer than the target wants it", () => {
  let longest = 0;
  const dictionary = [new Uint8Array(10).fill(1)];
  const seeds = [{ name: "long", bytes: new Uint8Array(16) }];
  const run: Target["run"] = (bytes, features) => {
    longest = Math.max(longest, bytes.length);
    features.hit(bytes.length);
  };
  fuzz(passwordTarget({ dictionary, seeds, run }), 5000);
  assertEquals(longest, 16);
});

Deno.test("seeds and corpus come first, as they are", () => {
  const seen: number[][] = [];
  const target = passwordTarget({
    seeds: [{ name: "one", bytes: Uint8Array.of(1) }, { name: "two", bytes: Uint8Array.of(2) }],
    run: (bytes) => void seen.push([...bytes]),
  });
  const fuzzer = new Fuzzer({ target, seed: 1, corpus: [Uint8Array.of(3)] });
  for (let i = 0; i < 3; i++) fuzzer.step();
  assertEquals(seen, [[1], [2], [3]]);
});

Deno.test("one mistake is found once, and two mistakes twice", () => {
  const run: Target["run"] = ([first = 0]) => {
    if (first > 0x80) throw new TypeError(`a defect with ${first}`);
    invariant(first < 0x40, `broken by ${first}`);
  };
  const fuzzer = new Fuzzer({ target: passwordTarget({ run }), seed: 1 });
  while (fuzzer.inputs < 2000) fuzzer.step();
  assertEquals(fuzzer.findings.map(({ what }) => what.slice(0, 5)).sort(), ["Broke", "TypeE"]);
});

Deno.test("minimising leaves what is needed, in order, and zeroes what need not be as it is", () => {
  const fails = (bytes: Uint8Array) => bytes.indexOf(7) >= 0 && bytes.indexOf(9) > bytes.indexOf(7) + 1;
  const long = Uint8Array.from({ length: 300 }, (_, i) => i === 100 ? 7 : i === 200 ? 9 : 100 + i % 100);
  assertEquals([...minimise(long, fails)], [7, 0, 9]);
});

Deno.test("a feature counts once, and again where it is reached far more often", () => {
  const features = new Features();
  const reach = (times: number) => {
    for (let i = 0; i < times; i++) features.count(1, 2, 3);
    return features.commit();
  };
  assertEquals([1, 1, 2, 3, 4, 5, 7, 8, 200, 1000].map(reach), [1, 0, 1, 1, 1, 0, 0, 1, 1, 0]);
  assertEquals(features.total, 6);
  for (let i = 0; i < 10; i++) features.hit(4);
  assertEquals(features.commit(), 1);
  features.hit(5);
  features.discard();
  assertEquals(features.commit(), 0);
});

Deno.test("messages that differ in numbers and quotations are of one kind", () => {
  assertEquals(kindOf("fd 17 is not '0x5'"), kindOf("fd 0x1f is not 'what's that'"));
  assert(kindOf("fd 1 is closed") !== kindOf("fd 1 is open"));
});

Deno.test("a distilled corpus reaches what the whole one does beyond the seeds", () => {
  const run: Target["run"] = (bytes, features) => bytes.forEach((byte) => features.hit(byte));
  const target = passwordTarget({ run, seeds: [{ name: "known", bytes: Uint8Array.of(1) }] });
  const corpus = [[1], [1, 2], [2, 3, 4], [3, 4, 5, 6], [6, 6, 6, 6, 6]].map((bytes) => Uint8Array.from(bytes));
  assertEquals(distil(target, corpus, 10).map((bytes) => [...bytes]), [[3, 4, 5, 6], [1, 2]]);
  assertEquals(distil(target, corpus, 1).map((bytes) => [...bytes]), [[3, 4, 5, 6]]);
});

Deno.test("bytes are read as they were written, and zeroes behind them", () => {
  const reader = new ByteReader(input(1, u16(0x1234), u32(0xfedcba98), u64(2 ** 40 + 1), "ab", [9]));
  assertEquals([reader.u8(), reader.u16(), reader.u32(), reader.u64()], [1, 0x1234, 0xfedcba98, 2 ** 40 + 1]);
  assertEquals([new TextDecoder().decode(reader.bytes(2)), reader.done], ["ab", false]);
  assertEquals([[...reader.bytes(10)], reader.done, reader.u32(), reader.pick(["x", "y"])], [[9], true, 0, "x"]);
});

Deno.test("a write beside guest RAM is noticed, on either side", () => {
  for (const at of [-1, 64]) {
    const region = new GuardedRegion(0x1000, 64);
    region.bytes.fill(0xff);
    region.check();
    new Uint8Array(region.bytes.buffer)[region.bytes.byteOffset + at] ^= 1;
    assertThrows(() => region.check(), Error, "memory beside guest RAM at 0x1000");
  }
});

Deno.test("an input with which a process hangs or dies is a finding, and the next job gets another process", async () => {
  const targets = new URL("./engine/broken_targets.ts", import.meta.url);
  const process = new FuzzProcess({ targets, patience: 1500 });
  const findings = async (target: string) => {
    const { findings } = await process.run({ target, seed: 1, inputs: 100, corpus: [], keep: 0 });
    return findings.map(({ input, what }) => [new TextDecoder().decode(Uint8Array.fromBase64(input)), what]);
  };
  assertEquals(await findings("hangs"), [["xy", "the process has hung for 1.5 s with this input"]]);
  assertEquals(await findings("dies"), [["xy", "the process has died with this input: status 3"]]);
  assertEquals(await findings("sound"), []);
  await process.close();
});
