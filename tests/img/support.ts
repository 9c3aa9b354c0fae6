/**
 * Runs `splitvm img` as a user does, and the tool that it is measured by.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";

export { QEMU_IMG } from "../support/requirements.ts";

const ROOT = fromFileUrl(new URL("../..", import.meta.url));

/** The command line that `deno task start img` stands for. */
export const IMG = [
  Deno.execPath(),
  ...["run", "--quiet", "--no-prompt", "--no-check", "--cached-only", "--config", `${ROOT}deno.json`, "-P=splitvm"],
  `${ROOT}main.ts`,
  "img",
];

/** How a program ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is in every program's environment: no colours, and the time zone that dates are printed in. */
export const ENVIRONMENT = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", TZ: "UTC", LC_ALL: "C" };

async function run(cwd: string, [command, ...args]: readonly string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd, env: ENVIRONMENT }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** A folder with images, and the tools that work in it. */
export class Folder {
  private constructor(readonly path: string) {}

  /** Runs a test in a new folder. */
  static async with(body: (folder: Folder) => Promise<void>, parent = "/tmp"): Promise<void> {
    const path = await Deno.makeTempDir({ dir: parent, prefix: "splitvm-img-" });
    try {
      await body(new Folder(path));
    } finally {
      await Deno.remove(path, { recursive: true });
    }
  }

  /** Runs `splitvm img`. */
  img(...args: string[]): Promise<Outcome> {
    return run(this.path, [...IMG, ...args]);
  }

  /** Runs `qemu-img`. */
  qemu(...args: string[]): Promise<Outcome> {
    return run(this.path, ["qemu-img", ...args]);
  }

  /** Runs another program that is to succeed. */
  async tool(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(this.path, command);
    assertEquals(code, 0, `${command.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Has qemu-io write to an image: `write -P 1 0 64k`. */
  async write(image: string, ...commands: string[]): Promise<void> {
    await this.tool("qemu-io", ...commands.flatMap((command) => ["-c", command]), image);
  }

  /** Fails unless qemu-img finds two images to have the same contents, the same size included. */
  async assertSame(a: string, b: string): Promise<void> {
    const [outcome, infoA, infoB] = [await this.qemu("compare", a, b), await this.info(a), await this.info(b)];
    assertEquals([outcome.code, outcome.stdout], [0, "Images are identical.\n"], outcome.stderr);
    assertEquals(infoA["virtual-size"], infoB["virtual-size"]);
  }

  /** Fails unless qemu-img finds an image consistent. */
  async assertConsistent(image: string): Promise<void> {
    const { code, stdout, stderr } = await this.qemu("check", image);
    assertEquals(code, 0, stdout + stderr);
  }

  /** What qemu-img says of an image. */
  async info(image: string): Promise<Record<string, unknown>> {
    return JSON.parse(await this.tool("qemu-img", "info", "--output=json", image));
  }

  /** The names in the folder. */
  names(): string[] {
    return [...Deno.readDirSync(this.path)].map(({ name }) => name).sort();
  }

  /** Bytes that a file takes on its file system. */
  allocated(name: string): number {
    return (Deno.statSync(`${this.path}/${name}`).blocks ?? 0) * 512;
  }

  /** Changes bytes of a file. */
  patch(name: string, offset: number, bytes: readonly number[]): void {
    using file = Deno.openSync(`${this.path}/${name}`, { write: true });
    file.seekSync(offset, Deno.SeekMode.Start);
    file.writeSync(Uint8Array.from(bytes));
  }
}

/** Fails unless an outcome is one line of error, and nothing else. */
export function assertOneLine({ code, stdout, stderr }: Outcome, message: string): void {
  assertEquals([code, stdout], [1, ""], stderr);
  assertEquals(stderr.split("\n").length, 2, stderr);
  assertEquals(stderr.startsWith("splitvm img: "), true, stderr);
  assertEquals(stderr.includes("internal error"), false, stderr);
  assertEquals(stderr.includes(message), true, stderr);
}
