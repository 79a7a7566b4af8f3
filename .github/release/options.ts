/**
 * Reads `--name value` and `--name=value`. Anything else (an unknown name, one without a value, one given twice, a stray
 * word) throws a RangeError: a step of a release does not guess.
 */
export function readOptions<Name extends string>(
  args: readonly string[],
  names: readonly Name[],
): Partial<Record<Name, string>> {
  const options: Partial<Record<Name, string>> = {};
  for (let i = 0; i < args.length; i++) {
    const [, given, joined] = /^--([a-z-]+)(?:=(.*))?$/s.exec(args[i]!) ?? [];
    const name = names.find((each) => each === given);
    if (name === undefined) throw new RangeError(`Cannot read "${args[i]}": expected ${list(names)}`);
    const value = joined ?? args[++i];
    if (value === undefined || value === "") throw new RangeError(`Cannot read --${name}: it has no value`);
    if (options[name] !== undefined) throw new RangeError(`Cannot read --${name}: it is given twice`);
    options[name] = value;
  }
  return options;
}

function list(names: readonly string[]): string {
  return names.map((name) => `--${name}`).join(", ") || "no options";
}
