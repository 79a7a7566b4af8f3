import { join } from "@std/path";

/** Reads the golden list of permission flags. */
export function goldenFlags(root: string): string[] {
  return Deno.readTextFileSync(join(root, ".github", "permissions.txt")).trim().split("\n");
}

/**
 * What a compiled program must have embedded for these flags. `null` is "not granted", an empty list is "all of it",
 * a list is exactly that. Throws on a flag this does not know, so that a new one is thought about.
 */
export function embeddedPermissions(flags: readonly string[]): Record<string, unknown> {
  const expected: Record<string, unknown> = { prompt: true };
  for (const kind of ["env", "net", "ffi", "read", "run", "sys", "write", "import"]) {
    expected[`allow_${kind}`] = null;
    expected[`deny_${kind}`] = null;
  }
  // Hosts that modules may come from unless that is denied; the denial wins over them.
  delete expected.allow_import;
  for (const flag of flags) {
    if (flag === "--no-prompt") {
      expected.prompt = false;
      continue;
    }
    const match = /^--(allow|deny)-([a-z]+)(?:=(.+))?$/.exec(flag);
    const key = match === null ? "" : `${match[1]}_${match[2]}`;
    if (!(key in expected)) throw new RangeError(`Cannot read permission flag "${flag}"`);
    expected[key] = match![3]?.split(",") ?? [];
  }
  return expected;
}
