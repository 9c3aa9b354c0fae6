/**
 * The raw system calls, each with its C prototype. Nothing outside `src/ffi` calls these: the modules beside this one
 * wrap them in functions that check results.
 *
 * The library is opened on first use, once for each thread, never at import: pure code imports freely. Each function of
 * it is opened when it is first called: that takes Deno 0.1 ms, and few threads need more than half of them.
 *
 * Conventions: a result is the kernel's (`-errno` on failure). Descriptors are `i32`, sizes and ioctl numbers `u32`
 * (an i32 would be sign-extended), offsets `i64`. A `bigint` argument is fast where a `number` in a 64-bit slot is
 * not, so wrappers pass bigints there.
 *
 * @module
 */
import { CHILD_SCRIPT_CODE } from "./jail/child_script_code.ts";
import { buildStubLibrary } from "./stub_library.ts";
import { checked } from "./errno.ts";

/** A system call: its number (asm/unistd_64.h) and the prototype that this entry gives it. */
interface SyscallDefinition extends Deno.ForeignFunction {
  readonly number: number;
}

/** A function that is more than a system call. */
interface CodeDefinition extends Deno.ForeignFunction {
  readonly code: Uint8Array;
}

const SYSCALLS = {
  // ssize_t read(int fd, void *buf, size_t count)
  read: { number: 0, parameters: ["i32", "buffer", "u32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { number: 1, parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int close(int fd)
  close: { number: 3, parameters: ["i32"], result: "i32" },
  // int fstat(int fd, struct stat *statbuf)
  fstat: { number: 5, parameters: ["i32", "buffer"], result: "i32" },
  // int poll(struct pollfd *fds, nfds_t nfds, int timeout)
  poll: { number: 7, parameters: ["buffer", "u32", "i32"], result: "i32" },
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
  mmap: { number: 9, parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "i64" },
  // int munmap(void *addr, size_t length)
  munmap: { number: 11, parameters: ["usize", "usize"], result: "i32" },
  // int ioctl(int fd, unsigned int request, unsigned long argument): the argument is a plain value
  ioctl_value: { number: 16, parameters: ["i32", "u32", "u32"], result: "i32" },
  // int ioctl(int fd, unsigned int request, void *argument): the argument is a structure
  ioctl_buffer: { number: 16, parameters: ["i32", "u32", "buffer"], result: "i32" },
  // int rt_sigprocmask(int how, const sigset_t *set, sigset_t *oldset, size_t sigsetsize)
  rt_sigprocmask: { number: 14, parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  // ssize_t pread64(int fd, void *buf, size_t count, off_t offset)
  pread: { number: 17, parameters: ["i32", "buffer", "u32", "i64"], result: "i32" },
  // ssize_t pwrite64(int fd, const void *buf, size_t count, off_t offset)
  pwrite: { number: 18, parameters: ["i32", "buffer", "u32", "i64"], result: "i32" },
  // ssize_t pread64(int fd, void *buf, size_t count, off_t offset): the buffer is an address
  pread_address: { number: 17, parameters: ["i32", "usize", "u32", "i64"], result: "i32" },
  // ssize_t pwrite64(int fd, const void *buf, size_t count, off_t offset): the buffer is an address
  pwrite_address: { number: 18, parameters: ["i32", "usize", "u32", "i64"], result: "i32" },
  // pid_t getpid(void)
  getpid: { number: 39, parameters: [], result: "i32" },
  // int socket(int domain, int type, int protocol)
  socket: { number: 41, parameters: ["i32", "i32", "i32"], result: "i32" },
  // int connect(int sockfd, const struct sockaddr *addr, socklen_t addrlen)
  connect: { number: 42, parameters: ["i32", "buffer", "u32"], result: "i32" },
  // off_t lseek(int fd, off_t offset, int whence)
  lseek: { number: 8, parameters: ["i32", "i64", "i32"], result: "i64" },
  // ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags)
  sendmsg: { number: 46, parameters: ["i32", "buffer", "i32"], result: "i32" },
  // ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags)
  recvmsg: { number: 47, parameters: ["i32", "buffer", "i32"], result: "i32" },
  // int shutdown(int sockfd, int how)
  shutdown: { number: 48, parameters: ["i32", "i32"], result: "i32" },
  // int bind(int sockfd, const struct sockaddr *addr, socklen_t addrlen)
  bind: { number: 49, parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int listen(int sockfd, int backlog)
  listen: { number: 50, parameters: ["i32", "i32"], result: "i32" },
  // int socketpair(int domain, int type, int protocol, int sv[2])
  socketpair: { number: 53, parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int getsockopt(int sockfd, int level, int optname, void *optval, socklen_t *optlen)
  getsockopt: { number: 55, parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // int kill(pid_t pid, int sig)
  kill: { number: 62, parameters: ["i32", "i32"], result: "i32" },
  // int fcntl(int fd, int cmd, int arg)
  fcntl: { number: 72, parameters: ["i32", "i32", "i32"], result: "i32" },
  // int fcntl(int fd, int cmd, struct flock *lock)
  fcntl_buffer: { number: 72, parameters: ["i32", "i32", "buffer"], result: "i32" },
  // uid_t geteuid(void)
  geteuid: { number: 107, parameters: [], result: "u32" },
  // gid_t getegid(void)
  getegid: { number: 108, parameters: [], result: "u32" },
  // pid_t getpgrp(void)
  getpgrp: { number: 111, parameters: [], result: "i32" },
  // int fdatasync(int fd)
  fdatasync: { number: 75, parameters: ["i32"], result: "i32" },
  // int ftruncate(int fd, off_t length)
  ftruncate: { number: 77, parameters: ["i32", "i64"], result: "i32" },
  // int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5)
  prctl: { number: 157, parameters: ["i32", "u32", "u32", "u32", "u32"], result: "i32" },
  // int futex(uint32_t *uaddr, int op, uint32_t val): what FUTEX_WAKE takes
  futex_wake: { number: 202, parameters: ["usize", "i32", "i32"], result: "i32" },
  // int futex(uint32_t *uaddr, int op, uint32_t val, const struct timespec *timeout): what FUTEX_WAIT takes
  futex_wait: { number: 202, parameters: ["usize", "i32", "i32", "buffer"], result: "i32" },
  // int sched_setaffinity(pid_t pid, size_t cpusetsize, const cpu_set_t *mask)
  sched_setaffinity: { number: 203, parameters: ["i32", "u32", "buffer"], result: "i32" },
  // int sched_getaffinity(pid_t pid, size_t cpusetsize, cpu_set_t *mask): how many bytes it has written
  sched_getaffinity: { number: 204, parameters: ["i32", "u32", "buffer"], result: "i32" },
  // int getcpu(unsigned int *cpu, unsigned int *node, void *unused)
  getcpu: { number: 309, parameters: ["buffer", "pointer", "pointer"], result: "i32" },
  // int io_setup(unsigned nr_events, aio_context_t *ctx_idp)
  io_setup: { number: 206, parameters: ["u32", "buffer"], result: "i32" },
  // int io_getevents(aio_context_t ctx_id, long min_nr, long nr, struct io_event *events, struct timespec *timeout)
  io_getevents: { number: 208, parameters: ["u64", "i64", "i64", "buffer", "buffer"], result: "i32" },
  // int io_submit(aio_context_t ctx_id, long nr, struct iocb **iocbpp)
  io_submit: { number: 209, parameters: ["u64", "i64", "buffer"], result: "i32" },
  // pid_t gettid(void)
  gettid: { number: 186, parameters: [], result: "i32" },
  // int tgkill(pid_t tgid, pid_t tid, int sig)
  tgkill: { number: 234, parameters: ["i32", "i32", "i32"], result: "i32" },
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
  epoll_ctl: { number: 233, parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int fstatfs(int fd, struct statfs *buf)
  fstatfs: { number: 138, parameters: ["i32", "buffer"], result: "i32" },
  // ssize_t getdents64(int fd, void *dirp, size_t count)
  getdents64: { number: 217, parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int waitid(idtype_t idtype, id_t id, siginfo_t *infop, int options, struct rusage *rusage)
  waitid: { number: 247, parameters: ["i32", "i32", "buffer", "i32", "pointer"], result: "i32" },
  // int openat(int dirfd, const char *pathname, int flags, mode_t mode)
  openat: { number: 257, parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  // int openat2(int dirfd, const char *pathname, const struct open_how *how, size_t size)
  openat2: { number: 437, parameters: ["i32", "buffer", "buffer", "usize"], result: "i32" },
  // int unlinkat(int dirfd, const char *pathname, int flags)
  unlinkat: { number: 263, parameters: ["i32", "buffer", "i32"], result: "i32" },
  // ssize_t readlinkat(int dirfd, const char *pathname, char *buf, size_t bufsiz)
  readlinkat: { number: 267, parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  // int epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout, const sigset_t *sigmask, size_t)
  epoll_pwait: {
    number: 281,
    parameters: ["i32", "buffer", "i32", "i32", "pointer", "u32"],
    result: "i32",
  },
  // the same, on a thread of its own: the result is a promise, and this thread's event loop goes on
  epoll_pwait_elsewhere: {
    number: 281,
    parameters: ["i32", "buffer", "i32", "i32", "pointer", "u32"],
    result: "i32",
    nonblocking: true,
  },
  // int timer_create(clockid_t clockid, struct sigevent *sevp, timer_t *timerid)
  timer_create: { number: 222, parameters: ["i32", "buffer", "buffer"], result: "i32" },
  // int timer_settime(timer_t timerid, int flags, const struct itimerspec *new_value, struct itimerspec *old_value)
  timer_settime: { number: 223, parameters: ["i32", "i32", "buffer", "pointer"], result: "i32" },
  // int timer_delete(timer_t timerid)
  timer_delete: { number: 226, parameters: ["i32"], result: "i32" },
  // int timerfd_create(int clockid, int flags)
  timerfd_create: { number: 283, parameters: ["i32", "i32"], result: "i32" },
  // int fallocate(int fd, int mode, off_t offset, off_t len)
  fallocate: { number: 285, parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  // int timerfd_settime(int fd, int flags, const struct itimerspec *new_value, struct itimerspec *old_value)
  timerfd_settime: { number: 286, parameters: ["i32", "i32", "buffer", "pointer"], result: "i32" },
  // int accept4(int sockfd, struct sockaddr *addr, socklen_t *addrlen, int flags)
  accept4: { number: 288, parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  // int eventfd2(unsigned int count, int flags)
  eventfd2: { number: 290, parameters: ["u32", "i32"], result: "i32" },
  // int epoll_create1(int flags)
  epoll_create1: { number: 291, parameters: ["i32"], result: "i32" },
  // int dup3(int oldfd, int newfd, int flags)
  dup3: { number: 292, parameters: ["i32", "i32", "i32"], result: "i32" },
  // int pipe2(int pipefd[2], int flags)
  pipe2: { number: 293, parameters: ["buffer", "i32"], result: "i32" },
  // int seccomp(unsigned int operation, unsigned int flags, void *args)
  seccomp: { number: 317, parameters: ["u32", "u32", "buffer"], result: "i32" },
  // int memfd_create(const char *name, unsigned int flags)
  memfd_create: { number: 319, parameters: ["buffer", "u32"], result: "i32" },
  // ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, unsigned long pos_l, unsigned long pos_h, int flags)
  preadv2: { number: 327, parameters: ["i32", "buffer", "i32", "i64", "i32", "i32"], result: "i32" },
  // ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, unsigned long pos_l, unsigned long pos_h, int flags)
  pwritev2: { number: 328, parameters: ["i32", "buffer", "i32", "i64", "i32", "i32"], result: "i32" },
  // int statx(int dirfd, const char *pathname, int flags, unsigned int mask, struct statx *statxbuf)
  statx: { number: 332, parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  // int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags)
  pidfd_send_signal: { number: 424, parameters: ["i32", "i32", "pointer", "u32"], result: "i32" },
  // int io_uring_setup(unsigned int entries, struct io_uring_params *params)
  io_uring_setup: { number: 425, parameters: ["u32", "buffer"], result: "i32" },
  // int io_uring_enter(unsigned int fd, unsigned int to_submit, unsigned int min_complete, unsigned int flags, sigset_t
  // *, size_t)
  io_uring_enter: { number: 426, parameters: ["i32", "u32", "u32", "u32", "pointer", "u32"], result: "i32" },
  // int io_uring_register(unsigned int fd, unsigned int opcode, void *arg, unsigned int nr_args)
  io_uring_register: { number: 427, parameters: ["i32", "u32", "buffer", "u32"], result: "i32" },
  // int pidfd_open(pid_t pid, unsigned int flags)
  pidfd_open: { number: 434, parameters: ["i32", "u32"], result: "i32" },
  // int landlock_create_ruleset(const struct landlock_ruleset_attr *attr, size_t size, uint32_t flags)
  landlock_create_ruleset: { number: 444, parameters: ["buffer", "u32", "u32"], result: "i32" },
  // int run_child_script(unsigned int flags, int *pidfd, struct entry *script): see jail/child_script_code.ts
  run_child_script: { code: CHILD_SCRIPT_CODE, parameters: ["u32", "buffer", "buffer"], result: "i32" },
} as const satisfies Record<string, SyscallDefinition | CodeDefinition>;

/** The system calls as typed functions. */
export type Syscalls = Deno.StaticForeignLibraryInterface<typeof SYSCALLS>;

const LIBC_BOOTSTRAP = {
  // int memfd_create(const char *name, unsigned int flags)
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const MFD_CLOEXEC = 1;

/** The name by which the library is found once it is loaded. */
const LIBRARY = "splitvm-syscalls";

/** A NUL-terminated C string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(`A NUL character cannot stand in ${JSON.stringify(text)}`);
  }
  return new TextEncoder().encode(text + "\0");
}

/** Whether another thread has loaded the library: this one takes it by its name then, in less time, and without a descriptor. */
function isLoaded(): boolean {
  if (!("WorkerGlobalScope" in globalThis)) return false;
  try {
    Deno.dlopen(LIBRARY, {});
    return true;
  } catch {
    return false;
  }
}

/** Writes the stub library into a memfd by way of libc, the only calls that are made through it, and loads that. */
function load(): void {
  if (isLoaded()) return;
  const stubs = Object.entries(SYSCALLS).map(([name, definition]) => ({ name, ...definition }));
  const image = buildStubLibrary(stubs, LIBRARY);
  const libc = Deno.dlopen("libc.so.6", LIBC_BOOTSTRAP);
  try {
    const fd = libc.symbols.memfd_create(cString(LIBRARY), MFD_CLOEXEC);
    if (fd < 0) throw new Error("memfd_create failed while opening the system-call library");
    try {
      const written = libc.symbols.write(fd, image, BigInt(image.length));
      if (Number(written) !== image.length) {
        throw new Error("write failed while opening the system-call library");
      }
      // The library stays open for the life of the thread; the descriptor does not.
      Deno.dlopen(`/proc/self/fd/${fd}`, {});
    } finally {
      libc.symbols.close(fd);
    }
  } finally {
    libc.close();
  }
}

/** The system calls as properties that open each when it is first looked at. */
function open(): Syscalls {
  load();
  const calls = {};
  for (const [name, definition] of Object.entries<Deno.ForeignFunction>(SYSCALLS)) {
    const { parameters, result, nonblocking } = definition;
    let call: unknown;
    const get = () => call ??= Deno.dlopen(LIBRARY, { [name]: { parameters, result, nonblocking } }).symbols[name];
    Object.defineProperty(calls, name, { get, enumerable: true });
  }
  return calls as Syscalls;
}

let opened: Syscalls | undefined;

/** The system calls, opened on the calling thread's first use. */
export function syscalls(): Syscalls {
  return opened ??= open();
}

/**
 * Calls again while the kernel answers EINTR, and checks the result.
 *
 * @param call What is tried, for the message.
 * @throws {SyscallError} on any other error.
 */
export function retrying(call: string, attempt: () => number): number {
  for (;;) {
    const result = attempt();
    if (result !== -4) return checked(call, result);
  }
}
