/**
 * The QEMU process that is the lab. Its second serial port is QEMU's standard input and output: the channel for commands, or the
 * terminal of a shell.
 *
 * @module
 */
import type { LabParts } from "./parts.ts";
import { TextFeed } from "./text_feed.ts";

/** How the lab's machine is set up. */
export interface QemuOptions {
  /** The file for what the lab's kernel says. */
  readonly log: string;
  /** The folder of this host that the lab can write to. */
  readonly runs: string;
  /** Whether it waits for commands, or gives this process's terminal a shell. */
  readonly mode: "commands" | "shell";
  /** @default {2} */
  readonly cpus?: number;
  /** In MiB. @default {3072} */
  readonly memory?: number;
  /** See `LabOptions`. @default {false} */
  readonly trustsTsc?: boolean;
}

/**
 * Without XSAVE and protection keys: TCG does not intercept XSETBV, so KVM would never see a guest's XCR0, and a guest's PKRU would stay
 * in force on the host, where V8 uses keys of its own. Nor without XSAVE what needs it to be switched on: QEMU leaves that to us, and
 * Linux takes a CPU's word for it.
 */
const CPU = "max,-xsave,-avx,-avx2,-f16c,-fma,-vaes,-vpclmulqdq,-pku";

const QEMU = "qemu-system-x86_64";

/**
 * Of a CPU like this one Linux believes that its time-stamp counters do not agree, and reads the time from the HPET, which is an exit to QEMU's
 * main thread for each look. TCG's counters do agree: they are the host's.
 */
const TRUST_TSC = "tsc=reliable";

function qemuArguments(parts: LabParts, options: QemuOptions): string[] {
  const { log, runs, mode, cpus = 2, memory = 3072, trustsTsc = false } = options;
  const share = (tag: string, path: string, more: string) => {
    return ["-virtfs", `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap${more}`];
  };
  return [
    ...["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", `${cpus}`, "-m", `${memory}`],
    ...["-nodefaults", "-display", "none", "-no-reboot"],
    ...["-serial", `file:${log}`, "-chardev", "stdio,id=control,signal=off", "-serial", "chardev:control"],
    // The ELF kernel need not unpack itself, which takes seconds here.
    ...["-kernel", parts.generic.vmlinux, "-initrd", parts.initramfs],
    ...["-append", `console=ttyS0 quiet panic=-1 mitigations=off ${trustsTsc ? TRUST_TSC : ""} lab.mode=${mode}`],
    ...share("root", "/", ",readonly=on"),
    ...share("runs", runs, ""),
  ];
}

/** A running lab that waits for commands. */
export interface LabProcess {
  send(text: string): Promise<void>;
  /**
   * Waits for a line, behind all lines that were waited for before.
   *
   * @returns the pattern's first group.
   * @throws {Error} when it does not come in so many seconds, or the lab ends before.
   */
  expect(line: RegExp, seconds: number): Promise<string>;
  /** Ends it, if it has not ended. */
  kill(): Promise<void>;
}

/** Starts a lab that waits for commands. */
export function startLab(parts: LabParts, options: Omit<QemuOptions, "mode">): LabProcess {
  // Whatever becomes of this process, its labs end with it.
  const child = new Deno.Command("setpriv", {
    args: ["--pdeathsig", "KILL", QEMU, ...qemuArguments(parts, { ...options, mode: "commands" })],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const output = new TextFeed();
  const reading = output.readFrom(child.stdout);
  return {
    send: (text) => writer.write(new TextEncoder().encode(text)),
    expect: async (line, seconds) => (await output.waitFor(line, seconds))[1],
    async kill() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
      await writer.close().catch(() => {});
      await Promise.all([child.status, reading]);
    },
  };
}

/** Gives this process's terminal to a shell in a lab of its own, until that ends. */
export async function runLabShell(parts: LabParts, options: Omit<QemuOptions, "mode">): Promise<void> {
  const args = qemuArguments(parts, { ...options, mode: "shell" });
  await new Deno.Command(QEMU, { args, stdin: "inherit", stdout: "inherit", stderr: "inherit" })
    .spawn().status;
}
