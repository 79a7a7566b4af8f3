import { type Args, parseArgs, type ParseOptions } from "@std/cli";

/** Parses the arguments of a task; throws for what it does not know: no run of an hour begins by a typing error. */
export function taskArgs(args: readonly string[], options: ParseOptions): Args {
  return parseArgs([...args], {
    ...options,
    unknown: (arg) => {
      const flags = [...options.string ?? [], ...options.boolean ?? []].map((name) => `--${name}`);
      throw new Error(`unknown argument "${arg}"; there are ${flags.join(", ")}`);
    },
  });
}

/** The one number that a task takes; throws for anything else. */
export function countArg(args: readonly string[], preset: number): number {
  if (args.length === 0) return preset;
  const count = Number(args[0]);
  if (args.length > 1 || !Number.isSafeInteger(count) || count < 1) {
    throw new Error(`expected one number, for example ${preset}, instead of "${args.join(" ")}"`);
  }
  return count;
}
