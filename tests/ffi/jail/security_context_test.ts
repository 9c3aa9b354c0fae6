import { assertEquals } from "@std/assert";
import type { ScriptCall } from "../../../src/ffi/jail/child_script.ts";
import { labelFile, labelProgram, securityModule } from "../../../src/ffi/jail/security_context.ts";

/** What a host has that shows these files. */
const moduleWith = (files: Readonly<Record<string, string>>) => securityModule((path) => files[path]);

Deno.test("the module that is on is told by the kernel's list", () => {
  const path = "/sys/kernel/security/lsm";
  assertEquals(moduleWith({ [path]: "lockdown,capability,landlock,yama,apparmor\n" }), "AppArmor");
  assertEquals(moduleWith({ [path]: "capability,selinux" }), "SELinux");
  assertEquals(moduleWith({ [path]: "capability,landlock,yama" }), undefined);
});

Deno.test("where the list is not to be seen, the modules' own files tell", () => {
  assertEquals(moduleWith({ "/sys/module/apparmor/parameters/enabled": "Y\n" }), "AppArmor");
  assertEquals(moduleWith({ "/sys/module/apparmor/parameters/enabled": "N\n" }), undefined);
  assertEquals(moduleWith({ "/sys/fs/selinux/enforce": "0" }), "SELinux");
  assertEquals(moduleWith({}), undefined);
});

Deno.test("SELinux takes a context, AppArmor a command, each in an attribute of its own", () => {
  assertEquals(labelFile("SELinux", "u:r:t:s0"), { path: "/proc/thread-self/attr/exec", text: "u:r:t:s0" });
  assertEquals(labelFile("AppArmor", "splitvm//device"), {
    path: "/proc/thread-self/attr/apparmor/exec",
    text: "exec splitvm//device",
  });
});

Deno.test("a child writes its context before it executes its program, and does not go on without", () => {
  const steps = labelProgram("AppArmor", "p") as ScriptCall[];
  const attribute = "/proc/thread-self/attr/apparmor/exec";
  assertEquals(steps.map(({ name }) => name), [`openat(${attribute})`, `write(${attribute})`, "close"]);
  assertEquals(steps[1].arguments.slice(1), [new TextEncoder().encode("exec p"), 6]);
  assertEquals(steps.some(({ mayFail }) => mayFail), false);
});
