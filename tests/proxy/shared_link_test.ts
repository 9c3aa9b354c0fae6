import { assertEquals } from "@std/assert";
import { createEventFd } from "../../src/ffi/event.ts";
import { isOpenFd } from "../../src/ffi/file.ts";
import { mapAnonymous } from "../../src/ffi/memory.ts";
import { ringSize } from "../../src/link/ring/layout.ts";
import { releaseRing, type RingHandle } from "../../src/proxy/ring_setup.ts";
import { SharedLink } from "../../src/proxy/shared_link.ts";
import { leakingNothing } from "../support/leaks.ts";

const GEOMETRY = { lanes: 2, slots: 8 };

/** A ring of which nothing is used but that it can be given back. */
function makeRing(): RingHandle {
  return {
    geometry: GEOMETRY,
    address: mapAnonymous(ringSize(GEOMETRY)).address,
    doorbell: createEventFd(),
    shadow: { size: 4096, ranges: [], address: mapAnonymous(4096).address },
  };
}

Deno.test("of several threads that find a link lost, one is told that it is news", () => {
  const memory = SharedLink.allocate(undefined);
  const [a, b] = [new SharedLink(memory, undefined), new SharedLink(memory, undefined)];
  assertEquals([a.current, a.isBuried], [1, false]);
  assertEquals([a.lose(1), b.lose(1), a.lose(0)], [true, false, false]);
  assertEquals([a.current, b.isBuried], [0, false]);
  a.bury();
  assertEquals(b.isBuried, true);
});

Deno.test("a link that takes another's place has the next number, and cannot be lost in the other's name", () => {
  const memory = SharedLink.allocate(undefined);
  const [a, b] = [new SharedLink(memory, undefined), new SharedLink(memory, undefined)];
  a.lose(1);
  a.bury();
  a.renew(undefined);
  assertEquals([b.current, b.last, b.isBuried], [2, 2, false]);
  assertEquals([b.lose(1), b.lose(2)], [false, true]);
});

Deno.test(
  "a ring is given back once no thread has its link open",
  leakingNothing(() => {
    const [first, second, third, fourth] = Array.from({ length: 4 }, makeRing);
    const memory = SharedLink.allocate(first);
    const [control, vcpu] = [new SharedLink(memory, first), new SharedLink(memory, first)];
    assertEquals(vcpu.open(0, 1), true);
    assertEquals(vcpu.ring, first);
    const replace = (ring: RingHandle) => {
      control.lose(control.current);
      control.bury();
      control.renew(ring);
    };
    replace(second);
    assertEquals(vcpu.ring, second);
    assertEquals(isOpenFd(first.doorbell), true, "the vCPU has the first link open");
    replace(third);
    assertEquals([first, second].map(({ doorbell }) => isOpenFd(doorbell)), [true, false], "nobody has had the second");
    assertEquals(vcpu.open(0, 2), false, "it is too late for that one");
    assertEquals(vcpu.open(0, 3), true);
    replace(fourth);
    assertEquals([first, third].map(({ doorbell }) => isOpenFd(doorbell)), [false, true]);
    [third, fourth].forEach(releaseRing);
  }),
);
