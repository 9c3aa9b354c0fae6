/**
 * Puts together what `-drive` and `-device` say about SCSI: every disk finds its drive and its bus, every bus its target ids.
 *
 * @module
 */
import { OptionError, quote, suggestion } from "../options/option_error.ts";
import {
  CACHE_POLICIES,
  type CacheMode,
  type ControllerConfig,
  type DriveConfig,
  type ErrorAction,
  type ScsiDiskConfig,
} from "../options/storage.ts";
import type { DEVICE_TYPES } from "../options/device_types.ts";
import { bool } from "../options/property_types.ts";
import type { Arguments, Given, NamedVariant } from "./arguments.ts";
import { IdRegistry } from "./registries.ts";

type Device = NamedVariant<typeof DEVICE_TYPES>;
type DiskProperties = Extract<Device, { name: "scsi-hd" }>["values"];

/** A controller, and where the command line has it. */
export interface ResolvedController {
  readonly where: string;
  readonly config: ControllerConfig;
  readonly slot: number | undefined;
}

/** The SCSI id of the host adapter itself (LSI53C895A manual, SCID). */
const ADAPTER_ID = 7;
/** Target ids of a wide SCSI bus. */
const TARGETS = 16;

/** A SCSI bus under construction. */
interface Bus {
  /** QEMU's name for it. */
  readonly name: string;
  readonly where: string;
  readonly id: string;
  readonly slot: number | undefined;
  readonly disks: { readonly index: number; readonly config: ScsiDiskConfig }[];
}

/** A drive, and what its disk does about errors unless it says so itself. */
interface Drive {
  readonly config: DriveConfig;
  readonly readErrors: Exclude<ErrorAction, "enospc">;
  readonly writeErrors: ErrorAction;
}

/** The drives that nobody has taken yet. */
class DrivePool {
  readonly #drives = new Map<string, Given<Drive>>();
  readonly #users = new Map<string, string>();

  constructor(drives: Arguments["drive"], snapshot: boolean) {
    const ids = new IdRegistry();
    for (const drive of drives) {
      ids.take(drive);
      const { where, value: { id, rerror: readErrors, werror: writeErrors } } = drive;
      this.#drives.set(id, { where, value: { config: driveConfig(drive, snapshot), readErrors, writeErrors } });
    }
  }

  take(where: string, id: string): Drive {
    const drive = this.#drives.get(id);
    if (drive === undefined) {
      throw new OptionError(where, `no -drive has the id ${quote(id)}${suggestion(id, [...this.#drives.keys()])}`);
    }
    const user = this.#users.get(id);
    if (user !== undefined) throw new OptionError(where, `drive '${id}' belongs to ${user} already`);
    this.#users.set(id, where);
    return drive.value;
  }

  requireAllTaken(): void {
    for (const [id, { where }] of this.#drives) {
      if (!this.#users.has(id)) throw new OptionError(where, `no device uses it; expected -device scsi-hd,drive=${id}`);
    }
  }
}

function driveConfig({ where, value }: Arguments["drive"][number], snapshot: boolean): DriveConfig {
  const cache = cacheMode(where, value);
  if (value.aio === "native" && !CACHE_POLICIES[cache].direct) {
    throw new OptionError(where, `aio=native needs cache=none or cache=directsync, not cache=${cache}`);
  }
  const discard = value.discard === "unmap" || value.discard === "on";
  const detectZeroes = value["detect-zeroes"];
  if (detectZeroes === "unmap" && !discard) {
    throw new OptionError(where, `detect-zeroes=unmap needs discard=unmap, not discard=${value.discard}`);
  }
  return {
    id: value.id,
    file: value.file,
    format: value.format,
    readOnly: value.readonly,
    snapshot: value.snapshot ?? snapshot,
    cache,
    discard,
    detectZeroes,
    aio: value.aio,
  };
}

/** The mode that `cache=` and the properties that change a part of it amount to. */
function cacheMode(where: string, value: Arguments["drive"][number]["value"]): CacheMode {
  const { direct, writeCache, ignoreFlush } = CACHE_POLICIES[value.cache];
  const wanted = {
    direct: value["cache.direct"] ?? direct,
    writeCache: value["cache.writeback"] ?? writeCache,
    ignoreFlush: value["cache.no-flush"] ?? ignoreFlush,
  };
  const modes = Object.entries(CACHE_POLICIES);
  const found = modes.find(([, policy]) =>
    policy.direct === wanted.direct && policy.writeCache === wanted.writeCache &&
    policy.ignoreFlush === wanted.ignoreFlush
  );
  if (found !== undefined) return found[0] as CacheMode;
  const said = `cache.direct=${bool.format(wanted.direct)},cache.writeback=${bool.format(wanted.writeCache)},` +
    `cache.no-flush=${bool.format(wanted.ignoreFlush)}`;
  throw new OptionError(where, `${said} is none of the cache modes ${modes.map(([name]) => name).join(", ")}`);
}

function findBus(where: string, buses: readonly Bus[], name: string | undefined): Bus {
  const names = buses.map((bus) => bus.name);
  if (buses.length === 0) throw new OptionError(where, "there is no SCSI bus; expected -device lsi53c895a,id=<id>");
  if (name === undefined) {
    if (buses.length === 1) return buses[0];
    throw new OptionError(where, `which bus? expected bus=${names.join(" or bus=")}`);
  }
  const bus = buses.find((bus) => bus.name === name);
  if (bus !== undefined) return bus;
  throw new OptionError(where, `no SCSI bus has the name ${quote(name)}${suggestion(name, names)}`);
}

function freeTarget(where: string, { disks, name }: Bus): number {
  for (let id = 0; id < TARGETS; id++) {
    if (id !== ADAPTER_ID && !disks.some(({ config }) => config.scsiId === id)) return id;
  }
  throw new OptionError(where, `no target id is free on bus ${name}; expected scsi-id= and lun=`);
}

function addDisk(where: string, index: number, values: DiskProperties, bus: Bus, drives: DrivePool): void {
  const scsiId = values["scsi-id"] ?? freeTarget(where, bus);
  const { lun, logical_block_size: logicalBlockSize, physical_block_size: physicalBlockSize = logicalBlockSize } =
    values;
  if (scsiId === ADAPTER_ID) {
    throw new OptionError(
      where,
      `scsi-id=${ADAPTER_ID} is the adapter's own; expected another one from 0 to ${TARGETS - 1}`,
    );
  }
  if (bus.disks.some(({ config }) => config.scsiId === scsiId && config.lun === lun)) {
    throw new OptionError(where, `scsi-id=${scsiId},lun=${lun} is taken already on bus ${bus.name}`);
  }
  if (physicalBlockSize < logicalBlockSize) {
    throw new OptionError(where, `physical_block_size=${physicalBlockSize} is below the logical ${logicalBlockSize}`);
  }
  const { id, serial, vendor, product, ver: version, wwn, rerror, werror } = values;
  const { config: drive, ...onDrive } = drives.take(where, values.drive);
  const names = { id, drive, scsiId, lun, serial, vendor, product, version, wwn };
  const errors = {
    readErrors: rerror === "auto" ? onDrive.readErrors : rerror,
    writeErrors: werror === "auto" ? onDrive.writeErrors : werror,
  };
  bus.disks.push({ index, config: { ...names, logicalBlockSize, physicalBlockSize, ...errors } });
}

function makeBuses(devices: Arguments["device"], ids: IdRegistry): Bus[] {
  let nameless = 0;
  const buses: Bus[] = [];
  for (const { where, value: device } of devices) {
    if (device.name !== "lsi53c895a") continue;
    const { id, addr: slot } = device.values;
    // QEMU calls the buses of adapters without an id scsi.0, scsi.1 and so on.
    const name = id === undefined ? `scsi.${nameless++}` : `${id}.0`;
    const namesake = buses.find((bus) => bus.name === name);
    if (namesake !== undefined) {
      throw new OptionError(where, `its SCSI bus is called ${name}, as that of ${namesake.where}`);
    }
    buses.push({ name, where, slot, id: id ?? ids.make("lsi53c895a"), disks: [] });
  }
  return buses;
}

/**
 * Resolves every controller with its disks, in command-line order. Target ids that are left out go to the lowest target that
 * has no disk, after all that are given.
 *
 * @throws {OptionError} for a reference to a drive or bus that does not exist, a drive used twice or not at all, an address
 * used twice, and block sizes that do not fit each other.
 */
export function resolveControllers(
  { device, drive, snapshot }: Pick<Arguments, "device" | "drive" | "snapshot">,
  ids: IdRegistry,
): ResolvedController[] {
  const drives = new DrivePool(drive, snapshot.length > 0);
  const buses = makeBuses(device, ids);
  for (const placed of [true, false]) {
    for (const [index, { where, value }] of device.entries()) {
      if (value.name !== "scsi-hd" || (value.values["scsi-id"] !== undefined) !== placed) continue;
      addDisk(where, index, value.values, findBus(where, buses, value.values.bus), drives);
    }
  }
  drives.requireAllTaken();
  return buses.map(({ where, slot, id, disks }) => {
    const ordered = disks.toSorted((a, b) => a.index - b.index).map(({ config }) => config);
    return { where, slot, config: { driver: "lsi53c895a", id, disks: ordered } };
  });
}
