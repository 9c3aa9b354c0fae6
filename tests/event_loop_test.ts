import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  armTimerFd,
  createEventFd,
  createTimerFd,
  drainEventFd,
  EDGE_TRIGGERED,
  Ready,
  signalEventFd,
} from "../src/ffi/event.ts";
import { closeFd } from "../src/ffi/file.ts";
import { EventLoop } from "../src/event_loop.ts";
import type { PolledSource } from "../src/polled_sources.ts";
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

/** A polled source with requests that the test puts there. */
class Polled implements PolledSource {
  requests = 0;
  served = 0;
  asleep = false;
  /** Whether it finds something when it has looked in vain, at the last moment. */
  late = false;
  /** What happens in the middle of serving a request. */
  onServe: () => void = () => {};

  serve(): boolean {
    if (this.requests === 0) return false;
    this.requests--;
    this.served++;
    this.onServe();
    return true;
  }

  get pending(): boolean {
    return this.requests > 0;
  }

  announceSleep(): boolean {
    if (this.late) this.requests++;
    this.late = false;
    this.asleep = !this.pending;
    return this.asleep;
  }

  awake(): undefined {
    this.asleep = false;
  }
}

Deno.test(
  "a polled source is served in each turn, without a descriptor that is ready",
  withLoop((loop) => {
    const source = new Polled();
    const polling = loop.poll(source);
    source.requests = 2;
    assert(loop.turn());
    assert(loop.turn());
    assert(!loop.turn(false));
    assertEquals(source.served, 2);
    polling.cancel();
    polling.cancel();
    source.requests = 1;
    assert(!loop.turn(false));
    assertEquals(source.served, 2);
  }),
);

Deno.test(
  "what polled sources have begun is handed on before the loop waits",
  withLoop((loop) => {
    const source = new Polled();
    let gathered = 0;
    loop.beforeWaiting(() => gathered > 0 && gathered-- > 0);
    source.onServe = () => gathered++;
    loop.poll(source);
    source.requests = 1;
    loop.turn();
    loop.turn(); // would wait for ever
    assertEquals([source.served, gathered], [1, 0]);
  }),
);

Deno.test(
  "a polled source that always has something leaves timers their turn, and descriptors some",
  withLoop((loop, fd) => {
    const source = new Polled();
    source.requests = Infinity;
    loop.poll(source);
    let handled = 0, fired = 0;
    loop.watch(fd, Ready.IN, () => {
      drainEventFd(fd);
      handled++;
    });
    const timer = loop.timer(() => {
      fired++;
      timer.arm(loop.now());
    });
    timer.arm(loop.now());
    signalEventFd(fd);
    for (let i = 0; i < 100; i++) loop.turn();
    assertEquals([source.served, fired, handled], [100, 100, 1]);
    signalEventFd(fd);
    for (let i = 0; i < 8; i++) loop.turn();
    assertEquals(handled, 2);
  }),
);

Deno.test(
  "a polled source that has something whenever it is looked at a second time leaves descriptors some turns",
  withLoop((loop, fd) => {
    const source = new Polled();
    let looks = 0;
    source.serve = () => ++looks % 2 === 0;
    loop.poll(source);
    let handled = 0;
    loop.watch(fd, Ready.IN, () => handled++);
    signalEventFd(fd);
    for (let i = 0; i < 8; i++) loop.turn();
    assertEquals([looks, handled], [16, 1]);
  }),
);

Deno.test(
  "a timer that the loop was about to sleep until fires in time although a polled source is busy then",
  withLoop((loop) => {
    const source = new Polled();
    loop.poll(source);
    let fired = false;
    const deadline = loop.now() + 2e6;
    loop.timer(() => fired = true).arm(deadline);
    source.late = true;
    while (source.late) loop.turn();
    source.requests = Infinity;
    while (loop.now() < deadline);
    loop.turn();
    assert(fired);
  }),
);

Deno.test(
  "every polled source knows that the loop sleeps, and that it does no more",
  withLoop((loop) => {
    const sources = [new Polled(), new Polled()];
    for (const source of sources) loop.poll(source);
    const asleep = () => sources.map((source) => source.asleep);
    const alarm = createTimerFd();
    let seen: boolean[] = [];
    loop.watch(alarm, Ready.IN | EDGE_TRIGGERED, () => seen = asleep());
    // On a busy machine the time may be over before the loop is asleep.
    for (let tries = 0; tries < 1000 && !seen[0]; tries++) {
      armTimerFd(alarm, loop.now() + 2e6);
      loop.turn();
      assertEquals(asleep(), [false, false]);
    }
    assertEquals(seen, [true, true]);
    closeFd(alarm);
  }),
);

Deno.test(
  "a loop does not sleep when one polled source has found something at the last moment",
  withLoop((loop) => {
    const sources = [new Polled(), new Polled(), new Polled()];
    for (const source of sources) loop.poll(source);
    sources[1].late = true;
    assert(loop.turn());
    assertEquals(sources.map(({ asleep, served }) => [asleep, served]), [[false, 0], [false, 0], [false, 0]]);
    loop.turn();
    assertEquals(sources[1].served, 1);
  }),
);

Deno.test(
  "a descriptor that is ready ends the look at polled sources",
  withLoop((loop, fd) => {
    loop.poll(new Polled());
    let handled = 0;
    loop.watch(fd, Ready.IN, () => {
      drainEventFd(fd);
      handled++;
    });
    for (let i = 1; i <= 1000; i++) {
      signalEventFd(fd);
      assert(loop.turn());
      assertEquals(handled, i);
    }
  }),
);

Deno.test(
  "a polled source may be taken away while it is served, and while descriptors are handled",
  withLoop((loop, fd) => {
    const [first, second] = [new Polled(), new Polled()];
    const pollings = [first, second].map((source) => loop.poll(source));
    first.onServe = () => pollings[0].cancel();
    first.requests = 2;
    loop.turn();
    assert(!loop.turn(false));
    assertEquals(first.served, 1);
    loop.watch(fd, Ready.IN, () => {
      drainEventFd(fd);
      pollings[1].cancel();
    });
    signalEventFd(fd);
    loop.turn();
    second.requests = 1;
    assert(!loop.turn(false));
    assertEquals(second.served, 0);
  }),
);
