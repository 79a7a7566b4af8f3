/** The error every assertion throws. */
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

/** Appends the caller's own message to a failure text. */
export function withMessage(text: string, msg: string | undefined): string {
  return msg === undefined ? text : `${text}: ${msg}`;
}
