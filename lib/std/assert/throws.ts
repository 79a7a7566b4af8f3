import { AssertionError, withMessage } from "./assertion_error.ts";

/** A class of errors. */
// deno-lint-ignore no-explicit-any -- only `any` accepts every constructor
export type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Throws unless `error` is an Error of the class whose message contains `msgMatches` (or matches it). */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  errorClass?: ErrorClass<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    throw new AssertionError(
      withMessage(`Expected "error" to be an Error object`, msg),
    );
  }
  if (errorClass !== undefined && !(error instanceof errorClass)) {
    const got = error.constructor?.name ?? "unknown";
    throw new AssertionError(
      withMessage(
        `Expected error to be instance of "${errorClass.name}", but was "${got}" (${error.message})`,
        msg,
      ),
      { cause: error },
    );
  }
  if (msgMatches === undefined) return;
  const ok = typeof msgMatches === "string"
    ? error.message.includes(msgMatches)
    : msgMatches.test(error.message);
  if (ok) return;
  const wanted = typeof msgMatches === "string" ? `include "${msgMatches}"` : `match ${msgMatches}`;
  throw new AssertionError(
    withMessage(
      `Expected error message to ${wanted}, but got "${error.message}"`,
      msg,
    ),
    { cause: error },
  );
}

/** Calls the function and returns what it threw; throws when it did not throw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Calls the function and returns the error it threw, checked as by {@linkcode assertIsError}. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  classOrMsg?: ErrorClass<E> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const [errorClass, text] = split(classOrMsg, msg);
  try {
    fn();
  } catch (error) {
    check(error, errorClass, msgIncludes, text, "thrown");
    return error;
  }
  throw new AssertionError(withMessage("Expected function to throw", text));
}

/** Awaits the function and returns what it rejected with; rejects when it did not reject. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/** Awaits the function and returns the error it rejected with, checked as by {@linkcode assertIsError}. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorClass<E> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const [errorClass, text] = split(classOrMsg, msg);
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (error) {
    // A throw before the promise exists is another bug than a rejection, and callers must tell them apart.
    throw new AssertionError(
      withMessage("Function throws when expected to reject", text),
      { cause: error },
    );
  }
  if (typeof promise?.then !== "function") {
    throw new AssertionError(
      withMessage(
        "Function did not return a promise when expected to reject",
        text,
      ),
    );
  }
  try {
    await promise;
  } catch (error) {
    check(error, errorClass, msgIncludes, text, "rejected");
    return error;
  }
  throw new AssertionError(withMessage("Expected function to reject", text));
}

function split<E extends Error>(
  classOrMsg: ErrorClass<E> | string | undefined,
  msg: string | undefined,
): [ErrorClass<E> | undefined, string | undefined] {
  return typeof classOrMsg === "string" ? [undefined, classOrMsg] : [classOrMsg, msg];
}

function check<E extends Error>(
  error: unknown,
  errorClass: ErrorClass<E> | undefined,
  msgIncludes: string | undefined,
  msg: string | undefined,
  how: "thrown" | "rejected",
): void {
  if (errorClass === undefined) return;
  if (!(error instanceof Error)) {
    throw new AssertionError(
      withMessage(`A non-Error object was ${how}`, msg),
      { cause: error },
    );
  }
  assertIsError(error, errorClass, msgIncludes, msg);
}
