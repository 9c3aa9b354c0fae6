/**
 * QMP in a device process: what its drives are and how they fare, and going on after an error that stopped them.
 *
 * @module
 */
import type { EventLoop } from "../event_loop.ts";
import { action, type Commands, query } from "../qmp/commands.ts";
import type { QmpEndpoint } from "../qmp/endpoint.ts";
import { QmpServer } from "../qmp/server.ts";
import { PROGRAM } from "../version.ts";
import type { RunState } from "./run_state.ts";

/** What the server acts on. */
export interface RemoteControlOptions {
  readonly loop: EventLoop;
  readonly endpoints: readonly QmpEndpoint[];
  readonly runState: RunState;
  /** `-name`. */
  readonly name: string | undefined;
  readonly log: (line: string) => void;
  /** The process is to end in good order. */
  readonly onQuit: () => void;
}

/** Serves QMP from the loop of a device process, and tells clients of its run state and its drives' errors. */
export function serveRemoteControl(options: RemoteControlOptions): QmpServer {
  const { loop, endpoints, runState, log } = options;
  const server = new QmpServer({
    watcher: loop,
    endpoints,
    commands: commands(options, (event, data) => server.emit(event, data)),
    program: PROGRAM,
    log,
  });
  runState.onBlockError = (error) => server.emit("BLOCK_IO_ERROR", { ...error });
  runState.onChange = (status) => server.emit(status === "running" ? "RESUME" : "STOP");
  return server;
}

function commands(
  { runState, name, onQuit }: RemoteControlOptions,
  emit: (event: string, data?: Record<string, unknown>) => void,
): Commands {
  return {
    "query-status": query(() => ({
      running: runState.status === "running",
      singlestep: false,
      status: runState.status,
    })),
    "query-name": query(() => name === undefined ? {} : { name }),
    "query-block": query(() => runState.blockInfo()),
    "cont": {
      run(_args, reply) {
        // The answer comes first: what fails again comes after it, and stops whoever has read the answer.
        reply({});
        runState.resume();
      },
    },
    "quit": action(() => {
      emit("SHUTDOWN", { guest: false, reason: "host-qmp-quit" });
      onQuit();
    }),
  };
}
