/**
 * Processes of a few hundred bytes, made in memory: static ELF executables (generic ABI, chapters 4 and 5) that outlive this process to put
 * something right, whatever ended it.
 *
 * @module
 */
import { checked } from "./errno.ts";
import { closeFd, createPipe, writeFd } from "./file.ts";
import { type ChildProcess, currentProcessId, spawn } from "./process.ts";
import { cString, syscalls } from "./syscall.ts";

/** Where one is loaded. */
const BASE = 0x40_0000;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const PT_LOAD = 1;
const PF_R_X = 5;
const MFD_CLOEXEC = 1;
/** Allows execution where that is not the default (vm.memfd_noexec); kernels before 6.3 do not know it. */
const MFD_EXEC = 0x10;

/** An executable that begins with the first byte of `code`, which does not depend on where it is, and whose memory is read-only. */
export function buildExecutable(code: Uint8Array): Uint8Array<ArrayBuffer> {
  const start = EHDR_SIZE + PHDR_SIZE;
  const size = start + code.length;
  const view = new DataView(new ArrayBuffer(size));
  const bytes = new Uint8Array(view.buffer);
  const u64 = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELFCLASS64, ELFDATA2LSB, EV_CURRENT
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 62, true); // EM_X86_64
  view.setUint32(20, 1, true);
  u64(24, BASE + start); // e_entry
  u64(32, EHDR_SIZE); // e_phoff
  [EHDR_SIZE, PHDR_SIZE, 1].forEach((value, i) => view.setUint16(52 + 2 * i, value, true));
  view.setUint32(EHDR_SIZE, PT_LOAD, true);
  view.setUint32(EHDR_SIZE + 4, PF_R_X, true);
  [0, BASE, BASE, size, size, 4096].forEach((value, i) => u64(EHDR_SIZE + 8 + 8 * i, value));
  bytes.set(code, start);
  return bytes;
}

/** A process whose descriptor 0 is a pipe that ends with this process, or when {@linkcode Guard.pipe} is closed. */
export interface Guard {
  readonly process: ChildProcess;
  /** The pipe's end here, the only one. */
  readonly pipe: number;
}

/**
 * Starts one. Nothing that ends this process's whole job, by a key or by kill, ends it.
 *
 * @param name What it is called.
 * @param output Its descriptors 1 and 2. @default {/dev/null}
 * @throws {SyscallError} when the host does not allow such a process.
 */
export function startGuard(name: string, image: Uint8Array<ArrayBuffer>, output: number | null = null): Guard {
  const program = makeProgram(name, image);
  const [reader, writer] = createPipe();
  try {
    const process = spawn({
      command: [name],
      // Not by way of /proc/self: in the child, the descriptor is closed by then.
      program: `/proc/${currentProcessId()}/fd/${program}`,
      env: {},
      descriptors: new Map([[0, reader], [1, output], [2, output]]),
      // A terminal stops background processes that change it, unless SIGTTOU is blocked.
      ownGroup: true,
      blockSignals: true,
    });
    return { process, pipe: writer };
  } catch (error) {
    closeFd(writer);
    throw error;
  } finally {
    closeFd(reader);
    closeFd(program);
  }
}

function makeProgram(title: string, image: Uint8Array<ArrayBuffer>): number {
  const name = cString(title);
  const executable = syscalls().memfd_create(name, MFD_CLOEXEC | MFD_EXEC);
  const fd = executable >= 0 ? executable : checked("memfd_create", syscalls().memfd_create(name, MFD_CLOEXEC));
  try {
    writeFd(fd, image);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
