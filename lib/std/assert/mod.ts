/**
 * Stand-in for the part of `@std/assert` that the tests use, with the same signatures. Equality and messages
 * come from `node:assert`, which the runtime brings along.
 */
import nodeAssert from "node:assert/strict";

/** Thrown by a failed assertion. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

// deno-lint-ignore no-explicit-any -- a constructor of any error class, as in the real signature
type ErrorClass<E extends Error = Error> = new (...args: any[]) => E;

function failWith(message: string, note?: string): never {
  throw new AssertionError(note === undefined ? message : `${message}: ${note}`);
}

function viaNode(check: () => void, note?: string): void {
  try {
    check();
  } catch (error) {
    failWith(error instanceof Error ? error.message : String(error), note);
  }
}

/** Throws unless `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) failWith(msg || "Expected a truthy value");
}

/** Throws unless `expr` is falsy. */
export function assertFalse(expr: unknown, msg?: string): void {
  if (expr) failWith("Expected a falsy value", msg);
}

/** Throws always. */
export function fail(msg?: string): never {
  failWith("Failed assertion", msg);
}

/** Throws unless both are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  viaNode(() => nodeAssert.deepStrictEqual(actual, expected), msg);
}

/** Throws when both are deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  viaNode(() => nodeAssert.notDeepStrictEqual(actual, expected), msg);
}

/** Throws unless both are the same value. */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  viaNode(() => nodeAssert.strictEqual(actual, expected), msg);
}

/** Throws for null and undefined. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === null || actual === undefined) failWith(`Expected a value, got ${actual}`, msg);
}

/** Throws unless `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (!actual.includes(expected)) {
    failWith(`Expected ${JSON.stringify(actual)} to contain ${JSON.stringify(expected)}`, msg);
  }
}

/** Throws unless the text matches. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) failWith(`Expected ${JSON.stringify(actual)} to match ${expected}`, msg);
}

/** Throws unless `actual` is an instance of the class. */
// deno-lint-ignore no-explicit-any -- any constructor, as in the real signature
export function assertInstanceOf<T extends abstract new (...args: any[]) => any>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is InstanceType<T> {
  if (!(actual instanceof expectedType)) {
    failWith(
      `Expected an instance of ${expectedType.name}, got ${actual === null ? "null" : typeof actual}`,
      msg,
    );
  }
}

/** Throws unless `actual` is greater. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) failWith(`Expected ${actual} > ${expected}`, msg);
}

/** Throws unless `actual` is greater or equal. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) failWith(`Expected ${actual} >= ${expected}`, msg);
}

/** Throws unless `actual` is less or equal. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) failWith(`Expected ${actual} <= ${expected}`, msg);
}

function checkError<E extends Error>(error: unknown, errorClass?: ErrorClass<E>, msgIncludes?: string): E {
  if (!(error instanceof Error)) failWith(`A non-Error value was thrown: ${String(error)}`);
  if (errorClass && !(error instanceof errorClass)) {
    failWith(`Expected ${errorClass.name}, got ${error.name}: ${error.message}`);
  }
  if (msgIncludes !== undefined) assertStringIncludes(error.message, msgIncludes);
  return error as E;
}

/** Throws unless `fn` throws (an error of that class, whose message contains the text); returns the error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
): E {
  let thrown: { error: unknown } | null = null;
  try {
    fn();
  } catch (error) {
    thrown = { error };
  }
  if (thrown === null) failWith("Expected function to throw");
  return checkError(thrown.error, errorClass, msgIncludes);
}

/** Rejects unless the promise rejects (as above); resolves with the error. */
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
): Promise<E> {
  let thrown: { error: unknown } | null = null;
  try {
    await fn();
  } catch (error) {
    thrown = { error };
  }
  if (thrown === null) failWith("Expected function to reject");
  return checkError(thrown.error, errorClass, msgIncludes);
}
