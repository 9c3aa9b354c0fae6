/**
 * A device process that is measured.
 *
 * @module
 */
import { DeviceProcess } from "../tests/support/lsi_driver/device_process.ts";
import type { LsiDriver } from "../tests/support/lsi_driver/lsi_driver.ts";
import { capacity, SECTOR } from "../tests/support/lsi_driver/scsi_disk.ts";
import type { Half } from "../tests/support/machines.ts";
import { cpuTimeOf } from "../tests/support/process_tree.ts";
import { BLOCK } from "./images.ts";
import { pinSelf, type Placement } from "./placement.ts";
import type { Workload } from "./workloads.ts";

/** What is compared: a program, and how it is told to do its I/O. */
export interface Subject {
  readonly name: string;
  /** What it is a variant of: the table has a column for each. */
  readonly program: "splitvm" | "QEMU";
  readonly half: Half;
  /** Further options of `-drive`. */
  readonly drive: string;
}

/** What one run of a workload gave. */
export interface Measurement {
  /** In the workload's unit. */
  readonly figure: number;
  /** CPU time of an operation in the device process and in the driver, in microseconds. */
  readonly deviceCpu: number;
  readonly driverCpu: number;
}

/** What comes before a measurement, in seconds: caches fill, and code is compiled. */
const WARM_UP = 0.1;

/** See the module. */
export class Session {
  readonly process: DeviceProcess;
  readonly driver: LsiDriver;
  /** Blocks of 4 KiB on the disk. */
  readonly blocks: number;

  /** @param drive The image, as `-drive` has it. */
  constructor(subject: Subject, drive: string, placement: Placement) {
    pinSelf(placement);
    this.process = new DeviceProcess({ half: subject.half, drive: drive + subject.drive, cpus: placement.device });
    this.driver = this.process.start();
    this.blocks = Math.floor(capacity(this.driver) * SECTOR / BLOCK);
  }

  measure(workload: Workload, seconds: number): Measurement {
    workload.run(this, WARM_UP);
    const cpu = () => [cpuTimeOf(this.process.pid), cpuTimeOf("self")];
    const [device, driver] = cpu();
    const start = performance.now();
    const operations = workload.run(this, seconds);
    const elapsed = (performance.now() - start) / 1000;
    const [deviceEnd, driverEnd] = cpu();
    return {
      figure: workload.figure(operations, elapsed),
      deviceCpu: 1e6 * (deviceEnd - device) / operations,
      driverCpu: 1e6 * (driverEnd - driver) / operations,
    };
  }

  close(): void {
    const { status, errors } = this.process.stop();
    if (!("code" in status) || status.code !== 0) {
      throw new Error(`The device process ended with ${JSON.stringify(status)}: ${errors.trim()}`);
    }
  }
}
