/**
 * Stand-in for the part of `@std/path` that this project uses, with the same signatures. Removing `links` from
 * deno.json switches to the real package. On Windows it leans on `node:path`, which the runtime brings along.
 */
import * as posix from "./posix.ts";

const windows = Deno.build.os === "windows"
  ? { path: await import("node:path"), url: await import("node:url") }
  : null;
const cwd = () => Deno.cwd();

/** The platform's separator. */
export const SEPARATOR: "/" | "\\" = windows === null ? "/" : "\\";

/** Joins the parts and normalizes the result. */
export function join(first: string, ...rest: string[]): string {
  return windows?.path.join(first, ...rest) ?? posix.join(first, ...rest);
}

/** Returns the absolute path that the parts lead to, from right to left, starting at the working directory. */
export function resolve(...parts: string[]): string {
  return windows?.path.resolve(...parts) ?? posix.resolve(cwd, ...parts);
}

/** Returns the path without its last part. */
export function dirname(value: string): string {
  return windows?.path.dirname(value) ?? posix.dirname(value);
}

/** Returns the last part of the path, without `suffix` when it ends so. */
export function basename(value: string, suffix = ""): string {
  return windows?.path.basename(value, suffix) ?? posix.basename(value, suffix);
}

/** Returns the extension with its dot, or an empty string. */
export function extname(value: string): string {
  return windows?.path.extname(value) ?? posix.extname(value);
}

/** True for an absolute path. */
export function isAbsolute(value: string): boolean {
  return windows?.path.isAbsolute(value) ?? value.startsWith("/");
}

/** Resolves `.` and `..` and doubled separators. */
export function normalize(value: string): string {
  return windows?.path.normalize(value) ?? posix.normalize(value);
}

/** Returns the way from one path to the other. */
export function relative(from: string, to: string): string {
  return windows?.path.relative(from, to) ?? posix.relative(cwd, from, to);
}

/** Returns the path of a `file:` URL. */
export function fromFileUrl(url: string | URL): string {
  return windows?.url.fileURLToPath(url) ?? posix.fromFileUrl(new URL(url));
}

/** Returns the `file:` URL of an absolute path. */
export function toFileUrl(value: string): URL {
  return windows?.url.pathToFileURL(value) ?? posix.toFileUrl(value);
}
