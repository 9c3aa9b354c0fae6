/**
 * A real device process, started as a VMM or a user starts it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { pollFd, Ready } from "../../src/ffi/event.ts";
import { closeFd, openFile } from "../../src/ffi/file.ts";
import { type ChildProcess, type ExitStatus, Signal, spawn } from "../../src/ffi/process.ts";
import { createSocketPair, MessageSocket } from "../../src/ffi/socket.ts";
import { Channel } from "../../src/link/channel.ts";
import type { Message } from "../../src/link/message.ts";
import { readAll } from "./child.ts";
import { openDescriptors } from "./leaks.ts";

/** After this long without a sign of life the process counts as hung; no test waits for it to pass. */
const PATIENCE = 30_000;

/** The number that the link has in the process. */
const LINK = 3;

/** Enough of open(2) to see whether a name is there. */
const O_PATH = 0o10000000;

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** A device process with an LSI 53C895A and one disk. */
export class RemoteProcess {
  readonly channel: Channel;
  readonly #raw: MessageSocket;
  readonly #child: ChildProcess;
  readonly #errors: number;

  /** @param args Follows `-machine remote`. @default {an adapter, a disk over `image`, and the object for the link} */
  constructor(image: string, args: readonly string[] = defaultArguments(image), link?: number) {
    const [near, far] = createSocketPair();
    const [errors, stderr] = createSocketPair();
    try {
      this.#child = spawn({
        command: [Deno.execPath(), "run", "--allow-ffi", "--no-prompt", MAIN, "-machine", "remote", ...args],
        env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", HOME: "/nonexistent", DENO_DIR: denoDirectory() },
        descriptors: new Map([[0, null], [1, stderr], [2, stderr], [LINK, link ?? far]]),
      });
    } finally {
      [far, stderr].forEach(closeFd);
    }
    this.channel = new Channel(near);
    this.#raw = new MessageSocket(near);
    this.#errors = errors;
  }

  /** Sends a message and returns the halves of its reply. */
  call(make: (message: Message) => void): [low: number, high: number] {
    make(this.channel.outgoing);
    this.channel.call(this.channel.outgoing, PATIENCE);
    return [this.channel.incoming.returnLow, this.channel.incoming.returnHigh];
  }

  /** Sends a message that has no reply. */
  tell(make: (message: Message) => void, descriptors: readonly number[]): void {
    make(this.channel.outgoing);
    this.channel.send(this.channel.outgoing, descriptors, PATIENCE);
  }

  /** Sends bytes, whatever they are. */
  sendRaw(bytes: Uint8Array<ArrayBuffer>): void {
    assertEquals(this.#raw.send(bytes, 0, bytes.length, [], true), bytes.length);
  }

  /** How many descriptors the process has open. */
  descriptorCount(): number {
    let count = 0;
    for (let fd = 0; fd < 256; fd++) {
      try {
        closeFd(openFile(`/proc/${this.#child.pid}/fd/${fd}`, O_PATH));
        count++;
      } catch {
        // not open
      }
    }
    return count;
  }

  /** Waits for the end of the process. @returns how it ended, and what it wrote to standard error. */
  wait(): { status: ExitStatus; errors: string } {
    if (pollFd(this.#child.pidfd, Ready.IN, PATIENCE) === 0) this.#child.kill(Signal.KILL);
    const status = this.#child.wait();
    this.#child.close();
    this.channel.close();
    const errors = readAll(this.#errors);
    closeFd(this.#errors);
    return { status, errors };
  }
}

/** Where this Deno keeps the modules that are cached already. */
function denoDirectory(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
}

/** A test body that gets the path of an image of 1 MiB, and may leave no descriptor open. */
export function withImage(body: (image: string) => void): () => void {
  return () => {
    const image = Deno.makeTempFileSync({ prefix: "splitvm-remote-" });
    try {
      Deno.truncateSync(image, 0x100000);
      const before = openDescriptors();
      body(image);
      assertEquals(openDescriptors(), before);
    } finally {
      Deno.removeSync(image);
    }
  };
}

/** The command line of a process that serves one disk. */
export function defaultArguments(image: string): string[] {
  return [
    ...["-device", "lsi53c895a,id=lsi0"],
    ...["-drive", `id=d0,file=${image},format=raw,if=none`],
    ...["-device", "scsi-hd,id=hd0,drive=d0,bus=lsi0.0,scsi-id=0"],
    ...["-object", `remote-object,id=robj0,devid=lsi0,fd=${LINK}`],
  ];
}
