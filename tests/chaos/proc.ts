import { RUN_ARGS } from "../support/runner_process.ts";

/** How a process ended, and when. */
export interface Ended {
  at: number;
  code: number;
  signal: string | null;
}

/** A process of the world, started with the golden flags and its words in a file. */
export class Proc {
  readonly pid: number;
  readonly startedAt = Date.now();
  readonly ended: Promise<Ended>;
  end: Ended | null = null;

  constructor(
    args: readonly string[],
    options: {
      env: Record<string, string>;
      cwd: string;
      errFile: string;
      outFile?: string;
      openFiles?: number;
    },
  ) {
    const limit = options.openFiles === undefined ? "" : `ulimit -n ${options.openFiles}; `;
    const child = new Deno.Command("/bin/sh", {
      args: [
        "-c",
        `${limit}err=$1; out=$2; shift 2; exec "$@" >>"$out" 2>>"$err"`,
        "sh",
        options.errFile,
        options.outFile ?? "/dev/null",
        Deno.execPath(),
        ...RUN_ARGS,
        ...args,
      ],
      clearEnv: true,
      env: options.env,
      cwd: options.cwd,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.pid = child.pid;
    this.ended = child.status.then(({ code, signal }) => this.end = { at: Date.now(), code, signal });
  }

  get alive(): boolean {
    return this.end === null;
  }

  /** Sends a signal; false when the process is gone. */
  signal(signal: Deno.Signal): boolean {
    return this.alive && kill(this.pid, signal);
  }
}

/** Sends a signal to a process that this run has started; false when it is gone. */
export function kill(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

async function sh(script: string, ...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("/bin/sh", {
    args: ["-c", script, "sh", ...args],
    clearEnv: true,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}

/** One line of the process table. */
export interface Entry {
  pid: number;
  ppid: number;
  rssKiB: number;
  /** State letters of ps and CPU time so far. */
  state: string;
  cpu: string;
  args: string;
}

/** The process table, without zombies. */
export async function processTable(): Promise<Entry[]> {
  return (await sh("ps -axo pid=,ppid=,rss=,stat=,time=,args=")).split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(.*)$/.exec(line);
    if (!match || match[4]!.startsWith("Z")) return [];
    const [pid, ppid, rssKiB] = match.slice(1, 4).map(Number) as [number, number, number];
    return [{ pid, ppid, rssKiB, state: match[4]!, cpu: match[5]!, args: match[6]! }];
  });
}

/** Everything below a process, nearest first. */
export function descendants(table: readonly Entry[], pid: number): Entry[] {
  const found: Entry[] = [];
  for (let layer = [pid]; layer.length > 0;) {
    const children = table.filter((entry) => layer.includes(entry.ppid));
    found.push(...children);
    layer = children.map((entry) => entry.pid);
  }
  return found;
}

/** Mounts a small file system in memory; false where that is not permitted. */
export async function mountTmpfs(dir: string, sizeKiB: number): Promise<boolean> {
  const said = await sh(
    'mount -t tmpfs -o "size=$2k,mode=700" tmpfs "$1" && echo mounted',
    dir,
    String(sizeKiB),
  );
  return said.includes("mounted");
}

/** Changes a mounted file system between read-only and writable; false when it is busy. */
export async function remount(dir: string, mode: "ro" | "rw"): Promise<boolean> {
  return (await sh('mount -o "remount,$2" "$1" && echo done', dir, mode)).includes("done");
}

/** Takes a mounted file system away, also when something still sits on it. */
export async function unmount(dir: string): Promise<void> {
  await sh('umount "$1" || umount -l "$1"', dir);
}
