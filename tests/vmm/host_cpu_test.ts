import { assertEquals } from "@std/assert";
import { brandIn } from "../../src/vmm/host_cpu.ts";

Deno.test("the processor's name is that of the first one listed", () => {
  const cpuinfo = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU @ 2.00GHz  \nflags\t\t: fpu\n\nmodel name\t: B\n";
  assertEquals(brandIn(cpuinfo), "A CPU @ 2.00GHz");
});

Deno.test("a processor whose name is not known has none", () => {
  assertEquals(brandIn("model name\t: unknown\n"), undefined);
  assertEquals(brandIn("processor\t: 0\n"), undefined);
});
