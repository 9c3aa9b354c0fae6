/**
 * Killing what works on an image, again and again on the same one.
 *
 * @module
 */
import { workersEnded } from "../support/leaks.ts";
import { type Requirement, testNeeding } from "../support/requirements.ts";
import { type CrashImage, createImage, type ImageKind } from "./images.ts";
import { Journal } from "./journal.ts";
import { Killer } from "./killer.ts";

/** An image that suffers, and what is known of it. */
export interface Scene {
  readonly image: CrashImage;
  /** Where the image is; for further files. */
  readonly folder: string;
  readonly killer: Killer;
  /** What the image may hold. */
  readonly journal: Journal;
}

/** What becomes of one image. */
export interface Victim {
  /** Starts something that writes, kills it, and looks at what it left. */
  kill(): void;
  /** Starts something that ends in good order, after which nothing at all may be wrong. */
  end(): void;
}

/** What a crash test is about. */
export interface CrashTest {
  /** What is killed, for the test's name. */
  readonly killed: string;
  readonly needs: readonly Requirement[];
  readonly kinds: readonly ImageKind[];
  /** For each kind of image. */
  readonly kills: number;
  makeVictim(scene: Scene): Victim;
  /** What is checked around all kills. @default {nothing} */
  readonly around?: (body: () => void) => () => void;
}

function torment(kind: ImageKind, { kills, makeVictim }: CrashTest, killer: Killer): void {
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "splitvm-crash-" });
  let done = 0;
  try {
    const image = createImage(kind, folder);
    const victim = makeVictim({ image, folder, killer, journal: new Journal(image.initial) });
    for (; done < kills; done++) victim.kill();
    victim.end();
    Deno.removeSync(folder, { recursive: true });
  } catch (error) {
    throw new Error(`after ${done} kills; the image stays in ${folder}`, { cause: error });
  }
}

/** Registers a test for each kind of image. */
export function testCrashes(test: CrashTest): void {
  const { killed, needs, kinds, around = (body) => body } = test;
  for (const kind of kinds) {
    const name = `what a guest was told is on stable storage survives the kill of ${killed}: ${kind.name}`;
    testNeeding(needs, name, async () => {
      const killer = new Killer();
      try {
        around(() => torment(kind, test, killer))();
      } finally {
        killer.close();
        await workersEnded();
      }
    });
  }
}
