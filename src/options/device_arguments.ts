/**
 * The command line of a device process, from the configuration of its device: how a VMM tells a process that it spawns what
 * to be.
 *
 * @module
 */
import { DEVICE_TYPES, DRIVE_PROPERTIES } from "./device_types.ts";
import { joinOption, type KeyValue } from "./keyval.ts";
import { type Properties, propertyNames, type PropertySpec, type PropertyValues } from "./properties.ts";
import type { ControllerConfig, DriveConfig, ScsiDiskConfig } from "./storage.ts";

/** The properties that have a value, spelled out. */
function formatProperties<S extends Properties>(schema: S, values: Partial<PropertyValues<S>>): KeyValue[] {
  return propertyNames(schema).flatMap((key) => {
    const value = values[key as keyof PropertyValues<S>];
    return value === undefined ? [] : [{ key, value: (schema[key] as PropertySpec).type.format(value) }];
  });
}

/** What becomes of errors is said with the disk. */
function driveArgument({ readOnly, discard, detectZeroes, ...same }: DriveConfig): string {
  const values = {
    ...same,
    readonly: readOnly,
    discard: discard ? "unmap" : "ignore",
    "detect-zeroes": detectZeroes,
    if: "none",
  } as const;
  return joinOption(undefined, formatProperties(DRIVE_PROPERTIES, values));
}

function diskArgument(bus: string, disk: ScsiDiskConfig): string {
  const { drive, scsiId, version, logicalBlockSize, physicalBlockSize, readErrors, writeErrors, ...same } = disk;
  const values = {
    ...same,
    drive: drive.id,
    bus,
    "scsi-id": scsiId,
    ver: version,
    logical_block_size: logicalBlockSize,
    physical_block_size: physicalBlockSize,
    rerror: readErrors,
    werror: writeErrors,
  };
  return joinOption("scsi-hd", formatProperties(DEVICE_TYPES["scsi-hd"].properties, values));
}

/** Numbers of descriptors in a device process. */
export interface DeviceProcessFds {
  /** The link to the proxy. */
  readonly link: number;
  /** A socket for QMP; without one, the process has no QMP server. */
  readonly control?: number;
}

/** What a device process in a jail is told besides. */
export interface JailedArguments {
  /** Every file that its images are made of, by path and by descriptor in the process. */
  readonly files: readonly { readonly path: string; readonly fd: number }[];
}

/** How a device process is started. */
export interface DeviceProcessStart {
  /** For a process that can open nothing. @default {it opens its images by their paths} */
  readonly jailed?: JailedArguments;
  /** Where it says why it cannot start. @default {standard error} */
  readonly startError?: "qmp";
}

/** An option for each file. */
export function fileArguments({ files }: JailedArguments): string[] {
  return files.flatMap(({ path, fd }, set) => {
    const file = [{ key: "fd", value: String(fd) }, { key: "set", value: String(set) }, { key: "opaque", value: path }];
    return ["-add-fd", joinOption(undefined, file)];
  });
}

/**
 * The options that make a process serve `controller` on the link's descriptor. The command line parser gets the same
 * configuration back from them.
 */
export function deviceProcessArguments(
  controller: ControllerConfig,
  { link, control }: DeviceProcessFds,
  { jailed, startError }: DeviceProcessStart = {},
): string[] {
  const { driver, id, disks } = controller;
  const argv = [
    "-machine",
    "remote",
    "-run-with",
    startError === undefined ? "exit-with-parent=on" : `exit-with-parent=on,start-error=${startError}`,
    "-device",
    joinOption(driver, [{ key: "id", value: id }]),
  ];
  if (jailed !== undefined) argv.push("-sandbox", "on", ...fileArguments(jailed));
  for (const disk of disks) {
    argv.push("-drive", driveArgument(disk.drive), "-device", diskArgument(`${id}.0`, disk));
  }
  const object = [{ key: "id", value: "remote0" }, { key: "devid", value: id }, { key: "fd", value: String(link) }];
  argv.push("-object", joinOption("remote-object", object));
  if (control !== undefined) {
    argv.push("-chardev", `socket,id=control,fd=${control}`, "-mon", "chardev=control,mode=control");
  }
  return argv;
}
