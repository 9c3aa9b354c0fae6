/**
 * Disks as a command line describes them: images opened, put behind SCSI disks, and attached to a bus.
 *
 * @module
 */
import { errorChain } from "../error_chain.ts";
import { CACHE_POLICIES, type DriveConfig, type ScsiDiskConfig } from "../options/storage.ts";
import { alignedBuffer } from "../block/aligned_buffers.ts";
import { runToEnd, type Wait, waitFor } from "../block/coroutine.ts";
import type { BlockDevice } from "../block/block_device.ts";
import { detectZeroes as withoutZeroes } from "../block/zero_detection.ts";
import { type OpenedImage, openImage } from "../block/open_image.ts";
import type { DeviceResources } from "./devices.ts";
import type { EventLoop } from "../event_loop.ts";
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
  resources.onClose(() => {
    for (const id of drives.keys()) resources.runState.removeDrive(id);
    closeBus(bus, drives, resources.loop);
  });
  for (const disk of disks) {
    const image = openDrive(disk.drive, resources);
    drives.set(disk.drive.id, image.device);
    bus.attach(disk.scsiId, disk.lun, makeDisk(disk, image, resources));
  }
  return bus;
}

/** @throws {Error} when the image is too small for the disk, or a property is one that no disk can have. */
function makeDisk(disk: ScsiDiskConfig, image: OpenedImage, { host, runState }: DeviceResources): ScsiDisk {
  const { id, file } = disk.drive;
  const { device: drive, format, backingDepth } = image;
  const errors = runState.addDrive({ disk, drive, format, backingDepth });
  try {
    return new ScsiDisk(drive, {
      logicalBlockSize: disk.logicalBlockSize,
      physicalBlockSize: disk.physicalBlockSize,
      vendor: disk.vendor,
      product: disk.product,
      version: disk.version,
      serial: disk.serial,
      wwn: disk.wwn,
      // A disk without a serial number still needs a name of its own in VPD page 0x83; QEMU takes the drive's, too.
      deviceId: disk.serial ?? id.slice(0, 64),
      // The offset stays out of the line: a full file system would otherwise fill the log with one for each block.
      onBlockError: (report) => {
        const { operation, error } = report;
        host.warnOnce(`drive ${id}: ${operation} failed: ${errorChain(error.cause ?? error)}`);
        errors.report(report);
      },
      hold: (retry) => errors.hold(retry),
      readErrors: disk.readErrors,
      writeErrors: disk.writeErrors,
      // Direct I/O goes straight to and from such memory; elsewhere it would only be larger.
      allocate: CACHE_POLICIES[disk.drive.cache].direct ? alignedBuffer : undefined,
    });
  } catch (error) {
    throw new Error(`drive ${id}: ${file} cannot be a disk: ${(error as Error).message}`);
  }
}

function openDrive(config: DriveConfig, { host, loop }: DeviceResources): OpenedImage {
  const { id, file, format, readOnly, snapshot, cache, discard, detectZeroes, aio } = config;
  const warn = (line: string) => host.warnOnce(`drive ${id}: ${line}`);
  try {
    const image = openImage(file, { loop, format, readOnly, snapshot, cache, discard, aio, warn });
    if (detectZeroes === "off") return image;
    return { ...image, device: withoutZeroes(image.device, detectZeroes === "unmap") };
  } catch (error) {
    throw new Error(`drive ${id}`, { cause: error });
  }
}

/** Closes the images once nothing uses them and what the guest wrote is on stable storage. */
function closeBus(bus: ParallelScsiBus, drives: ReadonlyMap<string, BlockDevice>, loop: EventLoop): void {
  const problems: string[] = [];
  const note = (id: string, what: string, error: unknown) =>
    void problems.push(`drive ${id}: ${what} failed: ${errorChain(error)}`);
  bus.reset(); // requests that are held would never end
  while (bus.units().some(({ unit }) => unit.tasks > 0)) loop.turn();
  // The image of a disk that could not be made is on no bus, but is closed as well.
  for (const [id, drive] of drives) {
    if (!drive.readOnly) attempt(loop, (done) => drive.flush(done), (error) => note(id, "flush", error));
    attempt(loop, (done) => drive.close(done), (error) => note(id, "close", error));
  }
  if (problems.length > 0) throw new Error(problems.join("; "));
}

function attempt(loop: EventLoop, start: Wait, failed: (error: unknown) => void): void {
  try {
    runToEnd(loop, waitFor(start));
  } catch (error) {
    failed(error);
  }
}
