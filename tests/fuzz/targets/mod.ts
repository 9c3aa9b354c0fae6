/**
 * All targets, by name.
 *
 * @module
 */
import type { Target } from "../engine/target.ts";
import { bootImageTarget } from "./boot_image.ts";
import { commandLineTarget } from "./command_line.ts";
import { compressedClusterTarget } from "./compressed_cluster.ts";
import { lsiTarget } from "./lsi53c895a.ts";
import { platformTarget } from "./platform.ts";
import { qcow2Target } from "./qcow2.ts";
import { qmpTarget } from "./qmp.ts";
import { scsiTarget } from "./scsi.ts";
import { wireToDeviceTarget } from "./wire_to_device.ts";
import { wireToProxyTarget } from "./wire_to_proxy.ts";

/** Makes a target, with what it needs. */
export const TARGETS: Readonly<Record<string, () => Target>> = {
  "lsi53c895a": lsiTarget,
  "scsi": scsiTarget,
  "platform": platformTarget,
  "boot-image": bootImageTarget,
  "qmp": qmpTarget,
  "qcow2": qcow2Target,
  "compressed-cluster": compressedClusterTarget,
  "command-line": commandLineTarget,
  "wire-to-device": wireToDeviceTarget,
  "wire-to-proxy": wireToProxyTarget,
};
