/**
 * Assertions with the names, signatures and meaning of `@std/assert`, for build machines that cannot reach JSR.
 *
 * @module
 */
export { AssertionError } from "./assertion_error.ts";
export * from "./conditions.ts";
export { equal } from "./equal.ts";
export * from "./equality.ts";
export * from "./throws.ts";
