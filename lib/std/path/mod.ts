/**
 * Stand-in for the part of `@std/path` that this project uses, with the same signatures. Removing `links` from
 * deno.json switches to the real package. It leans on `node:path`, which the runtime brings along.
 */
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The platform's separator. */
export const SEPARATOR: "/" | "\\" = path.sep;

/** Joins the parts and normalizes the result. */
export function join(first: string, ...rest: string[]): string {
  return path.join(first, ...rest);
}

/** Returns the absolute path that the parts lead to, from right to left, starting at the working directory. */
export function resolve(...parts: string[]): string {
  return path.resolve(...parts);
}

/** Returns the path without its last part. */
export function dirname(value: string): string {
  // node:path keeps one of several separators.
  return path.dirname(value).replace(/(?<=[^/])\/+$/, "");
}

/** Returns the last part of the path, without `suffix` when it ends so. */
export function basename(value: string, suffix = ""): string {
  // Unlike node:path, @std/path calls the root its own last part.
  return path.basename(value, suffix) || (value.startsWith("/") ? "/" : "");
}

/** Returns the extension with its dot, or an empty string. */
export function extname(value: string): string {
  return path.extname(value);
}

/** True for an absolute path. */
export function isAbsolute(value: string): boolean {
  return path.isAbsolute(value);
}

/** Resolves `.` and `..` and doubled separators. */
export function normalize(value: string): string {
  return path.normalize(value);
}

/** Returns the way from one path to the other. */
export function relative(from: string, to: string): string {
  return path.relative(from, to);
}

/** Returns the path of a `file:` URL. */
export function fromFileUrl(url: string | URL): string {
  return fileURLToPath(url);
}

/** Returns the `file:` URL of an absolute path. */
export function toFileUrl(value: string): URL {
  return pathToFileURL(value);
}
