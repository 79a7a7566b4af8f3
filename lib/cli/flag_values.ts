import { parseDuration } from "../base/duration.ts";

/** Milliseconds of a duration flag that the table has checked. */
export function durationFlag(value: string | true | undefined, preset: number): number {
  return typeof value === "string" ? parseDuration(value)! : preset;
}
