import { fromFileUrl } from "@std/path";

/** Permissions of every process of this program; the one golden list (a test compares all its copies). */
export const PERMISSION_FLAGS: readonly string[] = [
  "--no-prompt",
  "--deny-ffi",
  "--deny-import",
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-run",
  "--allow-env",
  "--allow-sys=hostname,uid",
];

/**
 * Modules behind a dynamic import are read when they are needed: a third less for `runner version` (Deno 2.9.6). A
 * compiled program has them in itself.
 */
export const RUN_FLAGS: readonly string[] = ["--quiet", "--frozen", "--unstable-lazy-dynamic-imports"];

/** How to start this very program again: the standalone binary, or Deno with its entry point. */
export function selfCommand(verb: string, ...args: string[]): { command: string; args: string[] } {
  if (Deno.build.standalone) return { command: Deno.execPath(), args: [verb, ...args] };
  const main = fromFileUrl(new URL("../../main.ts", import.meta.url));
  const config = fromFileUrl(new URL("../../deno.json", import.meta.url));
  return {
    command: Deno.execPath(),
    args: ["run", ...RUN_FLAGS, "--config", config, ...PERMISSION_FLAGS, main, verb, ...args],
  };
}
