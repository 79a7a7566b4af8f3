/** Characters of a reason that are handed on: many more than are ever shown. */
const LIMIT = 8_192;

/**
 * What an agent says of a failure, bounded, for whoever masks secrets. Shown is only the beginning, which must be cut off
 * after that: half a secret is none that could be found.
 */
export function wholeReason(text: string): string {
  return text.length > LIMIT ? text.slice(0, LIMIT) : text;
}
