/** A program that starts a shell in a jail, which has descriptor 3 and ignores what a polite end would be, and then waits. */
import { freshIdentity, spawnJailed } from "../../src/proxy/jail.ts";

spawnJailed({
  command: ["/bin/sh", "-c", "trap '' TERM HUP; echo jailed >&3; exec 3>&-; read forever <&4"],
  env: {},
  descriptors: new Map([[0, null], [1, 2], [2, 2], [3, 3], [4, 3]]),
  identity: freshIdentity(),
  filter: { rules: [], otherwise: "allow" },
});
await new Promise(() => setInterval(() => {}, 1e6));
