import { assertEquals } from "@std/assert";
import { Epoll } from "../../src/ffi/event.ts";
import { kickRegularly } from "../../src/ffi/thread.ts";

Deno.test("regular kicks interrupt one system call after the other, until they are ended", () => {
  const ignore = () => {};
  Deno.addSignalListener("SIGUSR2", ignore);
  const epoll = new Epoll();
  const wait = (timeout: number) => epoll.wait(timeout, () => {});
  try {
    const end = kickRegularly(1);
    // Neither would return without a kick.
    assertEquals([wait(-1), wait(-1)], [0, 0]);
    end();
    wait(5);
  } finally {
    epoll.close();
    Deno.removeSignalListener("SIGUSR2", ignore);
  }
});
