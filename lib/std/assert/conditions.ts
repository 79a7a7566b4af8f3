import { AssertionError, withMessage } from "./assertion_error.ts";
import { format } from "./diff.ts";

/** Throws unless the value is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Values `assertFalse` accepts. */
export type Falsy = false | 0 | 0n | "" | null | undefined;

/** Throws unless the value is falsy. */
export function assertFalse(expr: unknown, msg = ""): asserts expr is Falsy {
  if (expr) throw new AssertionError(msg);
}

/** Throws when the value is null or undefined. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  if (actual !== undefined && actual !== null) return;
  throw new AssertionError(
    withMessage(
      `Expected actual: "${actual}" to not be null or undefined`,
      msg,
    ),
  );
}

/** Throws always. */
export function fail(msg?: string): never {
  throw new AssertionError(withMessage("Failed assertion", msg));
}

/** Throws always: for a branch that cannot be reached. */
export function unreachable(msg?: string): never {
  throw new AssertionError(withMessage("Unreachable", msg));
}

/** Throws unless `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  if (actual.includes(expected)) return;
  throw new AssertionError(
    withMessage(`Expected actual: "${actual}" to contain: "${expected}"`, msg),
  );
}

/** Throws unless the expression matches. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (expected.test(actual)) return;
  throw new AssertionError(
    withMessage(`Expected actual: "${actual}" to match: "${expected}"`, msg),
  );
}

/** Throws when the expression matches. */
export function assertNotMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (!expected.test(actual)) return;
  throw new AssertionError(
    withMessage(
      `Expected actual: "${actual}" to not match: "${expected}"`,
      msg,
    ),
  );
}

/** Any class, also an abstract one. */
// deno-lint-ignore no-explicit-any -- only `any` accepts every constructor
export type AnyConstructor = abstract new (...args: any[]) => any;

/** Throws unless the value is an instance of the class. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  throw new AssertionError(
    withMessage(
      `Expected object to be an instance of "${expectedType.name}" but was ${kindOf(actual)}`,
      msg,
    ),
  );
}

/** Throws when the value is an instance of the class. */
export function assertNotInstanceOf<A, T>(
  actual: A,
  // deno-lint-ignore no-explicit-any -- only `any` accepts every constructor
  unexpectedType: abstract new (...args: any[]) => T,
  msg?: string,
): asserts actual is Exclude<A, T> {
  if (!(actual instanceof unexpectedType)) return;
  throw new AssertionError(
    withMessage(
      `Expected object to not be an instance of "${unexpectedType.name}"`,
      msg,
    ),
  );
}

/** Throws unless `actual` is greater. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) throw ordered(actual, ">", expected, msg);
}

/** Throws unless `actual` is greater or equal. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (!(actual >= expected)) throw ordered(actual, ">=", expected, msg);
}

/** Throws unless `actual` is less. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) throw ordered(actual, "<", expected, msg);
}

/** Throws unless `actual` is less or equal. */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (!(actual <= expected)) throw ordered(actual, "<=", expected, msg);
}

function ordered(
  actual: unknown,
  sign: string,
  expected: unknown,
  msg?: string,
): AssertionError {
  return new AssertionError(
    withMessage(`Expect ${format(actual)} ${sign} ${format(expected)}`, msg),
  );
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value !== "object") {
    return typeof value === "function" ? "a function" : `"${typeof value}"`;
  }
  return `"${(value as object).constructor?.name ?? "Object"}"`;
}
