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

/** How to start this very program again: the standalone binary, or Deno with its entry point. */
export function selfCommand(verb: string, ...args: string[]): { command: string; args: string[] } {
  if (Deno.build.standalone) return { command: Deno.execPath(), args: [verb, ...args] };
  const main = fromFileUrl(new URL("../../main.ts", import.meta.url));
  const config = fromFileUrl(new URL("../../deno.json", import.meta.url));
  return {
    command: Deno.execPath(),
    args: ["run", "--quiet", "--frozen", "--config", config, ...PERMISSION_FLAGS, main, verb, ...args],
  };
}
