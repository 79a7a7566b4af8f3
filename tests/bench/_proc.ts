/** What the kernel says of a process. */
export interface ProcessFigures {
  pssKib: number;
  rssKib: number;
  /** Processor time so far, user and system, in milliseconds. */
  cpuMs: number;
}

const SCRIPT = `
ticks=$(getconf CLK_TCK)
for p in "$@"; do
  cpu=$(sed 's/^.*) //' "/proc/$p/stat" | awk -v t="$ticks" '{print ($12 + $13) * 1000 / t}')
  awk -v p="$p" -v cpu="$cpu" '/^Pss:/{pss=$2} /^Rss:/{rss=$2} END{print p, pss, rss, cpu}' "/proc/$p/smaps_rollup"
done`;

/** Asks the kernel about processes, through a shell since Deno may not read /proc under our flags. */
export async function processFigures(pids: readonly number[]): Promise<ProcessFigures[]> {
  const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
    args: ["-c", SCRIPT, "sh", ...pids.map(String)],
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  const found = new TextDecoder().decode(stdout).trim().split("\n").map((line) => {
    const [pid, pssKib, rssKib, cpuMs] = line.split(" ").map(Number);
    return { pid, pssKib: pssKib!, rssKib: rssKib!, cpuMs: cpuMs! };
  });
  return pids.map((pid) => {
    const figures = found.find((each) => each.pid === pid);
    if (figures === undefined) throw new Error(`no such process: ${pid}`);
    return figures;
  });
}

/** Processor time of one process so far, in milliseconds (the kernel counts it in steps of 10). */
export async function cpuMs(pid: number): Promise<number> {
  return (await processFigures([pid]))[0]!.cpuMs;
}

/** Direct children of a process. */
export async function childrenOf(pid: number): Promise<{ pid: number; args: string }[]> {
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "pid=,args=", "--ppid", String(pid)] })
    .output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line.trim() !== "").map((line) => {
    const [, child, args] = /^\s*(\d+)\s+(.*)$/.exec(line)!;
    return { pid: Number(child), args: args! };
  });
}
