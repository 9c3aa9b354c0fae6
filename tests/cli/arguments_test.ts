import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { parseCommandLine } from "../../src/cli/command_line.ts";
import { OPTIONS } from "../../src/cli/option_table.ts";
import { OptionError } from "../../src/options/option_error.ts";
import { refuses, vmm, words } from "./parsing.ts";

Deno.test("options begin with one hyphen or two", () => {
  assertEquals(vmm("--m 64M --no-reboot"), vmm("-m 64M -no-reboot"));
});

Deno.test("three hyphens, and none, are no option", () => {
  refuses("---m 64M", "'---m': not an option; options begin with '-', images need -drive");
  refuses("disk.img", "'disk.img': not an option; options begin with '-', images need -drive");
  refuses("-m 64M -", "'-': not an option; options begin with '-', images need -drive");
});

Deno.test("an unknown option is refused by name with the nearest one", () => {
  refuses("-nographc", "'-nographc': unknown option; did you mean '-nographic'?");
  refuses("--kernl x", "'--kernl': unknown option; did you mean '-kernel'?");
});

Deno.test("an unknown option that is like no other leads to -help", () => {
  refuses("-spice port=1", "'-spice': unknown option; -help lists all options");
});

Deno.test("an option whose argument is missing is refused", () => {
  refuses("-no-reboot -m", "-m: its argument is missing");
});

Deno.test("an argument may begin with a hyphen", () => {
  assertEquals(vmm("-kernel k -append -x").kernel?.append, "-x");
});

Deno.test("an option that describes one thing is refused a second time", () => {
  refuses("-m 64M -m 64M", "-m: is given twice");
});

Deno.test("a switch may be repeated", () => {
  assertEquals(vmm("-nographic -nographic -no-reboot -no-reboot").noReboot, true);
});

Deno.test("a device, object or machine with an x- prefix is the one without", () => {
  assertEquals(
    parseCommandLine(words("-machine x-remote -device lsi53c895a,id=l -object x-remote-object,id=o,devid=l,fd=4")),
    parseCommandLine(words("-machine remote -device lsi53c895a,id=l -object remote-object,id=o,devid=l,fd=4")),
  );
  assertEquals(vmm("-device x-pci-proxy-dev,fd=3"), vmm("-device pci-proxy-dev,fd=3"));
});

Deno.test("no other name gets an x- prefix", () => {
  refuses("-device x-scsi-hd", "-device: unknown device 'x-scsi-hd'; did you mean 'scsi-hd'?");
});

Deno.test("an unknown device, object or machine is refused with the nearest one, or with all", () => {
  refuses("-device scsi-hdd", "-device: unknown device 'scsi-hdd'; did you mean 'scsi-hd'?");
  refuses("-object iothread,id=a", "-object: unknown object 'iothread'; expected remote-object, memory-backend-memfd");
  refuses("-machine pc", "-machine: unknown machine 'pc'; expected q35, remote");
});

Deno.test("a device that is not named is asked for", () => {
  refuses(
    "-device id=a",
    "-device: no device is named; expected lsi53c895a, scsi-hd, pci-proxy-dev, isa-debugcon, isa-debug-exit",
  );
});

Deno.test("a machine that is not named is q35", () => {
  assertEquals(vmm("-machine accel=kvm"), vmm("-machine q35"));
});

Deno.test("options and devices of the other role are refused", () => {
  refuses("-machine remote -m 64M", "-m: is for -machine q35, and this is -machine remote");
  refuses("-m 64M -machine remote", "-m: is for -machine q35, and this is -machine remote");
  refuses(
    "-machine remote -device pci-proxy-dev,fd=3",
    "-device pci-proxy-dev: is for -machine q35, and this is -machine remote",
  );
  refuses(
    "-object remote-object,id=a,devid=b,fd=3",
    "-object remote-object: is for -machine remote, and this is -machine q35",
  );
});

Deno.test("a value that is not accepted is refused with what is", () => {
  refuses("-display gtk", "-display: 'gtk' is not accepted; expected none");
  refuses("-machine q35,usb=on", "-machine q35: usb='on' is not accepted; expected off");
});

Deno.test("-M is -machine, and -h is -help", () => {
  assertEquals(vmm("-M q35"), vmm("-machine q35"));
  assertEquals(parseCommandLine(["-h"]), { kind: "help", topic: undefined });
});

Deno.test("-global is a default for the devices of a type", () => {
  const { debugConsoles } = vmm("-debugcon null -global isa-debugcon.iobase=0x402 -nodefaults");
  assertEquals(debugConsoles, [{ port: 0x402, characterDevice: 0 }]);
  const { debugExit } = vmm("-global isa-debug-exit.iobase=0xf4 -device isa-debug-exit,iosize=4");
  assertEquals(debugExit, { port: 0xf4, size: 4 });
});

Deno.test("what a device gives itself counts more than -global, and the last -global more than others", () => {
  assertEquals(vmm("-device isa-debug-exit,iobase=0xf4 -global isa-debug-exit.iobase=0xf8").debugExit?.port, 0xf4);
  const twice = "-global isa-debug-exit.iobase=0xf8 -global isa-debug-exit.iobase=0xfc -device isa-debug-exit";
  assertEquals(vmm(twice).debugExit?.port, 0xfc);
});

Deno.test("-global is checked even where nothing uses it", () => {
  refuses("-global isa-debugcom.x=1", "-global: unknown device 'isa-debugcom'; did you mean 'isa-debugcon'?");
  refuses(
    "-global isa-debug-exit.iosze=1",
    "-global isa-debug-exit.iosze: unknown property 'iosze'; did you mean 'iosize'?",
  );
  refuses("-global scsi-hd.lun=9", "-global scsi-hd.lun: lun='9' is not accepted; expected a whole number from 0 to 7");
  refuses("-global scsi-hd.id=a", "-global scsi-hd.id: is not a default: each device has an id of its own");
  refuses("-global lun=9", "-global: 'lun=9' is not accepted; expected <driver>.<property>=<value>");
  refuses(
    "-global scsi-hd.l\x1bn=9",
    "-global: 'scsi-hd.l\\x1bn=9' is not accepted; expected <driver>.<property>=<value>",
  );
});

Deno.test("help is asked for by option, and by device", () => {
  const topics: Record<string, unknown> = {
    "-help": undefined,
    "--help": undefined,
    "-machine help": { option: "machine" },
    "-device help": { option: "device" },
    "-device ?": { option: "device" },
    "-device lsi53c895a,help": { option: "device", variant: "lsi53c895a" },
    "-device x-pci-proxy-dev,help": { option: "device", variant: "pci-proxy-dev" },
    "-object remote-object,help": { option: "object", variant: "remote-object" },
    "-drive help": { option: "drive" },
    "-cpu help": { option: "cpu" },
  };
  for (const [line, topic] of Object.entries(topics)) {
    assertEquals(parseCommandLine(words(line)), { kind: "help", topic }, line);
  }
});

Deno.test("the first option that asks for help is all that counts", () => {
  assertEquals(parseCommandLine(words("-m 64M -device help -nonsense")), { kind: "help", topic: { option: "device" } });
  assertEquals(parseCommandLine(words("-version -help")), { kind: "version" });
});

Deno.test("help for an unknown device is refused", () => {
  refuses(
    "-device e1000,help",
    "-device: unknown device 'e1000'; expected lsi53c895a, scsi-hd, pci-proxy-dev, isa-debugcon, isa-debug-exit",
  );
});

Deno.test("no options ask for nothing", () => {
  assertEquals(parseCommandLine([]), { kind: "usage" });
});

const optionNames = Object.keys(OPTIONS).map((name) => `-${name}`);
const argument = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("q35", "remote", "lsi53c895a,id=a", "scsi-hd,drive=d", "id=d,file=f", "64M", "stdio", "none", "help"),
  fc.array(fc.constantFrom("scsi-hd", "id=a", "drive=d", "fd=3", "lun=1", "=", ",", ",,", "help", "on"))
    .map((elements) => elements.join(",")),
);

Deno.test("no command line throws anything but an OptionError of one line", () => {
  const words = fc.array(fc.oneof(fc.constantFrom(...optionNames), argument), { maxLength: 12 });
  fc.assert(
    fc.property(words, (argv) => {
      try {
        parseCommandLine(argv);
      } catch (error) {
        if (!(error instanceof OptionError)) throw error;
        // deno-lint-ignore no-control-regex
        assert(!/[\x00-\x1f\x7f]/.test(error.message), error.message);
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("very long arguments are refused quickly and in a short line", () => {
  const long = "x".repeat(1 << 17);
  for (
    const argv of [[`-${long}`], [long], ["-device", long], ["-drive", `${long}=1`], ["-serial", long], ["-m", long]]
  ) {
    const { message } = assertThrows(() => parseCommandLine(argv), OptionError);
    assert(message.length < 300, message);
  }
});
