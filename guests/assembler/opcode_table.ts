/**
 * Which instructions there are and how they are encoded, in the notation of Intel's opcode maps.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volume 2: chapters 3 to 5 for each
 * instruction, appendix A.2 for the operand codes.
 *
 * An operand code is a letter for where the operand is encoded and one for its type:
 *
 * | letter | encoded in | | type | width |
 * | --- | --- | --- | --- | --- |
 * | E | ModRM.rm: a general register or memory | | b | 8 |
 * | G | ModRM.reg: a general register | | w | 16 |
 * | R | ModRM.rm: a general register only | | d | 32 |
 * | M | ModRM.rm: memory only | | q | 64 |
 * | Z | the opcode's low three bits: a general register | | v | the operand size: 16, 32 or 64 |
 * | S, C, D | ModRM.reg: a segment, control, debug register | | z | the operand size, at most 32 |
 * | I | immediate; `Ibs` is a byte that is sign-extended | | y | the operand size, 32 or 64 |
 * | J | displacement from the next instruction | | n | 32, and 64 in 64-bit mode |
 * | O | memory at a plain offset, without ModRM | | p | far pointer: offset and segment selector |
 * | A | far pointer in the instruction | | | none: an address, or data of any width |
 *
 * Besides, `AL AX DX CL 1 ES CS SS DS FS GS` stand for themselves, `rAX` for the accumulator of type v, `eAX` of type
 * z.
 *
 * An encoding is the opcode's bytes (`+r`: plus a register's number), `/r` or `/0` to `/7` for ModRM.reg, and words:
 *
 * - `o16 o32 o64`: the operand size that this instruction has, whatever the default is
 * - `a16 a32 a64`: likewise, the address size
 * - `d64`: in 64-bit mode the operand size is 64 without REX.W, and 32 does not exist (volume 1, section 3.6.1)
 * - `i64`: not in 64-bit mode; `only64`: only there
 * - `other`: the register in the opcode is not the accumulator (`90` is NOP, which leaves RAX's upper half alone)
 * - `far`: the memory operand must say `far`
 * - `any`: a memory operand needs no width written, because no other form of the instruction would fit
 *
 * @module
 */

/** One way to encode an instruction. */
export interface Form {
  readonly mnemonic: string;
  readonly operands: readonly string[];
  /** Opcode bytes without prefixes. */
  readonly opcode: readonly number[];
  /** A mandatory prefix, which stands before REX. */
  readonly mandatoryPrefix: number | undefined;
  /** Whether a register's number is added to the last opcode byte. */
  readonly plusRegister: boolean;
  /** ModRM.reg when it extends the opcode. */
  readonly extension: number | undefined;
  readonly flags: ReadonlySet<string>;
}

/** ADD, OR, ADC, SBB, AND, SUB, XOR and CMP differ in three bits (SDM volume 2, table A-6, group 1). */
const ARITHMETIC = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"].flatMap((name, index) => {
  const opcode = (low: number) => hex(index * 8 + low);
  return [
    `${name} Eb,Gb : ${opcode(0)} /r`,
    `${name} Ev,Gv : ${opcode(1)} /r`,
    `${name} Gb,Eb : ${opcode(2)} /r`,
    `${name} Gv,Ev : ${opcode(3)} /r`,
    `${name} AL,Ib : ${opcode(4)}`,
    `${name} rAX,Iz : ${opcode(5)}`,
    `${name} Eb,Ib : 80 /${index}`,
    `${name} Ev,Ibs : 83 /${index}`,
    `${name} Ev,Iz : 81 /${index}`,
  ];
});

/** Shifts and rotates (group 2). */
const SHIFTS = Object.entries({ rol: 0, ror: 1, rcl: 2, rcr: 3, shl: 4, sal: 4, shr: 5, sar: 7 }).flatMap((
  [name, extension],
) => [
  `${name} Eb,1 : D0 /${extension}`,
  `${name} Ev,1 : D1 /${extension}`,
  `${name} Eb,CL : D2 /${extension}`,
  `${name} Ev,CL : D3 /${extension}`,
  `${name} Eb,Ib : C0 /${extension}`,
  `${name} Ev,Ib : C1 /${extension}`,
]);

/** Condition codes in the order of their numbers, with their synonyms (SDM volume 1, appendix B). */
const CONDITIONS = [
  "o",
  "no",
  "b c nae",
  "nb nc ae",
  "z e",
  "nz ne",
  "be na",
  "nbe a",
  "s",
  "ns",
  "p pe",
  "np po",
  "l nge",
  "nl ge",
  "le ng",
  "nle g",
];

const CONDITIONAL = CONDITIONS.flatMap((names, code) =>
  names.split(" ").flatMap((name) => [
    `j${name} Jb : ${hex(0x70 + code)} d64`,
    `j${name} Jz : 0F ${hex(0x80 + code)} d64`,
    `set${name} Eb : 0F ${hex(0x90 + code)} /0 any`,
    `cmov${name} Gv,Ev : 0F ${hex(0x40 + code)} /r`,
  ])
);

/** String instructions, one for each width. INS and OUTS have no 64-bit form. */
const STRINGS = Object.entries({ movs: 0xa4, cmps: 0xa6, stos: 0xaa, lods: 0xac, scas: 0xae, ins: 0x6c, outs: 0x6e })
  .flatMap(([name, opcode]) => [
    `${name}b : ${hex(opcode)}`,
    `${name}w : ${hex(opcode + 1)} o16`,
    `${name}d : ${hex(opcode + 1)} o32`,
    ...(opcode < 0xa0 ? [] : [`${name}q : ${hex(opcode + 1)} o64 only64`]),
  ]);

const DATA_TRANSFER = [
  "mov Eb,Gb : 88 /r",
  "mov Ev,Gv : 89 /r",
  "mov Gb,Eb : 8A /r",
  "mov Gv,Ev : 8B /r",
  "mov Rv,Sw : 8C /r",
  "mov Mw,Sw : 8C /r any",
  "mov Sw,Ew : 8E /r",
  "mov Sw,Rd : 8E /r",
  "mov AL,Ob : A0",
  "mov rAX,Ov : A1",
  "mov Ob,AL : A2",
  "mov Ov,rAX : A3",
  "mov Zb,Ib : B0+r",
  "mov Zv,Iv : B8+r",
  "mov Eb,Ib : C6 /0",
  "mov Ev,Iz : C7 /0",
  "mov Rn,Cn : 0F 20 /r",
  "mov Rn,Dn : 0F 21 /r",
  "mov Cn,Rn : 0F 22 /r",
  "mov Dn,Rn : 0F 23 /r",
  "movzx Gv,Eb : 0F B6 /r",
  "movzx Gv,Ew : 0F B7 /r",
  "movsx Gv,Eb : 0F BE /r",
  "movsx Gv,Ew : 0F BF /r",
  "movsxd Gv,Ed : 63 /r only64 any",
  "lea Gv,M : 8D /r",
  "les Gz,Mp : C4 /r i64",
  "lds Gz,Mp : C5 /r i64",
  "lss Gz,Mp : 0F B2 /r",
  "lfs Gz,Mp : 0F B4 /r",
  "lgs Gz,Mp : 0F B5 /r",
  "xchg rAX,Zv : 90+r other",
  "xchg Zv,rAX : 90+r other",
  "xchg Eb,Gb : 86 /r",
  "xchg Gb,Eb : 86 /r",
  "xchg Ev,Gv : 87 /r",
  "xchg Gv,Ev : 87 /r",
  "cmpxchg Eb,Gb : 0F B0 /r",
  "cmpxchg Ev,Gv : 0F B1 /r",
  "cmpxchg8b Mq : 0F C7 /1 any",
  "cmpxchg16b M : 0F C7 /1 o64 only64",
  "xadd Eb,Gb : 0F C0 /r",
  "xadd Ev,Gv : 0F C1 /r",
  "bswap Zy : 0F C8+r",
  "xlatb : D7",
  "push Zv : 50+r d64",
  "push Ev : FF /6 d64",
  "push Ibs : 6A d64",
  "push Iz : 68 d64",
  "push ES : 06 i64",
  "push CS : 0E i64",
  "push SS : 16 i64",
  "push DS : 1E i64",
  "push FS : 0F A0 d64",
  "push GS : 0F A8 d64",
  "pop Zv : 58+r d64",
  "pop Ev : 8F /0 d64",
  "pop ES : 07 i64",
  "pop SS : 17 i64",
  "pop DS : 1F i64",
  "pop FS : 0F A1 d64",
  "pop GS : 0F A9 d64",
  "pusha : 60 i64",
  "pushaw : 60 o16 i64",
  "pushad : 60 o32 i64",
  "popa : 61 i64",
  "popaw : 61 o16 i64",
  "popad : 61 o32 i64",
  "pushf : 9C d64",
  "pushfw : 9C o16",
  "pushfd : 9C o32 i64",
  "pushfq : 9C d64 only64",
  "popf : 9D d64",
  "popfw : 9D o16",
  "popfd : 9D o32 i64",
  "popfq : 9D d64 only64",
  "lahf : 9F",
  "sahf : 9E",
];

const ARITHMETIC_AND_BITS = [
  "test Eb,Gb : 84 /r",
  "test Ev,Gv : 85 /r",
  "test Gb,Eb : 84 /r",
  "test Gv,Ev : 85 /r",
  "test AL,Ib : A8",
  "test rAX,Iz : A9",
  "test Eb,Ib : F6 /0",
  "test Ev,Iz : F7 /0",
  "not Eb : F6 /2",
  "not Ev : F7 /2",
  "neg Eb : F6 /3",
  "neg Ev : F7 /3",
  "mul Eb : F6 /4",
  "mul Ev : F7 /4",
  "imul Eb : F6 /5",
  "imul Ev : F7 /5",
  "imul Gv,Ev : 0F AF /r",
  "imul Gv,Ev,Ibs : 6B /r",
  "imul Gv,Ev,Iz : 69 /r",
  "div Eb : F6 /6",
  "div Ev : F7 /6",
  "idiv Eb : F6 /7",
  "idiv Ev : F7 /7",
  "inc Eb : FE /0",
  "inc Ev : FF /0",
  "inc Zv : 40+r i64",
  "dec Eb : FE /1",
  "dec Ev : FF /1",
  "dec Zv : 48+r i64",
  "cbw : 98 o16",
  "cwde : 98 o32",
  "cdqe : 98 o64 only64",
  "cwd : 99 o16",
  "cdq : 99 o32",
  "cqo : 99 o64 only64",
  "shld Ev,Gv,Ib : 0F A4 /r",
  "shld Ev,Gv,CL : 0F A5 /r",
  "shrd Ev,Gv,Ib : 0F AC /r",
  "shrd Ev,Gv,CL : 0F AD /r",
  "bt Ev,Gv : 0F A3 /r",
  "bt Ev,Ib : 0F BA /4",
  "bts Ev,Gv : 0F AB /r",
  "bts Ev,Ib : 0F BA /5",
  "btr Ev,Gv : 0F B3 /r",
  "btr Ev,Ib : 0F BA /6",
  "btc Ev,Gv : 0F BB /r",
  "btc Ev,Ib : 0F BA /7",
  "bsf Gv,Ev : 0F BC /r",
  "bsr Gv,Ev : 0F BD /r",
  "popcnt Gv,Ev : F3: 0F B8 /r",
];

const CONTROL_TRANSFER = [
  "jmp Jb : EB d64",
  "jmp Jz : E9 d64",
  "jmp Ev : FF /4 d64 any",
  "jmp Ap : EA i64",
  "jmp Mp : FF /5 far",
  "call Jz : E8 d64",
  "call Ev : FF /2 d64 any",
  "call Ap : 9A i64",
  "call Mp : FF /3 far",
  "jcxz Jb : E3 a16 d64 i64",
  "jecxz Jb : E3 a32 d64",
  "jrcxz Jb : E3 a64 d64 only64",
  "loop Jb : E2 d64",
  "loope Jb : E1 d64",
  "loopz Jb : E1 d64",
  "loopne Jb : E0 d64",
  "loopnz Jb : E0 d64",
  "ret : C3 d64",
  "ret Iw : C2 d64",
  "retf : CB",
  "retf Iw : CA",
  "iret : CF",
  "iretw : CF o16",
  "iretd : CF o32",
  "iretq : CF o64 only64",
  "int Ib : CD",
  "int1 : F1",
  "int3 : CC",
  "into : CE i64",
  "enter Iw,Ib : C8 d64",
  "leave : C9 d64",
];

const SYSTEM = [
  "in AL,Ib : E4",
  "in eAX,Ib : E5",
  "in AL,DX : EC",
  "in eAX,DX : ED",
  "out Ib,AL : E6",
  "out Ib,eAX : E7",
  "out DX,AL : EE",
  "out DX,eAX : EF",
  "cmc : F5",
  "clc : F8",
  "stc : F9",
  "cli : FA",
  "sti : FB",
  "cld : FC",
  "std : FD",
  "hlt : F4",
  "nop : 90",
  "nop Ev : 0F 1F /0",
  "pause : F3: 90",
  "ud2 : 0F 0B",
  "fninit : DB E3",
  "lgdt M : 0F 01 /2",
  "lidt M : 0F 01 /3",
  "sgdt M : 0F 01 /0",
  "sidt M : 0F 01 /1",
  "lldt Ew : 0F 00 /2 any",
  "ltr Ew : 0F 00 /3 any",
  "smsw Rv : 0F 01 /4",
  "smsw Mw : 0F 01 /4 any",
  "lmsw Ew : 0F 01 /6 any",
  "str Rv : 0F 00 /1",
  "str Mw : 0F 00 /1 any",
  "sldt Rv : 0F 00 /0",
  "sldt Mw : 0F 00 /0 any",
  "verr Ew : 0F 00 /4 any",
  "verw Ew : 0F 00 /5 any",
  "lar Gv,Ew : 0F 02 /r any",
  "lsl Gv,Ew : 0F 03 /r any",
  "invlpg M : 0F 01 /7",
  "clflush M : 0F AE /7",
  "clts : 0F 06",
  "invd : 0F 08",
  "wbinvd : 0F 09",
  "cpuid : 0F A2",
  "rdtsc : 0F 31",
  "rdtscp : 0F 01 F9",
  "rdpmc : 0F 33",
  "rdmsr : 0F 32",
  "wrmsr : 0F 30",
  "rdrand Rv : 0F C7 /6",
  "syscall : 0F 05 only64",
  "sysret : 0F 07 only64",
  "sysretq : 0F 07 o64 only64",
  "sysenter : 0F 34",
  "sysexit : 0F 35",
  "swapgs : 0F 01 F8 only64",
  "xgetbv : 0F 01 D0",
  "xsetbv : 0F 01 D1",
  "vmcall : 0F 01 C1",
  "monitor : 0F 01 C8",
  "mwait : 0F 01 C9",
  "lfence : 0F AE E8",
  "mfence : 0F AE F0",
  "sfence : 0F AE F8",
];

/** Prefixes that are written as words before an instruction (SDM volume 2, section 2.1.1). */
export const PREFIXES: ReadonlyMap<string, number> = new Map([
  ["lock", 0xf0],
  ["rep", 0xf3],
  ["repe", 0xf3],
  ["repz", 0xf3],
  ["repne", 0xf2],
  ["repnz", 0xf2],
]);

/** Segment override prefixes, by the segment register's number (SDM volume 2, section 2.1.1). */
export const SEGMENT_OVERRIDES: readonly number[] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}

function parseForm(line: string): Form {
  const [head, encoding] = line.split(" : ");
  const [mnemonic, operands] = head.split(" ");
  const opcode: number[] = [];
  const flags = new Set<string>();
  let mandatoryPrefix: number | undefined;
  let extension: number | undefined;
  let plusRegister = false;
  for (const word of encoding.split(" ")) {
    if (/^[0-9A-F]{2}:$/i.test(word)) {
      mandatoryPrefix = parseInt(word, 16);
    } else if (/^[0-9A-F]{2}(\+r)?$/i.test(word)) {
      opcode.push(parseInt(word, 16));
      plusRegister = word.endsWith("+r");
    } else if (/^\/[0-7]$/.test(word)) {
      extension = Number(word[1]);
    } else if (word !== "/r") {
      flags.add(word);
    }
  }
  return { mnemonic, operands: operands?.split(",") ?? [], opcode, mandatoryPrefix, plusRegister, extension, flags };
}

/** All forms by mnemonic, in the order in which forms of equal length are preferred. */
export const FORMS: ReadonlyMap<string, readonly Form[]> = Map.groupBy(
  [
    ...ARITHMETIC,
    ...SHIFTS,
    ...CONDITIONAL,
    ...STRINGS,
    ...DATA_TRANSFER,
    ...ARITHMETIC_AND_BITS,
    ...CONTROL_TRANSFER,
    ...SYSTEM,
  ].map(parseForm),
  (form) => form.mnemonic,
);
