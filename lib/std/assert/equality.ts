import { AssertionError, withMessage } from "./assertion_error.ts";
import { diffValues, format } from "./diff.ts";
import { equal } from "./equal.ts";

/** Throws unless both values are structurally equal, see {@linkcode equal}. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  throw new AssertionError(
    `${withMessage("Values are not equal", msg)}.${diffValues(actual, expected)}`,
  );
}

/** Throws when both values are structurally equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  throw new AssertionError(
    withMessage(
      `Expected actual: ${format(actual)} not to be: ${format(expected)}`,
      msg,
    ),
  );
}

/** Throws unless `Object.is` holds. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  const a = format(actual);
  if (a === format(expected)) {
    const lines = a.split("\n").map((line) => `    ${line}`).join("\n");
    throw new AssertionError(
      `${
        withMessage(
          "Values have the same structure but are not reference-equal",
          msg,
        )
      }.\n\n${lines}\n`,
    );
  }
  throw new AssertionError(
    `${withMessage("Values are not strictly equal", msg)}.${diffValues(actual, expected)}`,
  );
}

/** Throws when `Object.is` holds. */
export function assertNotStrictEquals<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (!Object.is(actual, expected)) return;
  throw new AssertionError(
    withMessage(
      `Expected "actual" to not be strictly equal to: ${format(actual)}`,
      msg,
    ),
  );
}

/** Throws unless the numbers are within `tolerance` (default 1e-7, relative for large values). */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ??
    (Number.isFinite(expected) ? Math.max(1e-7, Math.abs(expected * 1e-7)) : 1e-7);
  const delta = Math.abs(expected - actual);
  if (delta <= allowed) return;
  throw new AssertionError(
    withMessage(
      `Expected actual: "${actual}" to be close to "${expected}": delta "${delta}" is greater than "${allowed}"`,
      msg,
    ),
  );
}

/** Throws unless every item of `expected` is structurally in `actual`. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T>,
  expected: ArrayLike<T>,
  msg?: string,
): void {
  const items = Array.from(actual);
  const missing = Array.from(expected).filter((wanted) => !items.some((item) => equal(item, wanted)));
  if (missing.length === 0) return;
  throw new AssertionError(
    withMessage(
      `Expected actual: "${format(items)}" to include: "${format(Array.from(expected))}".\nmissing: ${
        format(missing)
      }`,
      msg,
    ),
  );
}

/** Throws unless `actual` has every property of `expected`, at any depth; further ones are allowed. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any -- the published signature: interfaces without an index are accepted
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  const picked = pick(actual, expected, new Map());
  if (equal(picked, expected)) return;
  throw new AssertionError(
    `${withMessage("Values are not equal", msg)}.${diffValues(picked, expected)}`,
  );
}

/** Reduces `actual` to the keys that `expected` has, so that the diff shows only what was asked for. */
function pick(
  actual: unknown,
  expected: unknown,
  seen: Map<unknown, unknown>,
): unknown {
  if (!isPlain(actual) || !isPlain(expected)) {
    if (Array.isArray(actual) && Array.isArray(expected)) {
      return actual.map((item, i) => i < expected.length ? pick(item, expected[i], seen) : item);
    }
    return actual;
  }
  if (seen.has(actual)) return seen.get(actual);
  const out: Record<PropertyKey, unknown> = Object.create(
    Object.getPrototypeOf(expected),
  );
  seen.set(actual, out);
  for (const key of Reflect.ownKeys(expected)) {
    if (key in actual) out[key] = pick(actual[key], expected[key], seen);
  }
  return out;
}

function isPlain(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Map) &&
    !(value instanceof Set) && !(value instanceof Date) &&
    !(value instanceof RegExp) &&
    !ArrayBuffer.isView(value);
}
