/**
 * Runs the host's programs: Debian's tools and QEMU.
 *
 * @module
 */

/** What a program left behind. */
export interface CommandResult {
  readonly status: number;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: string;
}

/** Runs a program to its end, and returns what it said. */
export async function run(program: string, args: readonly string[], cwd?: string): Promise<CommandResult> {
  const output = await spawnable(program, () => new Deno.Command(program, { args: [...args], cwd }).output());
  return {
    status: output.code,
    stdout: output.stdout as Uint8Array<ArrayBuffer>,
    stderr: new TextDecoder().decode(output.stderr),
  };
}

/**
 * Runs a program that must succeed.
 *
 * @returns what it wrote to its standard output.
 * @throws {Error} with its complaints when it does not.
 */
export async function mustRun(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, cwd);
  const text = new TextDecoder().decode(stdout);
  if (status !== 0) {
    throw new Error(`${program} ${args.join(" ")} ended with ${status}: ${stderr.trim() || text.trim()}`);
  }
  return text;
}

async function spawnable<T>(program: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(`The lab needs the program ${program}: install Debian's package with it`, { cause });
  }
}
