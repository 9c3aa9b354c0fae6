import { assert, assertEquals, assertThrows } from "@std/assert";
import { createEventFd, drainEventFd, Ready, signalEventFd } from "../src/ffi/event.ts";
import { closeFd } from "../src/ffi/file.ts";
import { EventLoop } from "../src/event_loop.ts";
import { leakingNothing } from "./support/leaks.ts";

function withLoop(body: (loop: EventLoop, eventFd: number) => void): () => void {
  return leakingNothing(() => {
    const loop = new EventLoop();
    const eventFd = createEventFd();
    try {
      body(loop, eventFd);
    } finally {
      loop.close();
      closeFd(eventFd);
    }
  });
}

Deno.test(
  "a descriptor that is ready is handled in the next turn",
  withLoop((loop, fd) => {
    let handled = 0;
    loop.watch(fd, Ready.IN, (events) => {
      assertEquals(events, Ready.IN);
      drainEventFd(fd);
      handled++;
    });
    loop.turn(false);
    assertEquals(handled, 0);
    signalEventFd(fd);
    loop.turn();
    loop.turn(false);
    assertEquals(handled, 1);
  }),
);

Deno.test(
  "a watch that is cancelled, even in the same turn, is not called",
  withLoop((loop, fd) => {
    const other = createEventFd();
    const called: number[] = [];
    const watches = [fd, other].map((each) =>
      loop.watch(each, Ready.IN, () => {
        called.push(each);
        watches.forEach((watch) => watch.cancel());
      })
    );
    signalEventFd(fd);
    signalEventFd(other);
    loop.turn();
    loop.turn(false);
    assertEquals(called.length, 1);
    watches[0].cancel();
    closeFd(other);
  }),
);

Deno.test(
  "what a descriptor is watched for can be changed",
  withLoop((loop, fd) => {
    const seen: number[] = [];
    const watch = loop.watch(fd, Ready.IN, (events) => seen.push(events));
    watch.modify(Ready.OUT);
    loop.turn();
    assertEquals(seen, [Ready.OUT]);
  }),
);

Deno.test(
  "timers fire once, in the order of their deadlines, and not before them",
  withLoop((loop) => {
    const fired: string[] = [];
    const start = loop.now();
    const note = (name: string, delay: number) => {
      const timer = loop.timer(() => {
        assert(loop.now() >= start + delay);
        assertEquals(timer.deadline, undefined);
        fired.push(name);
      });
      timer.arm(start + delay);
      assertEquals(timer.deadline, start + delay);
    };
    note("last", 3e6);
    note("first", 1e6);
    note("second", 2e6);
    while (fired.length < 3) loop.turn();
    loop.turn(false);
    assertEquals(fired, ["first", "second", "last"]);
  }),
);

Deno.test(
  "arming a timer again replaces its deadline",
  withLoop((loop) => {
    let fired = 0;
    const timer = loop.timer(() => fired++);
    timer.arm(loop.now() + 3600e9);
    timer.arm(loop.now());
    loop.turn();
    assertEquals(fired, 1);
    timer.arm(loop.now());
    timer.arm(loop.now() + 3600e9);
    loop.turn(false);
    assertEquals(fired, 1);
  }),
);

Deno.test(
  "a timer that is cancelled does not fire, even when another's callback cancels it at the last moment",
  withLoop((loop) => {
    const fired: string[] = [];
    const now = loop.now();
    const second = loop.timer(() => fired.push("second"));
    const first = loop.timer(() => {
      fired.push("first");
      second.cancel();
    });
    first.arm(now - 2);
    second.arm(now - 1);
    loop.turn();
    loop.turn(false);
    assertEquals(fired, ["first"]);
    assertEquals(second.deadline, undefined);
  }),
);

Deno.test(
  "a timer that is always due again and a descriptor that is always ready take turns",
  withLoop((loop, fd) => {
    const order: string[] = [];
    const timer = loop.timer(() => {
      order.push("timer");
      timer.arm(loop.now());
    });
    timer.arm(loop.now());
    signalEventFd(fd);
    loop.watch(fd, Ready.IN, () => order.push("descriptor"));
    for (let i = 0; i < 3; i++) loop.turn();
    assertEquals(order, ["descriptor", "timer", "descriptor", "timer", "descriptor", "timer"]);
  }),
);

Deno.test(
  "a timer set to now by a descriptor's handler fires after that handler",
  withLoop((loop, fd) => {
    const order: string[] = [];
    const timer = loop.timer(() => order.push("timer"));
    loop.watch(fd, Ready.IN, () => {
      drainEventFd(fd);
      timer.arm(loop.now());
      order.push("handler");
    });
    signalEventFd(fd);
    while (order.length < 2) loop.turn();
    assertEquals(order, ["handler", "timer"]);
  }),
);

Deno.test(
  "a timer that is set for later than one that was taken back fires at its own time",
  withLoop((loop) => {
    let fired = 0;
    const [early, late] = [loop.timer(() => {}), loop.timer(() => fired = loop.now())];
    const deadline = loop.now() + 20e6;
    early.arm(deadline - 15e6);
    loop.turn(false);
    early.cancel();
    late.arm(deadline);
    while (fired === 0) loop.turn();
    assert(fired >= deadline);
  }),
);

Deno.test(
  "a timer that is set for earlier than the one that is waited for fires before it",
  withLoop((loop) => {
    const order: string[] = [];
    const [early, late] = ["early", "late"].map((name) => loop.timer(() => order.push(name)));
    late.arm(loop.now() + 20e6);
    loop.turn(false);
    early.arm(loop.now() + 1e6);
    while (order.length < 2) loop.turn();
    assertEquals(order, ["early", "late"]);
  }),
);

Deno.test(
  "what is put off until the loop waits is done in each turn, and when it is asked for",
  withLoop((loop) => {
    let gathered = 0;
    const hook = loop.beforeWaiting(() => gathered > 0 && gathered-- > 0);
    gathered = 2;
    assert(loop.turn(), "a turn in which something was handed on waits for nothing");
    assertEquals(gathered, 1);
    assert(loop.handOn());
    assert(!loop.handOn());
    hook.cancel();
    gathered = 1;
    assert(!loop.turn(false));
  }),
);

Deno.test(
  "a deadline that is no moment is refused",
  withLoop((loop) => {
    assertThrows(() => loop.timer(() => {}).arm(NaN), RangeError);
    assertThrows(() => loop.timer(() => {}).arm(Infinity), RangeError);
  }),
);
