import type { Clock } from "../base/clock.ts";
import { ask } from "./ask.ts";

const PS_MS = 5_000;

/**
 * Returns the processor time that a process and all it started have used so far, in milliseconds (`ps` counts seconds);
 * null where `ps` does not say: on Windows, and when the process is gone. Never rejects.
 */
export async function cpuTimeMs(pid: number, clock: Clock): Promise<number | null> {
  if (Deno.build.os === "windows") return null;
  const answer = await ask("ps", ["-A", "-o", "pid=,ppid=,time="], { clock, timeoutMs: PS_MS }).catch(() =>
    null
  );
  if (answer?.state !== "ended" || answer.code !== 0) return null;
  return sumOfTree(pid, answer.out);
}

/** Adds up the times of a process and everything below it, from the output of `ps`; null when it is not there. */
export function sumOfTree(pid: number, output: string): number | null {
  const times = new Map<number, number>();
  const children = new Map<number, number[]>();
  for (const line of output.split("\n")) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\S+)\s*$/.exec(line);
    if (match === null) continue;
    const [id, parent] = [Number(match[1]), Number(match[2])];
    times.set(id, readTime(match[3]!));
    children.set(parent, [...children.get(parent) ?? [], id]);
  }
  if (!times.has(pid)) return null;
  let sum = 0;
  // A process is below one other only, so that this ends.
  for (const queue = [pid]; queue.length > 0;) {
    const id = queue.pop()!;
    sum += times.get(id) ?? 0;
    queue.push(...children.get(id) ?? []);
  }
  return sum;
}

/** `[[days-]hours:]minutes:seconds`, on macOS with hundredths. */
function readTime(text: string): number {
  const [rest = "", days = "0"] = text.split("-").reverse();
  const seconds = rest.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return Math.round((Number(days) * 86_400 + seconds) * 1_000);
}
