/**
 * Command lines: an input is text, a word to a line. Those whose first word is `img` are for `splitvm img`.
 *
 * @module
 */
import { parseCommandLine } from "../../../src/cli/command_line.ts";
import { OPTIONS, type OptionSpec } from "../../../src/cli/option_table.ts";
import { parseImgArguments } from "../../../src/img/arguments.ts";
import { COMMANDS, type CommandSpec } from "../../../src/img/command_table.ts";
import { joinOption, splitOption } from "../../../src/options/keyval.ts";
import { OptionError } from "../../../src/options/option_error.ts";
import type { Properties, Variants } from "../../../src/options/properties.ts";
import { type Features, kindOf } from "../engine/features.ts";
import { invariant, type Seed, type Target } from "../engine/target.ts";

const Kind = { RESULT: 0, REFUSAL: 1 } as const;

/** The longest line that somebody is told, with what it quotes. */
const LONGEST_LINE = 2000;

/** Words that this command line and its like contain. */
function* words(): Generator<string> {
  for (const [name, { argument, aliases = [] }] of Object.entries<OptionSpec>(OPTIONS)) {
    for (const spelling of [name, ...aliases]) yield `\n-${spelling}\n`;
    if (argument.kind === "properties") yield* properties(argument.properties);
    if (argument.kind === "variants") yield* variants(argument.variants);
  }
  for (const [name, { options }] of Object.entries<CommandSpec>(COMMANDS)) {
    yield `${name}\n`;
    for (const option of Object.keys(options)) yield `\n--${option}\n`;
  }
  yield* [
    "on",
    "off",
    "help",
    "?",
    ",,",
    "=",
    "0x7f",
    "64M",
    "1T",
    "-1",
    "/dev/fdset/1",
    "stdio",
    "mon:stdio",
    "unix:/s,server=on",
  ];
}

function* variants(all: Variants): Generator<string> {
  for (const [name, variant] of Object.entries(all)) {
    yield name;
    yield* properties(variant.properties);
  }
}

function* properties(all: Properties): Generator<string> {
  for (const name of Object.keys(all)) yield `,${name}=`;
}

const LINES: Readonly<Record<string, string>> = {
  "kernel": "-m 256M -kernel vmlinux -initrd initrd -append root=/dev/sda -nographic -no-reboot",
  "disk":
    "-m 1G -smp 2 -drive if=none,id=d0,file=disk.qcow2,format=qcow2 -device lsi53c895a,id=lsi0 -device scsi-hd,drive=d0,bus=lsi0.0,scsi-id=1",
  "proxy": "-machine q35 -device pci-proxy-dev,id=p0,fd=3,addr=5",
  "remote":
    "-machine remote -device lsi53c895a,id=lsi0 -drive id=d0,file=disk.img,if=none,format=raw -device scsi-hd,drive=d0 -object remote-object,id=robj1,devid=lsi0,fd=4",
  "memory-backend": "-object memory-backend-memfd,id=ram0,size=64M -machine q35,memory-backend=ram0 -m 64M",
  "monitors":
    "-chardev socket,id=c0,path=/s,server=on,wait=off -mon chardev=c0,mode=control -serial mon:stdio -qmp unix:/q,server=on",
  "debugging":
    "-device isa-debugcon,iobase=0x402,chardev=d -chardev file,id=d,path=/log -device isa-debug-exit -bios bios.bin",
  "globals": "-global lsi53c895a.accel=off -device lsi53c895a -sandbox on -run-with exit-with-parent=on",
  "drives":
    "-drive file=a,,b,cache=none,aio=native,discard=unmap,detect-zeroes=unmap,werror=stop,rerror=report,snapshot=on,if=scsi",
  "descriptors": "-machine remote -add-fd fd=5,set=1,opaque=disk.img -drive file=/dev/fdset/1,id=d",
  "help": "-device lsi53c895a,help",
  "version": "--version",
  "img-create": "img create -f qcow2 -o cluster_size=64k,lazy_refcounts=on new.qcow2 10G",
  "img-convert": "img convert -p -O raw -S 4k a.qcow2 b.img",
  "img-resize": "img resize disk.img -1G",
  "img-check": "img check -r all --output=json disk.qcow2",
};

function seeds(): Seed[] {
  const encoder = new TextEncoder();
  return Object.entries(LINES).map(([name, line]) => ({ name, bytes: encoder.encode(line.replaceAll(" ", "\n")) }));
}

/** Takes a command line apart. What it asks for is told in a few words each. */
function parse(argv: readonly string[], tell: (what: string) => void): void {
  if (argv[0] === "img") {
    const request = parseImgArguments(argv.slice(1));
    tell(`img ${request.kind}`);
    if (request.kind === "command") tellFields(request.name, request.args, tell);
    return;
  }
  const command = parseCommandLine(argv);
  tell(command.kind);
  if (command.kind === "help") tell(`help ${command.topic?.option} ${command.topic?.variant}`);
  if ("config" in command) tellFields(command.kind, command.config, tell);
}

/** The fields of a configuration, each with what is in it. */
function tellFields(path: string, value: unknown, tell: (what: string) => void): void {
  if (typeof value !== "object" || value === null) {
    tell(`${path}: ${typeof value === "boolean" ? value : typeof value}`);
  } else if (Array.isArray(value)) value.forEach((part) => tellFields(`${path}[]`, part, tell));
  else for (const [name, part] of Object.entries(value)) tellFields(`${path}.${name}`, part, tell);
}

/** An option string that was taken apart can be put together, and is then the same. */
function checkRoundTrip(text: string): void {
  const { pairs, help } = splitOption("-x", text);
  // What stands alone must not look like a pair, and an empty key is refused.
  if (help || pairs.some(({ key, value }) => value === undefined && (key === "" || key === "help" || key === "?"))) {
    return;
  }
  const again = splitOption("-x", joinOption(undefined, pairs)).pairs;
  invariant(JSON.stringify(again) === JSON.stringify(pairs), "an option string is not what it was");
}

const KNOWN_WORDS: ReadonlySet<string> = new Set([...words()].map(kindOf));

/** What an error is about, without names that are the user's own. */
function placeOf(where: string): string {
  const [option, variant = ""] = kindOf(where).split(/[ ,=.]/, 2);
  return `${option} ${KNOWN_WORDS.has(variant) ? variant : ""}`;
}

function refusing(features: Features | undefined, attempt: () => void): void {
  try {
    attempt();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const { message } = error;
    // deno-lint-ignore no-control-regex -- nothing that moves a terminal's cursor, or ends the line
    const printable = !/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(message);
    invariant(
      printable && message.length > 0 && message.length <= LONGEST_LINE,
      `a refusal: ${JSON.stringify(message)}`,
    );
    features?.text(Kind.REFUSAL, `${placeOf(error.where)} ${kindOf(error.problem)}`);
  }
}

/** See the module. */
export function commandLineTarget(): Target {
  const decoder = new TextDecoder();
  return {
    name: "command-line",
    maxLength: 1024,
    dictionary: [...words()].map((word) => new TextEncoder().encode(word)),
    seeds: seeds(),
    run(bytes, features) {
      const argv = decoder.decode(bytes).split("\n").filter((word) => word !== "");
      refusing(features, () => parse(argv, (what) => features.text(Kind.RESULT, what)));
      for (const word of argv) if (word.includes(",")) refusing(undefined, () => checkRoundTrip(word));
    },
  };
}
