import { assertEquals } from "@std/assert";
import { remoteArguments } from "../../src/proxy/device_process.ts";
import type { ControllerConfig } from "../../src/options/storage.ts";

const CONTROLLER: ControllerConfig = {
  driver: "lsi53c895a",
  id: "lsi0",
  disks: [{
    id: undefined,
    drive: {
      id: "d0",
      file: "/images/a,b.img",
      format: "raw",
      readOnly: true,
      cache: "none",
      discard: true,
      aio: "threads",
    },
    scsiId: 3,
    lun: 1,
    serial: "s,1",
    vendor: "SPLITVM",
    product: "DISK",
    version: "1.0",
    wwn: 0x5000c50015ea71acn,
    logicalBlockSize: 4096,
    physicalBlockSize: 4096,
  }],
};

Deno.test("a device process gets the controller, its disks and drives, and the link's descriptor", () => {
  assertEquals(remoteArguments(CONTROLLER, 3), [
    "-machine",
    "remote",
    "-device",
    "lsi53c895a,id=lsi0",
    "-drive",
    "id=d0,file=/images/a,,b.img,format=raw,if=none,readonly=on,cache=none,discard=unmap,aio=threads",
    "-device",
    "scsi-hd,drive=d0,bus=lsi0.0,scsi-id=3,lun=1,serial=s,,1,vendor=SPLITVM,product=DISK,ver=1.0," +
    "wwn=0x5000c50015ea71ac,logical_block_size=4096,physical_block_size=4096",
    "-object",
    "remote-object,id=link,devid=lsi0,fd=3",
  ]);
});
