/**
 * A device process in a jail that somebody else's VMM uses: what `splitvm jail` hands over to it, and how it waits for its end.
 *
 * It stays beside the device process, since the first process of a pid namespace is always a child. Whoever looks at it from outside
 * finds what an unjailed device process would be: it takes signals, and its exit status is that of the device process.
 *
 * @module
 */
import { openDriveFiles } from "../block/image_files.ts";
import { closeGivenFiles, giveFiles } from "../block/open_path.ts";
import { Epoll, Ready } from "../ffi/event.ts";
import { closeFd, createPipe, isInheritedFd, readFd, writeFd } from "../ffi/file.ts";
import { endWithParent, type ExitStatus, Signal, stopSelf } from "../ffi/process.ts";
import { closeAll } from "../ffi/socket.ts";
import { catchSignals } from "../interrupted.ts";
import { log } from "../log.ts";
import { freshIdentity, type JailedProcess, type MissingWall, spawnJailed } from "../proxy/jail.ts";
import { largestFile } from "../proxy/largest_file.ts";
import type { DriveConfig, RemoteConfig } from "../remote/config.ts";
import { SELF_ENVIRONMENT, selfCommand, selfFiles } from "../vmm/self_command.ts";
import { deviceWords, type JailCommand } from "./jail_command.ts";

/** A process that the kernel ended by a filter of system calls (asm/signal.h, SIGSYS). */
const BAD_CALL = 31;
/** Added to a signal's number, an exit status that tells a shell of it. */
const BY_SIGNAL = 128;

/** What a device process inherits besides the standard streams, under the numbers that its command line has. */
function inheritedFds({ objects, monitors }: RemoteConfig): number[] {
  return [
    ...objects.map(({ id, fd }) => requireGiven(`remote-object ${id}`, fd)),
    ...monitors.flatMap(({ id, transport }) =>
      "fd" in transport ? [requireGiven(`character device ${id}`, transport.fd)] : []
    ),
  ];
}

/** There, every descriptor looks like one that was given. */
function requireGiven(what: string, fd: number): number {
  if (isInheritedFd(fd)) return fd;
  throw new Error(`${what}: fd ${fd} is not an open descriptor that this process was given`);
}

function drivesOf({ objects }: RemoteConfig): DriveConfig[] {
  return objects.flatMap(({ device }) => device.disks.map(({ drive }) => drive));
}

/** The files of all images, open: those that this process was given, and those that it opens. */
function imageFiles(config: RemoteConfig) {
  const { files } = config;
  for (const { path, fd } of files) requireGiven(`add-fd ${path}`, fd);
  giveFiles(files);
  try {
    return drivesOf(config).flatMap(openDriveFiles);
  } finally {
    closeGivenFiles();
  }
}

/** The lowest numbers from 3 on that are not taken. */
function freeNumbers(taken: readonly number[], count: number): number[] {
  const free: number[] = [];
  for (let number = 3; free.length < count; number++) if (!taken.includes(number)) free.push(number);
  return free;
}

/** Starts the device process. What it got is closed here. @param readyEnd Where it is to say that it has all open. */
function start(command: JailCommand, readyEnd: number): JailedProcess {
  const inherited = inheritedFds(command.config);
  if (command.config.ready !== undefined) requireGiven("run-with ready-fd", command.config.ready);
  const files = imageFiles(command.config);
  try {
    const [ready, ...numbers] = freeNumbers(inherited, 1 + files.length);
    const given = files.map(({ path }, i) => ({ path, fd: numbers[i] }));
    const { readable, env } = selfFiles();
    return spawnJailed({
      command: [...selfCommand(), ...deviceWords(command, { files: given }, ready)],
      env: { ...SELF_ENVIRONMENT, ...env },
      descriptors: new Map([
        ...inherited.map((fd): [number, number] => [fd, fd]),
        ...files.map(({ fd }, i): [number, number] => [numbers[i], fd]),
        [ready, readyEnd],
      ]),
      readable,
      securityContext: command.securityContext,
      largestFile: largestFile(drivesOf(command.config), files),
      identity: freshIdentity(),
    });
  } finally {
    closeAll([...files.map(({ fd }) => fd), ...inherited]);
  }
}

/** Takes its root from a device process that has all open, and tells whoever asked to be told. */
function settle({ emptyRoot }: JailedProcess, { config, sandbox }: JailCommand): void {
  // Without its filter, a process may open something yet, if only a module of its own.
  const missing = sandbox ? emptyRoot() : undefined;
  if (missing !== undefined) tellMissing(missing);
  if (config.ready === undefined) return;
  try {
    writeFd(config.ready, new TextEncoder().encode("\n"));
  } catch {
    // EPIPE: nobody listens any more
  }
  closeFd(config.ready);
}

function tellMissing({ wall, why }: MissingWall): void {
  log(`the device process is jailed without ${wall}: ${why}`);
}

/** Keys that stop a job stop a device process as well; one that is the first of its pid namespace heeds no other signal than this. */
function passStopOn({ process }: JailedProcess): () => void {
  const stop = () => {
    process.kill(Signal.STOP);
    stopSelf();
    process.kill(Signal.CONT);
  };
  Deno.addSignalListener("SIGTSTP", stop);
  return () => Deno.removeSignalListener("SIGTSTP", stop);
}

/** Waits for the end. @param ready Readable when the process has all open. */
async function follow(jailed: JailedProcess, command: JailCommand, ready: number, interruption: Promise<never>) {
  const { process } = jailed;
  const epoll = new Epoll();
  try {
    epoll.add(process.pidfd, Ready.IN);
    epoll.add(ready, Ready.IN);
    for (;;) {
      let told = false;
      await Promise.race([epoll.waitElsewhere((fd) => told ||= fd === ready), interruption]);
      const status = process.poll();
      if (status !== undefined) return status;
      if (!told) continue;
      epoll.remove(ready);
      if (readFd(ready, new Uint8Array(1)) > 0) settle(jailed, command);
    }
  } finally {
    epoll.close();
  }
}

function exitStatus(status: ExitStatus): number {
  if ("code" in status) return status.code;
  const why = status.signal === BAD_CALL ? ", for a system call that it may not make" : "";
  log(`the device process was ended by signal ${status.signal}${why}`);
  return BY_SIGNAL + status.signal;
}

/**
 * Runs a device process in a jail to its end.
 *
 * @returns its exit status; 128 and a signal's number when it was ended by that.
 * @throws {Error} when it cannot be started; {@linkcode Interrupted} when a signal ended it by way of this process.
 */
export async function runJailed(command: JailCommand): Promise<number> {
  if (command.config.exitWithParent) endWithParent();
  const { promise: interruption, reject: interrupt } = Promise.withResolvers<never>();
  // Whoever waits for it hears of it; nobody may wait yet.
  interruption.catch(() => {});
  const release = catchSignals(interrupt);
  const [ready, theirs] = createPipe();
  try {
    const jailed = start(command, theirs);
    closeFd(theirs);
    jailed.missing.forEach(tellMissing);
    const goOn = passStopOn(jailed);
    try {
      return exitStatus(await follow(jailed, command, ready, interruption));
    } finally {
      goOn();
      // After a signal. What it held is free again before this process's end says so.
      jailed.process.kill(Signal.KILL);
      jailed.process.wait();
      jailed.process.close();
    }
  } finally {
    closeFd(ready);
    release();
  }
}
