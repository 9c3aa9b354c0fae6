/**
 * The program in the executables that `executable_test.ts` builds: it does as its first argument says and prints a line
 * of JSON.
 */

const LIBC = {
  // int system(const char *command)
  system: { parameters: ["buffer"], result: "i32" },
  // int open(const char *pathname, int flags)
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
};

const O_RDWR = 2;

const libc = () => Deno.dlopen("libc.so.6", LIBC).symbols;
const cString = (text) => new TextEncoder().encode(text + "\0");
const write = (fd, text) => Number(libc().write(fd, new TextEncoder().encode(text), BigInt(text.length)));
const print = (value) => console.log(JSON.stringify(value));

const COMMANDS = {
  report: (...args) =>
    print({
      args,
      url: import.meta.url,
      main: import.meta.main,
      environment: Deno.env.toObject(),
      exe: Deno.execPath(),
    }),
  import: async () => {
    const { search } = new URL(import.meta.url);
    print((await import(`file:///proc/self/fd/${search.slice(1).split(",")[1]}`)).name);
  },
  exit: (status) => Deno.exit(Number(status)),
  write: (fd) => write(Number(fd), import.meta.url),
  overwrite: () => print(write(libc().open(cString(new URL(import.meta.url).pathname), O_RDWR), "x")),
  throw: () => {
    throw new TypeError("the probe's error");
  },
  denied: () => {
    try {
      Deno.writeTextFileSync("/tmp/denied", "");
    } catch (error) {
      print(error.name);
    }
  },
  child: () => libc().system(cString(`'${Deno.execPath()}' report`)),
  worker: () => {
    const worker = new Worker(import.meta.url, { type: "module" });
    worker.onmessage = ({ data }) => print(data);
  },
  signal: () => {
    const idle = setInterval(() => {}, 1000);
    Deno.addSignalListener("SIGTERM", () => {
      clearInterval(idle);
      Deno.exit(7);
    });
    print("ready");
  },
};

if ("WorkerGlobalScope" in globalThis) {
  self.postMessage({ url: import.meta.url, system: libc().system(cString("exit 0")) });
  self.close();
} else {
  COMMANDS[Deno.args[0]](...Deno.args.slice(1));
}
