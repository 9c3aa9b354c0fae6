/**
 * Start times as Markdown.
 *
 * @module
 */
import { NONE, number, spread, table } from "./report.ts";
import type { PhaseLine, StartLine } from "./startup_results.ts";

const START_HEADINGS = [
  "What starts",
  "Program",
  "first instruction, ms",
  "first serial byte or reply, ms",
  "CPU, ms",
  "times splitvm's",
];

const PHASE_HEADINGS = ["Thread", "Phase", "over at, ms", "took, ms", "What holds it"];

/** What each phase of a trace consists of. */
const PHASES: Readonly<Record<string, string>> = {
  "entry": "a process: exec, ld.so, Deno's options, V8; a thread: all that came before it",
  "runtime": "the isolate from its snapshot, Deno's own set-up, the main module",
  "program": "reading, parsing and evaluating the program's text",
  "command line": "options looked up, parsed and checked",
  "device processes": "files and consoles opened, first system calls opened, KVM asked, device processes spawned",
  "RAM and vCPUs": "memfd and mapping; KVM_CREATE_VM, irqchip, PIT, vCPUs and their CPUID",
  "tables": "ACPI and SMBIOS tables built",
  "greetings": "device processes answer who they are: where there are none, nothing",
  "devices": "this thread's buses and devices assembled",
  "memory slots and wiring": "KVM's memory slots, interrupt routes; device processes learn where RAM is",
  "state at power-on": "the state that a reset restores, read from KVM",
  "kernel in RAM": "chipset programmed as firmware would; tables, kernel and initrd into RAM; registers",
  "threads": "the control thread's isolate is created, which Deno does while the caller waits",
  "machine handed to threads": "the machine's description copied to them",
  "the guest's first exit": "KVM_RUN until the first access to a device",
  "consoles and monitors": "signals, timers, consoles and monitors watched",
  "devices and images": "images opened, the adapter made",
  "first messages": "the VMM's first requests answered",
};

/** The table of what starts how fast. */
export function startTable(lines: readonly StartLine[]): string {
  const cells = ({ scenario, subject, firstInstruction, ready, cpu, ratio }: StartLine) => [
    scenario.replace("start-up: ", ""),
    subject,
    firstInstruction ? spread(firstInstruction) : NONE,
    spread(ready),
    number(cpu),
    ratio?.toFixed(2) ?? NONE,
  ];
  return table([START_HEADINGS, ...lines.map(cells)], (column) => column < 2);
}

/** The table of where splitvm's time goes. */
export function phaseTable(lines: readonly PhaseLine[]): string {
  const cells = ({ thread, phase, at, took }: PhaseLine) => [
    thread,
    phase,
    at.toFixed(1),
    took.toFixed(1),
    PHASES[phase] ?? "",
  ];
  return table([PHASE_HEADINGS, ...lines.map(cells)], (column) => column < 2 || column === 4);
}
