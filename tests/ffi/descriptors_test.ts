import { assertEquals, assertThrows } from "@std/assert";
import { SyscallError } from "../../src/ffi/errno.ts";
import * as event from "../../src/ffi/event.ts";
import * as file from "../../src/ffi/file.ts";
import * as memory from "../../src/ffi/memory.ts";
import { closeAll, createSocketPair, isUnixStreamSocket, MessageSocket, WOULD_BLOCK } from "../../src/ffi/socket.ts";
import { monotonicNow } from "../../src/ffi/clock.ts";
import { openDescriptors } from "../support/leaks.ts";

/** Runs `body` and checks that it leaves no descriptor behind. */
function withoutLeak(body: () => void): void {
  monotonicNow(); // opens the libraries before the count
  const before = openDescriptors();
  body();
  assertEquals(openDescriptors(), before);
}

function withSockets(body: (a: MessageSocket, b: MessageSocket) => void): void {
  withoutLeak(() => {
    const [a, b] = createSocketPair();
    try {
      body(new MessageSocket(a), new MessageSocket(b));
    } finally {
      closeAll([a, b]);
    }
  });
}

Deno.test("bytes sent with descriptors arrive with descriptors of the same files", () => {
  withSockets((a, b) => {
    const fd = memory.createMemoryFile("probe", 4096);
    assertEquals(a.send(new Uint8Array([1, 2, 3]), 0, 3, [fd, fd], true), 3);
    const into = new Uint8Array(8);
    assertEquals(b.receive(into, 2, 6, true), 3);
    assertEquals([...into], [0, 0, 1, 2, 3, 0, 0, 0]);
    assertEquals(b.descriptors.length, 2);
    for (const got of b.descriptors) assertEquals(file.fileStatus(got).inode, file.fileStatus(fd).inode);
    closeAll([fd, ...b.descriptors]);
  });
});

Deno.test("a socket with nothing to read would block, and one whose peer has closed is at its end", () => {
  withoutLeak(() => {
    const [a, b] = createSocketPair();
    const socket = new MessageSocket(a);
    const into = new Uint8Array(1);
    assertEquals(socket.receive(into, 0, 1, false), WOULD_BLOCK);
    file.closeFd(b);
    assertEquals(socket.receive(into, 0, 1, false), 0);
    file.closeFd(a);
  });
});

Deno.test("sending to a closed peer is an error, not a signal", () => {
  withoutLeak(() => {
    const [a, b] = createSocketPair();
    file.closeFd(b);
    const error = assertThrows(() => new MessageSocket(a).send(new Uint8Array(1), 0, 1, [], true), SyscallError);
    assertEquals(error.code, "EPIPE");
    file.closeFd(a);
  });
});

Deno.test("only a UNIX stream socket is taken for one", () => {
  withSockets((a) => {
    assertEquals(isUnixStreamSocket(a.fd), true);
    assertEquals(isUnixStreamSocket(0), false);
    assertEquals(isUnixStreamSocket(9999), false);
  });
});

Deno.test("a transfer outside its buffer is refused", () => {
  withSockets((a) => {
    assertThrows(() => a.send(new Uint8Array(4), 2, 3, [], true), RangeError);
    assertThrows(() => a.receive(new Uint8Array(4), 0, 5, true), RangeError);
  });
});

Deno.test("a memory file shows through its mapping, and its size is sealed", () => {
  withoutLeak(() => {
    const fd = memory.createMemoryFile("probe", 8192);
    const mapping = memory.mapFile(fd, 4096, 4096);
    mapping.bytes.set([1, 2, 3], 10);
    const read = new Uint8Array(3);
    assertEquals(file.readAt(fd, 4106, read), 3);
    assertEquals([...read], [1, 2, 3]);
    assertThrows(() => file.truncateFile(fd, 4096), SyscallError, "EPERM");
    mapping.unmap();
    mapping.unmap();
    file.closeFd(fd);
  });
});

Deno.test("a memory file of no whole number of pages is refused", () => {
  for (const size of [0, -4096, 100, NaN]) {
    assertThrows(() => memory.createMemoryFile("probe", size), RangeError);
  }
});

Deno.test("reading at an offset stops at the end of the file", () => {
  withoutLeak(() => {
    const fd = memory.createMemoryFile("probe", 4096);
    file.writeAt(fd, 4094, new Uint8Array([8]));
    const into = new Uint8Array(10);
    assertEquals(file.readAt(fd, 4094, into), 2);
    assertEquals(into[0], 8);
    file.closeFd(fd);
  });
});

Deno.test("a directory's names are listed whole", () => {
  const directory = Deno.makeTempDirSync();
  try {
    const names = Array.from({ length: 700 }, (_, i) => `a-name-that-takes-some-room-${i}`);
    for (const name of names) Deno.writeTextFileSync(`${directory}/${name}`, "");
    assertEquals(file.listDirectory(directory).sort(), names.sort());
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("an eventfd is ready after a signal and not after it was drained", () => {
  withoutLeak(() => {
    const fd = event.createEventFd();
    assertEquals(event.pollFd(fd, event.Ready.IN, 0), 0);
    event.signalEventFd(fd);
    event.signalEventFd(fd);
    assertEquals(event.pollFd(fd, event.Ready.IN, 0), event.Ready.IN);
    assertEquals([event.drainEventFd(fd), event.drainEventFd(fd)], [true, false]);
    file.closeFd(fd);
  });
});

Deno.test("a timer fires at its deadline, also one in the past, and not once it is disarmed", () => {
  withoutLeak(() => {
    const fd = event.createTimerFd();
    event.armTimerFd(fd, monotonicNow() + 1e6);
    assertEquals(event.pollFd(fd, event.Ready.IN, 5000), event.Ready.IN);
    event.drainEventFd(fd);
    event.armTimerFd(fd, 0);
    assertEquals(event.pollFd(fd, event.Ready.IN, 5000), event.Ready.IN);
    event.armTimerFd(fd, undefined);
    assertEquals(event.pollFd(fd, event.Ready.IN, 0), 0);
    file.closeFd(fd);
  });
});

Deno.test("epoll reports each ready descriptor, until it is removed", () => {
  withoutLeak(() => {
    const epoll = new event.Epoll();
    const [a, b] = [event.createEventFd(), event.createEventFd()];
    const ready: number[] = [];
    const collect = () => {
      ready.length = 0;
      epoll.wait(0, (fd) => ready.push(fd));
      return ready.slice().sort();
    };
    epoll.add(a, event.Ready.IN);
    epoll.add(b, event.Ready.IN);
    event.signalEventFd(b);
    assertEquals(collect(), [b]);
    event.signalEventFd(a);
    assertEquals(collect(), [a, b].sort());
    epoll.remove(b);
    assertEquals(collect(), [a]);
    epoll.close();
    closeAll([a, b]);
  });
});

Deno.test("the monotonic clock never goes back", () => {
  let last = monotonicNow();
  for (let i = 0; i < 1000; i++) {
    const now = monotonicNow();
    assertEquals(now >= last && Number.isSafeInteger(now), true);
    last = now;
  }
});

Deno.test("asking for room for descriptors takes none", () => {
  withoutLeak(() => {
    file.requireDescriptors(1);
    file.requireDescriptors(50);
  });
});
