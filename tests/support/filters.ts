/**
 * What seccomp filters let through.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { CallName } from "../../src/ffi/jail/call_numbers.ts";
import type { Filter } from "../../src/ffi/jail/seccomp.ts";

/** The calls that a filter lets through under some conditions or without. */
export function allowed({ rules }: Filter): Set<CallName> {
  return new Set(rules.filter(({ verdict }) => verdict === "allow").map(({ call }) => call));
}

/** Of a socket nothing is to be had but its kind, and nothing is to be set. */
export function assertSocketsTellTheirKind(filter: Filter): void {
  const [SOL_SOCKET, SO_TYPE, SO_ACCEPTCONN, SO_DOMAIN] = [1, 3, 30, 39]; // asm-generic/socket.h
  const rules = filter.rules.filter(({ call, verdict }) => call === "getsockopt" && verdict === "allow");
  const conditions = [SO_TYPE, SO_ACCEPTCONN, SO_DOMAIN].map((option) => [
    { index: 1, equals: SOL_SOCKET },
    { index: 2, equals: option },
  ]);
  assertEquals(rules.map(({ when }) => when), conditions);
  assert(!allowed(filter).has("setsockopt"));
}
