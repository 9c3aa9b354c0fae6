import { assert, assertEquals } from "@std/assert";
import { Campaign } from "./engine/campaign.ts";
import { keepInput, readCorpus } from "./engine/corpus_files.ts";
import type { Job } from "./engine/job.ts";

/** A campaign with targets that are broken on purpose, and a corpus of its own with one input that was kept. */
class Scene {
  readonly folder = Deno.makeTempDirSync({ prefix: "splitvm-campaign-" });
  readonly corpus = new URL(`file://${this.folder}/`);
  readonly lines: string[] = [];
  readonly campaign = new Campaign({
    processes: 2,
    targets: new URL("./engine/broken_targets.ts", import.meta.url),
    corpus: this.corpus,
    say: (line) => this.lines.push(line),
  });

  static async run(target: string, work: (scene: Scene) => Promise<void>): Promise<void> {
    const scene = new Scene();
    try {
      await keepInput(target, "reached", new TextEncoder().encode("old"), scene.corpus);
      await work(scene);
    } finally {
      Deno.removeSync(scene.folder, { recursive: true });
    }
  }

  kept(target: string): string[] {
    return readCorpus(target, this.corpus)
      .map(({ name, bytes }) => `${name.split("-")[0]} ${new TextDecoder().decode(bytes)}`)
      .sort();
  }
}

function jobs(target: string, processes: number, keep: number, inputs = 100): Job[] {
  return Array.from({ length: processes }, (_, i) => ({ target, seed: i, inputs, corpus: [], keep }));
}

Deno.test("what the corpus keeps gives way to the best of what all processes have reached", async () => {
  await Scene.run("numbers", async (scene) => {
    const two = jobs("numbers", 2, 2, 500);
    await scene.campaign.run(two);
    await scene.campaign.keepReached(two, 2);
    const kept = scene.kept("numbers");
    assertEquals(kept.length, 2);
    assert(!kept.includes("reached old"));
    assertEquals(scene.campaign.summary(["numbers"])[0].inputs, 1000);
  });
});

Deno.test("what the corpus keeps stays where a process was lost, and where nothing is to be kept", async () => {
  await Scene.run("dies", async (scene) => {
    const one = jobs("dies", 1, 3);
    await scene.campaign.run(one);
    await scene.campaign.keepReached(one, 3);
    assertEquals(scene.kept("dies"), ["found xy", "reached old"]);
  });
  await Scene.run("numbers", async (scene) => {
    const one = jobs("numbers", 1, 0);
    await scene.campaign.run(one);
    await scene.campaign.keepReached(one, 0);
    assertEquals(scene.kept("numbers"), ["reached old"]);
  });
});

Deno.test("what two processes find in the same way is one finding", async () => {
  await Scene.run("fails-and-dies", async (scene) => {
    await scene.campaign.run(jobs("fails-and-dies", 2, 0));
    const [{ findings }] = scene.campaign.summary(["fails-and-dies"]);
    assertEquals(findings, 2);
    assertEquals(scene.kept("fails-and-dies"), ["found x", "found yy", "reached old"]);
  });
});

Deno.test("a campaign that is stopped keeps what it has found, says how far it came, and leaves no files", async () => {
  const temporary = () => {
    const file = Deno.makeTempFileSync({ prefix: "splitvm-folder-" });
    const folder = file.slice(0, file.lastIndexOf("/"));
    Deno.removeSync(file);
    return [...Deno.readDirSync(folder)].filter(({ name }) => name.startsWith("splitvm-fuzz-"));
  };
  const before = temporary().length;
  await Scene.run("fails-and-hangs", async (scene) => {
    const end = scene.campaign.run(jobs("fails-and-hangs", 1, 1));
    while (scene.kept("fails-and-hangs").length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    assert(temporary().length > before);
    scene.campaign.stop();
    await end;
    assertEquals(scene.kept("fails-and-hangs"), ["found x", "reached old"]);
    assertEquals(scene.campaign.summary(["fails-and-hangs", "sound"]).map(({ findings }) => findings), [1]);
  });
  assertEquals(temporary().length, before);
});

Deno.test("a campaign that was stopped before it began does nothing", async () => {
  await Scene.run("sound", async (scene) => {
    scene.campaign.stop();
    await scene.campaign.run(jobs("sound", 2, 0));
    assertEquals(scene.campaign.summary(["sound"]), []);
  });
});
