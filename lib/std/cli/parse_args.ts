/** Options of {@linkcode parseArgs}: the part of @std/cli's that this project uses. */
export interface ParseOptions {
  /** Names whose values are always text. */
  string?: readonly string[];
  /** Names that take no value. */
  boolean?: readonly string[];
  /** Other spellings, by canonical name. */
  alias?: Readonly<Record<string, string | readonly string[]>>;
  default?: Readonly<Record<string, unknown>>;
  /** Puts what follows `--` into the member `--` instead of among the positionals. */
  "--"?: boolean;
  /** Ends the parsing of flags at the first positional. */
  stopEarly?: boolean;
  /** Called for flags that were not declared; false leaves them out. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** What {@linkcode parseArgs} returns: positionals in `_`, flags by name. */
export interface Args {
  _: (string | number)[];
  "--"?: string[];
  [name: string]: unknown;
}

/**
 * Parses command line arguments like `parseArgs` of `@std/cli` (1.x), for the options above: `--name value`,
 * `--name=value`, `--no-name`, `-n value`, `-abc`; the last of two values wins, numbers stay text for declared
 * strings and become numbers elsewhere.
 */
export function parseArgs(args: readonly string[], options: ParseOptions = {}): Args {
  const strings = new Set(options.string);
  const booleans = new Set(options.boolean);
  const canonical = new Map<string, string>();
  const aliases = new Map<string, string[]>();
  for (const [name, others] of Object.entries(options.alias ?? {})) {
    const list = typeof others === "string" ? [others] : [...others];
    aliases.set(name, list);
    for (const other of list) canonical.set(other, name);
  }
  const isString = (name: string) => strings.has(name) || strings.has(canonical.get(name) ?? name);
  const isBoolean = (name: string) => booleans.has(name) || booleans.has(canonical.get(name) ?? name);
  const known = (name: string) =>
    isString(name) || isBoolean(name) || canonical.has(name) || aliases.has(name);
  const result: Args = { _: [] };

  const put = (name: string, value: unknown) => {
    const main = canonical.get(name) ?? name;
    for (const each of [main, ...aliases.get(main) ?? []]) result[each] = value;
  };
  const set = (name: string, value: string | boolean, arg: string) => {
    if (!known(name) && options.unknown?.(arg, name, value) === false) return;
    if (isString(name)) put(name, typeof value === "boolean" ? "" : value);
    else if (isBoolean(name)) put(name, value === true || value === "true");
    else put(name, typeof value === "string" && isNumber(value) ? Number(value) : value);
  };

  for (const name of booleans) put(name, false);
  for (const [name, value] of Object.entries(options.default ?? {})) put(name, value);
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  const rest = end < 0 ? [] : args.slice(end + 1);
  for (let i = 0; i < own.length; i++) {
    const arg = own[i]!;
    const next = own[i + 1];
    const long = /^--([^=]+)(?:=([\s\S]*))?$/.exec(arg);
    if (long) {
      const name = long[1]!;
      if (long[2] !== undefined) set(name, long[2], arg);
      else if (name.startsWith("no-") && !known(name)) set(name.slice(3), false, arg);
      else if (!isBoolean(name) && next !== undefined && !next.startsWith("-")) {
        set(name, next, arg);
        i++;
      } else if (isBoolean(name) && (next === "true" || next === "false")) {
        set(name, next, arg);
        i++;
      } else set(name, true, arg);
      continue;
    }
    const short = /^-([^-=])(?:=([\s\S]*))?$/.exec(arg);
    if (short) {
      const name = short[1]!;
      if (short[2] !== undefined) set(name, short[2], arg);
      else if (!isBoolean(name) && next !== undefined && !next.startsWith("-")) {
        set(name, next, arg);
        i++;
      } else set(name, true, arg);
      continue;
    }
    if (/^-[^-]/.test(arg)) {
      for (const letter of arg.slice(1)) set(letter, true, arg);
      continue;
    }
    if (options.unknown?.(arg) !== false) result._.push(isNumber(arg) ? Number(arg) : arg);
    if (options.stopEarly) {
      result._.push(...own.slice(i + 1));
      break;
    }
  }
  if (options["--"]) result["--"] = [...rest];
  else result._.push(...rest);
  return result;
}

function isNumber(text: string): boolean {
  if (/^0x[0-9a-f]+$/i.test(text)) return true;
  return /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?$/.test(text);
}
