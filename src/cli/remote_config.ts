/**
 * From the options of `-machine remote` to what the device process is to be.
 *
 * @module
 */
import { OptionError, quote, suggestion } from "../options/option_error.ts";
import type { ControllerConfig } from "../options/storage.ts";
import type { RemoteConfig, RemoteObjectConfig } from "../remote/config.ts";
import type { Arguments } from "./arguments.ts";
import { ChardevPool } from "./chardev_pool.ts";
import { resolveControllers } from "./controllers.ts";
import { resolveMonitors } from "./monitors.ts";
import { DescriptorRegistry, IdRegistry, registerDeviceIds } from "./registries.ts";

/** Controllers that are to be served, by id, until an object takes each. */
type Unserved = Map<string, { readonly where: string; readonly config: ControllerConfig }>;

function takeObjects(args: Arguments, unserved: Unserved, descriptors: DescriptorRegistry): RemoteObjectConfig[] {
  const known = [...unserved.keys()];
  const ids = new IdRegistry();
  const objects: RemoteObjectConfig[] = [];
  for (const { where, value } of args.object) {
    if (value.name !== "remote-object") continue;
    const { id, devid, fd, accel: accelerated } = value.values;
    ids.take({ where, value: value.values });
    descriptors.take(where, fd);
    const device = unserved.get(devid);
    if (device === undefined) {
      const problem = known.includes(devid)
        ? `device '${devid}' is served by another object already`
        : `no PCI device has the id ${quote(devid)}${suggestion(devid, known)}`;
      throw new OptionError(where, problem);
    }
    unserved.delete(devid);
    objects.push({ id, fd, device: device.config, accelerated });
  }
  return objects;
}

/** A file without a path of its own has that of its set, as QEMU has it. */
function takeFiles(args: Arguments, descriptors: DescriptorRegistry): RemoteConfig["files"] {
  return args["add-fd"].map(({ where, value: { fd, set, opaque } }) => {
    descriptors.take(where, fd);
    return { fd, path: opaque ?? `/dev/fdset/${set}` };
  });
}

/**
 * Makes the configuration of a device process.
 *
 * @throws {OptionError} when the options do not fit together, a device is served by no object, or there is none to serve.
 */
export function remoteConfig(args: Arguments): RemoteConfig {
  const unserved: Unserved = new Map();
  for (const { where, value } of args.device) {
    if (value.name !== "lsi53c895a") continue;
    if (value.values.sandbox !== undefined) {
      throw new OptionError(where, "'sandbox' is not supported here: it is -sandbox, for the whole process");
    }
    if (value.values.secontext !== undefined) {
      throw new OptionError(where, "'secontext' is not supported here: it is -secontext of splitvm jail");
    }
    if (value.values.accel !== undefined) {
      throw new OptionError(where, "'accel' is not supported here: it belongs to -object remote-object");
    }
    const watch = (["heartbeat", "deadline"] as const).find((name) => value.values[name] !== undefined);
    if (watch !== undefined) {
      throw new OptionError(where, `'${watch}' is not supported here: it is the VMM that watches`);
    }
    if (value.values.restart !== undefined) {
      throw new OptionError(where, "'restart' is not supported here: a VMM starts again what it has started");
    }
  }
  for (const { where, config, slot } of resolveControllers(args, registerDeviceIds(args.device))) {
    if (slot !== undefined) throw new OptionError(where, "'addr' is not supported: the VMM chooses the device's slot");
    unserved.set(config.id, { where, config });
  }
  const descriptors = new DescriptorRegistry();
  const files = takeFiles(args, descriptors);
  const objects = takeObjects(args, unserved, descriptors);
  for (const [id, { where }] of unserved) {
    throw new OptionError(where, `no object serves it; expected -object remote-object,id=<id>,devid=${id},fd=<fd>`);
  }
  if (objects.length === 0) {
    throw new OptionError("-machine remote", "there is nothing to serve; expected -device and -object remote-object");
  }
  const runWith = args["run-with"][0];
  const ready = runWith?.value["ready-fd"];
  if (ready !== undefined) descriptors.take(runWith.where, ready);
  const exitWithParent = runWith?.value["exit-with-parent"] ?? false;
  const startError = runWith?.value["start-error"] ?? "stderr";
  const sandbox = args.sandbox[0]?.value.enable ?? false;
  const chardevs = new ChardevPool(args.chardev, descriptors);
  const monitors = resolveMonitors(args, chardevs);
  const readline = args.monitor.find(({ value }) => value.kind !== "none") ??
    args.mon.find(({ value }) => value.mode === "readline");
  if (readline !== undefined) throw new OptionError(readline.where, "a device process has no monitor for people");
  chardevs.requireAllTaken();
  return { name: args.name[0]?.value.guest, exitWithParent, ready, startError, sandbox, files, objects, monitors };
}
