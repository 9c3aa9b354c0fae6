/**
 * Disks as a command line describes them: images opened, put behind SCSI disks, and attached to a bus.
 *
 * @module
 */
import type { DriveConfig, ScsiDiskConfig } from "../options/storage.ts";
import type { BlockDevice } from "./block/block_device.ts";
import { openRaw } from "./block/raw.ts";
import type { DeviceResources } from "./devices.ts";
import type { EventLoop } from "./event_loop.ts";
import { ParallelScsiBus } from "./scsi/bus.ts";
import { ScsiDisk } from "./scsi/disk.ts";

/**
 * Makes a bus with its disks. They are flushed and closed with the device that `resources` are for.
 *
 * @throws {Error} naming the drive that cannot be opened, and why. Images opened before it are closed by `resources`.
 */
export function openScsiBus(disks: readonly ScsiDiskConfig[], resources: DeviceResources): ParallelScsiBus {
  const bus = new ParallelScsiBus();
  const drives = new Map<string, BlockDevice>();
  resources.onClose(() => closeBus(bus, drives, resources.loop));
  for (const disk of disks) {
    const drive = openDrive(disk.drive);
    drives.set(disk.drive.id, drive);
    bus.attach(
      disk.scsiId,
      disk.lun,
      new ScsiDisk(drive, {
        logicalBlockSize: disk.logicalBlockSize,
        physicalBlockSize: disk.physicalBlockSize,
        vendor: disk.vendor,
        product: disk.product,
        version: disk.version,
        serial: disk.serial,
        wwn: disk.wwn,
        // A disk without a serial number still needs a name of its own in VPD page 0x83; QEMU takes the drive's, too.
        deviceId: disk.serial ?? disk.drive.id.slice(0, 64),
        onBlockError: (operation, error) =>
          resources.host.warnOnce(`drive ${disk.drive.id}: ${operation}: ${error.message}`),
      }),
    );
  }
  return bus;
}

function openDrive({ id, file, readOnly, cache, discard }: DriveConfig): BlockDevice {
  try {
    return openRaw(file, { readOnly, cache, discard });
  } catch (error) {
    throw new Error(`drive ${id}`, { cause: error });
  }
}

/** Closes the images once nothing uses them and what the guest wrote is on stable storage. */
function closeBus(bus: ParallelScsiBus, drives: ReadonlyMap<string, BlockDevice>, loop: EventLoop): void {
  const problems: string[] = [];
  while (bus.units().some(({ unit }) => unit.tasks > 0)) loop.turn();
  for (const [id, drive] of drives) {
    let flushed = drive.readOnly;
    if (!flushed) {
      drive.flush((error) => {
        flushed = true;
        if (error !== undefined) problems.push(`drive ${id}: flush: ${error.message}`);
      });
    }
    while (!flushed) loop.turn();
  }
  bus.close();
  // The image of a disk that could not be made is on no bus.
  for (const drive of drives.values()) drive.close();
  if (problems.length > 0) throw new Error(problems.join("; "));
}
