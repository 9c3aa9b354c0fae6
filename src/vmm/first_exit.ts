/**
 * A trace of a machine's start ends where the guest first needs the VMM.
 *
 * @module
 */
import type { KvmVcpu } from "../ffi/kvm.ts";
import { log } from "../log.ts";
import { markPhase, printPhases } from "../startup_trace.ts";
import type { RunnableVcpu } from "./vcpu.ts";

/** A vCPU after whose first exit the trace is printed. */
export function traceFirstExit(vcpu: KvmVcpu, name: string): RunnableVcpu {
  let first = true;
  return {
    run: vcpu.run,
    get exitReason() {
      return vcpu.exitReason;
    },
    enter() {
      const exited = vcpu.enter();
      if (first) {
        first = false;
        markPhase("the guest's first exit");
        printPhases(name, log);
      }
      return exited;
    },
    requestExit: (requested) => vcpu.requestExit(requested),
    get: (what) => vcpu.get(what),
  };
}
