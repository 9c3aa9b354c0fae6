/**
 * UNIX stream sockets that have a path (unix(7)): listening, accepting, connecting.
 *
 * @module
 */
import { checked, Errno, SyscallError } from "./errno.ts";
import { isReady, Ready } from "./event.ts";
import { closeFd, type FileStatus, fileStatus, FileType, openFile, OpenFlags, unlinkFile } from "./file.ts";
import { syscalls } from "./syscall.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ACCEPTCONN = 30;

/** Longest path of a socket in bytes: `sun_path` has 108 with its NUL. */
export const SOCKET_PATH_LIMIT = 107;

/** How many clients may wait to be accepted. */
const BACKLOG = 1;

/** Where a socket is bound, and the socket's file there, which tells it from others that are bound there later. */
export interface BoundPath extends Pick<FileStatus, "device" | "inode"> {
  readonly path: string;
}

/** A socket that listens at a path. */
export interface ListeningSocket {
  /** Non-blocking, close-on-exec. */
  readonly fd: number;
  readonly bound: BoundPath;
  /**
   * Takes the path away, if it still leads to this socket, and closes the socket. A process that has given up the right to leaves the path to
   * whoever listens there next.
   */
  close(): void;
}

/**
 * Listens at a path. A socket that is there already is replaced when nobody listens at it any more.
 *
 * @throws {Error} when somebody does, or something other than a socket is there, or the socket cannot be made.
 */
export function listenAt(path: string): ListeningSocket {
  removeStaleSocket(path);
  const fd = newSocket(SOCK_NONBLOCK);
  try {
    const address = socketAddress(path);
    checked(`bind(${path})`, syscalls().bind(fd, address, address.length));
    const bound = boundPath(path);
    checked(`listen(${path})`, syscalls().listen(fd, BACKLOG));
    return {
      fd,
      bound,
      close() {
        try {
          if (isSameFile(bound, pathStatus(path))) unlinkFile(path);
        } catch (error) {
          if (!isForbidden(error)) throw error;
        } finally {
          closeFd(fd);
        }
      },
    };
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Connects to the socket at a path. @returns a descriptor, close-on-exec. @throws {SyscallError} when nobody listens there. */
export function connectTo(path: string): number {
  const fd = newSocket(0);
  try {
    const address = socketAddress(path);
    checked(`connect(${path})`, syscalls().connect(fd, address, address.length));
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * Takes a client that waits at a listening socket.
 *
 * @returns a descriptor, non-blocking and close-on-exec; `undefined` when no client waits, or it has gone away again.
 */
export function acceptClient(fd: number): number | undefined {
  // A socket that was inherited may be a blocking one.
  if (!isReady(fd, Ready.IN)) return undefined;
  const client = syscalls().accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client === -Errno.EAGAIN || client === -Errno.EINTR || client === -Errno.ECONNABORTED) return undefined;
  return checked(`accept(${fd})`, client);
}

/** Whether `fd` is a socket that listens. */
export function isListening(fd: number): boolean {
  const value = new Int32Array(1);
  return syscalls().getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, value, Uint32Array.of(4)) === 0 && value[0] !== 0;
}

function newSocket(flags: number): number {
  return checked("socket", syscalls().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

/** struct sockaddr_un: family @0, path @2 with its NUL. */
function socketAddress(path: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(path);
  if (name.length === 0 || name.length > SOCKET_PATH_LIMIT || name.includes(0)) {
    throw new Error(`${path}: the path of a socket has 1 to ${SOCKET_PATH_LIMIT} bytes`);
  }
  const address = new Uint8Array(2 + name.length + 1);
  address[0] = AF_UNIX;
  address.set(name, 2);
  return address;
}

function removeStaleSocket(path: string): void {
  const found = pathStatus(path);
  if (found === undefined) return;
  if ((found.mode & FileType.MASK) !== FileType.SOCKET) throw new Error(`${path} is there already, and is no socket`);
  if (isListenedAt(path)) throw new Error(`${path} is another process's, which listens there`);
  unlinkFile(path);
}

/** A client that finds no room in the queue (EAGAIN) has found a listener. */
function isListenedAt(path: string): boolean {
  const fd = newSocket(SOCK_NONBLOCK);
  try {
    const address = socketAddress(path);
    return syscalls().connect(fd, address, address.length) !== -Errno.ECONNREFUSED;
  } finally {
    closeFd(fd);
  }
}

function isForbidden(error: unknown): boolean {
  return error instanceof SyscallError && (error.errno === Errno.EPERM || error.errno === Errno.EACCES);
}

/** The status of what a path leads to, without following a symbolic link at its end; `undefined` where there is nothing. */
function pathStatus(path: string): FileStatus | undefined {
  let fd: number;
  try {
    fd = openFile(path, OpenFlags.O_PATH | OpenFlags.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === Errno.ENOENT) return undefined;
    throw error;
  }
  try {
    return fileStatus(fd);
  } finally {
    closeFd(fd);
  }
}

function boundPath(path: string): BoundPath {
  const status = pathStatus(path);
  if (status === undefined) throw new Error(`${path} has been taken away at once`);
  return { path, device: status.device, inode: status.inode };
}

function isSameFile(a: BoundPath, b: FileStatus | undefined): boolean {
  return b !== undefined && a.device === b.device && a.inode === b.inode;
}
