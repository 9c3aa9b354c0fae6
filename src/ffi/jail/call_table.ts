/**
 * Tables of the system calls that a process makes: while it starts, and from when it is locked down. Filters are made of them.
 *
 * @module
 */
import { Errno } from "../errno.ts";
import type { CallName } from "./call_numbers.ts";
import type { ArgumentTest, FilterRule } from "./seccomp.ts";

/** What becomes of a call once the process is locked down. */
type Later =
  /** It is made as before. */
  | "allowed"
  /** It is answered with EPERM, without harm: something that V8, Deno or libc try and do without, or report. */
  | "refused"
  /** It ends the process. */
  | "fatal";

/** Calls that are made, why, and under which conditions: one test list has to hold. */
export interface TableEntry {
  readonly calls: readonly CallName[];
  readonly later: Later;
  readonly reason: string;
  /** @default {under any} */
  readonly when?: readonly (readonly ArgumentTest[])[];
}

/** No conditions that could hold: for calls that fail with EPERM from the start on. */
export const NEVER: TableEntry["when"] = [];

/** What a call gets that its process may not make, and lives on after. */
export const DENIED = { errno: Errno.EPERM } as const;

/** Older libcs know clone(2) only, whose flags can be looked at; newer ones fall back to it. */
const NO_CLONE3: FilterRule = { call: "clone3", verdict: { errno: Errno.ENOSYS } };

/** Conditions under which an argument is one of some values. */
export function oneOf(index: number, values: Readonly<Record<string, number>> | readonly number[]): ArgumentTest[][] {
  return Object.values(values).map((equals) => [{ index, equals }]);
}

/** The rules of a process that starts: all calls are made whose conditions hold. */
export function rulesAtStart(table: readonly TableEntry[]): FilterRule[] {
  return [NO_CLONE3, ...allowing(table)];
}

/** The rules of a process that is locked down. */
export function rulesInService(table: readonly TableEntry[]): FilterRule[] {
  const allowed = table.filter(({ later }) => later === "allowed");
  const refused = table.filter((entry) =>
    entry.later === "refused" || entry.later === "allowed" && isConditional(entry)
  );
  return [...allowing(allowed), ...denying(refused), NO_CLONE3];
}

/** What lets the calls of these entries through. */
function allowing(entries: readonly TableEntry[]): FilterRule[] {
  return entries.flatMap(({ calls, when = [[]] }) =>
    calls.flatMap((call) => when.map((tests): FilterRule => ({ call, when: tests, verdict: "allow" })))
  );
}

/** What answers these entries' calls, each once; what is behind an allowing rule without conditions would never apply. */
function denying(entries: readonly TableEntry[]): FilterRule[] {
  const calls = new Set(entries.flatMap(({ calls }) => calls));
  return [...calls].map((call) => ({ call, verdict: DENIED }));
}

const isConditional = ({ when }: TableEntry) => when !== undefined;
