/**
 * `-machine remote`, from its configuration to its exit status.
 *
 * Signals have their default effect, which is to end the process at once: `epoll_wait` does not return to JavaScript's
 * event loop, so no listener would run. Nothing that a guest was told is complete is lost by that, since its data are
 * with the host's kernel by then.
 *
 * @module
 */
import { closeGivenFiles, giveFiles } from "../block/open_path.ts";
import { closeFd, isInheritedFd, writeFd } from "../ffi/file.ts";
import type { DeviceClass } from "../ffi/jail/device_calls.ts";
import { endWithParent } from "../ffi/process.ts";
import type { ControllerConfig, RemoteConfig } from "./config.ts";
import { registerDevice } from "./devices.ts";
import { Lsi53c895a } from "./lsi53c895a/lsi53c895a.ts";
import { openEndpoints, type QmpEndpoint } from "../qmp/endpoint.ts";
import { log } from "../log.ts";
import { isTracing, markPhase, printPhases } from "../startup_trace.ts";
import { serveRemoteControl } from "./control.ts";
import { lockDown, type LockDownOptions } from "./lockdown.ts";
import { RemoteMachine } from "./remote_machine.ts";
import { tellClients } from "./start_error.ts";
import { openScsiBus } from "./storage.ts";

registerDevice<ControllerConfig>(
  "lsi53c895a",
  (config, resources) => new Lsi53c895a(resources.host, openScsiBus(config.disks, resources)),
);

/**
 * Runs a device process to its end: until the last proxy has gone away, or QMP's `quit`.
 *
 * @returns the exit status: 0 when every proxy has gone away in good order, 1 when a link ended by an error.
 * @throws {Error} when a device or its socket, or a QMP client's place, cannot be had; nothing is served then.
 */
export async function runRemote(config: RemoteConfig): Promise<number> {
  if (config.exitWithParent) endWithParent();
  const { ready } = config;
  if (ready !== undefined && !isInheritedFd(ready)) {
    throw new Error(`run-with ready-fd: fd ${ready} is not an open descriptor that this process was given`);
  }
  const monitors = await openEndpoints(config.monitors, log);
  for (const { fd, path } of config.files) {
    if (!isInheritedFd(fd)) throw new Error(`add-fd ${path}: fd ${fd} is not an open file that this process was given`);
  }
  giveFiles(config.files);
  const machine = new RemoteMachine(log);
  const { loop, runState } = machine;
  try {
    addDevices(machine, config, monitors.endpoints);
    markPhase("devices and images");
    let quit = false;
    const onQuit = () => void (quit = true);
    const server = serveRemoteControl({
      loop,
      runState,
      log,
      onQuit,
      endpoints: monitors.endpoints,
      name: config.name,
    });
    if (ready !== undefined) announce(ready);
    if (isTracing) {
      machine.turn();
      markPhase("first messages");
      printPhases("device process", log);
    }
    while (machine.size > 0 && !quit) machine.turn();
    server.close();
  } finally {
    machine.close();
    monitors.close();
  }
  return machine.failed ? 1 : 0;
}

/** Opens all that the process needs, locked down before it looks into any of it. @param clients Whom to tell of what is in the way. */
function addDevices(machine: RemoteMachine, config: RemoteConfig, clients: readonly QmpEndpoint[]): void {
  try {
    config.objects.forEach(requireGiven);
    const release = config.sandbox ? lockDown(machine.loop, needsOf(config)) : undefined;
    for (const object of config.objects) machine.add(object);
    release?.();
    closeGivenFiles();
  } catch (error) {
    throw config.startError === "qmp" ? tellClients(clients, error) : error;
  }
}

/** What each driver's devices do besides what all do. */
const CLASSES: Readonly<Record<ControllerConfig["driver"], readonly DeviceClass[]>> = { lsi53c895a: ["storage"] };

/** Of several devices, what any of them needs. An adapter without disks has nothing to store. */
function needsOf({ objects }: RemoteConfig): LockDownOptions {
  const drives = objects.flatMap(({ device }) => device.disks.map(({ drive }) => drive));
  const classes = objects.flatMap(({ device }) => CLASSES[device.driver]);
  return { drives, classes: classes.filter((name) => name !== "storage" || drives.length > 0) };
}

/** Nobody may listen any more: that is no reason to serve nothing. */
function announce(ready: number): void {
  try {
    writeFd(ready, new TextEncoder().encode("\n"));
  } catch {
    // EPIPE
  }
  closeFd(ready);
}

/** Deno has descriptors of its own among the first numbers, even sockets. */
function requireGiven({ id, fd }: RemoteConfig["objects"][number]): void {
  if (isInheritedFd(fd)) return;
  throw new Error(`remote-object ${id}: fd ${fd} is not an open UNIX stream socket that this process was given`);
}
