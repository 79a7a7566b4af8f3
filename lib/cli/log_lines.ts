import type { LogLevel } from "../base/log.ts";
import { shown } from "../base/errors.ts";
import { styleFor } from "./style.ts";

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const LINE_CHARS = 4_000;

/** Which lines of a log are wanted. */
export interface LogFilter {
  level: LogLevel;
  /** Epoch milliseconds; null for all. */
  since: number | null;
}

/** A line of a log as it is in the file, and what it says. */
export interface ReadLine {
  raw: string;
  /** Null for a line that is not ours: half of one that was cut by a crash, say. */
  record:
    | { at: string; level: LogLevel; category: string; message: string; fields: [string, unknown][] }
    | null;
}

/** Reads a line; never throws. */
export function readLine(raw: string): ReadLine {
  try {
    const { at, level, category, message, ...fields } = JSON.parse(raw) as Record<string, unknown>;
    if (
      typeof at === "string" && typeof level === "string" && level in RANK && typeof message === "string"
    ) {
      return {
        raw,
        record: {
          at,
          level: level as LogLevel,
          category: typeof category === "string" ? category : "",
          message,
          fields: Object.entries(fields),
        },
      };
    }
  } catch { /* said by the null */ }
  return { raw, record: null };
}

/** True for a line that is wanted; what is not ours is, unless only some lines are asked for. */
export function wanted({ record }: ReadLine, { level, since }: LogFilter): boolean {
  if (record === null) return since === null && level === "debug";
  return RANK[record.level] >= RANK[level] && (since === null || Date.parse(record.at) >= since);
}

/** Returns a line for a person: time, level, where it comes from, what it says. */
export function lineText({ raw, record }: ReadLine, color: boolean): string {
  if (record === null) return `${shown(raw, LINE_CHARS)}\n`;
  const style = styleFor(color);
  const { at, level, category, message, fields } = record;
  const paint = level === "error" ? style.red : level === "warn" ? style.yellow : (text: string) => text;
  const said = fields.map(([name, value]) => ` ${style.dim(`${name}=`)}${shown(String(value), LINE_CHARS)}`);
  const from = category === "" ? "" : `${shown(category)}: `;
  return `${style.dim(at.slice(0, 19) + "Z")} ${paint(level.padEnd(5))} ${from}${shown(message, LINE_CHARS)}${
    said.join("")
  }\n`;
}
