/** One thing wrong with a value: its path (`env.PORT`), and a clause. */
export interface ShapeProblem {
  path: string;
  message: string;
  /** For an unknown key: the keys that are known there. */
  known?: string[];
}

/**
 * What a value of a file must look like: adds everything that is wrong with it to `problems`. `T` is what the value is
 * when nothing was added.
 *
 * Not a library: the one that did this was half as large as all of this program and took 1 MiB and 8 ms of a start.
 */
export type Shape<T> = ((value: unknown, path: string, problems: ShapeProblem[]) => void) & {
  readonly is?: T;
};

/** What a shape describes. */
export type Shaped<S> = S extends Shape<infer T> ? T : never;

/** A condition on a value that has the right type, with the clause that says it. */
export interface Rule<T> {
  holds(value: T): boolean;
  message: string;
}

/** A text for which all rules hold; each that does not is a problem of its own. */
export function text(...rules: Rule<string>[]): Shape<string> {
  return typed("a string", (value) => typeof value === "string", rules);
}

/** An integer in bounds; `otherwise` is the clause for what is no number at all. */
export function integer(min: number, max: number, otherwise?: string): Shape<number> {
  const message = `must be an integer ${min}..${max}`;
  const within = {
    holds: (value: number) => Number.isInteger(value) && value >= min && value <= max,
    message,
  };
  return typed("a number", (value) => typeof value === "number", [within], otherwise);
}

/** True or false. */
export function flag(): Shape<boolean> {
  return typed("a boolean", (value) => typeof value === "boolean", []);
}

/** One of some texts. */
export function choice<const T extends string>(...choices: T[]): Shape<T> {
  return typed(`one of ${choices.join(", ")}`, (value) => (choices as unknown[]).includes(value), []);
}

/** A list of which every item has the shape. */
export function list<T>(item: Shape<T>): Shape<T[]> {
  return (value, path, problems) => {
    if (!Array.isArray(value)) return mismatch("a list", value, path, problems);
    value.forEach((each, i) => item(each, `${path}[${i}]`, problems));
  };
}

/** An object with any keys of a shape, and values of a shape. */
export function record<T>(key: Shape<string>, item: Shape<T>): Shape<Record<string, T>> {
  return (value, path, problems) => {
    if (!isObject(value)) return mismatch("an object", value, path, problems);
    for (const [name, each] of Object.entries(value)) {
      key(name, join(path, name), problems);
      item(each, join(path, name), problems);
    }
  };
}

/** An object of which each key may be absent, and that has no others. */
export function object<S extends Record<string, Shape<unknown>>>(
  entries: S,
): Shape<{ [K in keyof S]?: Shaped<S[K]> | undefined }> {
  return (value, path, problems) => {
    if (!isObject(value)) return mismatch("an object", value, path, problems);
    for (const [name, each] of Object.entries(value)) {
      if (Object.hasOwn(entries, name)) entries[name]!(each, join(path, name), problems);
      else problems.push({ path: join(path, name), message: "unknown key", known: Object.keys(entries) });
    }
  };
}

function typed<T>(
  expected: string,
  fits: (value: unknown) => boolean,
  rules: Rule<T>[],
  otherwise?: string,
): Shape<T> {
  return (value, path, problems) => {
    if (!fits(value)) {
      if (otherwise !== undefined) problems.push({ path, message: otherwise });
      else mismatch(expected, value, path, problems);
      return;
    }
    for (const { holds, message } of rules) if (!holds(value as T)) problems.push({ path, message });
  };
}

function mismatch(expected: string, value: unknown, path: string, problems: ShapeProblem[]): void {
  problems.push({ path, message: `must be ${expected}, got ${kindOf(value)}` });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  return typeof value === "string" ? `"${value.slice(0, 40)}"` : typeof value;
}
