const MAX_DEPTH = 32;
const FORBIDDEN = new Set(["__proto__", "constructor", "prototype"]);

/** What is wrong with a text and where. Lines and columns count from 1. */
export interface JsonProblem {
  line: number;
  column: number;
  message: string;
}

/** A parsed text with the place of every value, by path (`env.PORT`; the top is the empty path). */
export type ScannedJson =
  | { ok: true; value: unknown; places: Map<string, { line: number; column: number }> }
  | { ok: false; problem: JsonProblem };

class Stop extends Error {
  constructor(readonly at: number, message: string) {
    super(message);
  }
}

/**
 * Parses JSON as people write it into files: says line and column of the first mistake, refuses keys that come
 * twice (the platform's parser keeps the last one silently), prototype keys and nesting deeper than 32. A byte
 * order mark is skipped.
 */
export function scanJson(input: string): ScannedJson {
  const text = input.startsWith("\ufeff") ? input.slice(1) : input;
  const places = new Map<string, { line: number; column: number }>();
  let at = 0;
  let lineStart = 0;
  let line = 1;
  let scanned = 0;

  // Only ever called with rising offsets, so the cost of all calls together is linear.
  const place = (offset: number) => {
    for (; scanned < offset; scanned++) {
      if (text.charCodeAt(scanned) === 10) {
        line++;
        lineStart = scanned + 1;
      }
    }
    return { line, column: offset - lineStart + 1 };
  };
  const blank = () => {
    while (at < text.length && " \t\n\r".includes(text[at]!)) at++;
  };
  const expect = (what: string) => {
    if (at >= text.length) throw new Stop(at, "unexpected end");
    throw new Stop(at, `expected ${what}`);
  };
  const string = (): string => {
    const start = at++;
    while (at < text.length && text[at] !== '"') {
      if (text[at] === "\\") at++;
      else if (text.charCodeAt(at) < 32) throw new Stop(at, "control character in a string");
      at++;
    }
    if (at >= text.length) throw new Stop(text.length, "unexpected end");
    at++;
    try {
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      throw new Stop(start, "bad escape in a string");
    }
  };
  const value = (path: string, depth: number): unknown => {
    if (depth > MAX_DEPTH) throw new Stop(at, `deeper than ${MAX_DEPTH}`);
    blank();
    places.set(path, place(at));
    const c = text[at];
    if (c === "{") return object(path, depth);
    if (c === "[") return array(path, depth);
    if (c === '"') return string();
    const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(
      text.slice(at, at + 400),
    )?.[0];
    if (word === undefined) return expect("a value");
    at += word.length;
    return JSON.parse(word);
  };
  const object = (path: string, depth: number): unknown => {
    const result: Record<string, unknown> = {};
    at++;
    blank();
    if (text[at] === "}") {
      at++;
      return result;
    }
    for (;;) {
      blank();
      const start = at;
      if (text[at] !== '"') expect("a key in double quotes");
      const key = string();
      if (FORBIDDEN.has(key)) throw new Stop(start, `key ${key} not allowed`);
      if (Object.hasOwn(result, key)) throw new Stop(start, `duplicate key ${key}`);
      blank();
      if (text[at] !== ":") expect('":"');
      at++;
      result[key] = value(path === "" ? key : `${path}.${key}`, depth + 1);
      blank();
      if (text[at] === "}") break;
      if (text[at] !== ",") expect('"," or "}"');
      at++;
    }
    at++;
    return result;
  };
  const array = (path: string, depth: number): unknown => {
    const result: unknown[] = [];
    at++;
    blank();
    if (text[at] === "]") {
      at++;
      return result;
    }
    for (;;) {
      result.push(value(`${path}[${result.length}]`, depth + 1));
      blank();
      if (text[at] === "]") break;
      if (text[at] !== ",") expect('"," or "]"');
      at++;
    }
    at++;
    return result;
  };
  try {
    const result = value("", 1);
    blank();
    if (at < text.length) throw new Stop(at, "text after the end");
    return { ok: true, value: result, places };
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return { ok: false, problem: { ...place(Math.max(error.at, scanned)), message: error.message } };
  }
}
