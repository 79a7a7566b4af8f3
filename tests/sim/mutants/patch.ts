import type { InvariantId } from "../invariants.ts";

/** One deliberate defect: what it is, where it is put in, and the promise that it must be caught breaking. */
export interface Mutant {
  name: string;
  /** The defect in words: what goes wrong for a user. */
  defect: string;
  breaks: InvariantId;
  file: string;
  /** Each `find` must be in the file exactly once. */
  edits: readonly { find: string; replace: string }[];
}

/** Puts the defect into the text of its file. Throws when the text has changed so that the patch does not apply. */
export function applyMutant(mutant: Mutant, text: string): string {
  let changed = text;
  for (const { find, replace } of mutant.edits) {
    const parts = changed.split(find);
    if (parts.length !== 2) {
      throw new Error(
        `mutant "${mutant.name}" does not apply to ${mutant.file}: found ${parts.length - 1} times: ${find}`,
      );
    }
    changed = parts.join(replace);
  }
  return changed;
}
