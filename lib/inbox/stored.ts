import { fits } from "./checksum.ts";

/** A row of the table `message`. */
export interface StoredRow {
  key: string;
  ordinal: number;
  open: number;
  state: string;
  data: string;
  updated_at: number;
  checksum: string;
}

/** A row of the table `body`; `file` names the file of a large text, else it is empty. */
export interface StoredBody {
  key: string;
  text: string;
  file: string;
  checksum: string;
}

/** A row of the table `command`. */
export interface StoredCommand {
  id: string;
  data: string;
  updated_at: number;
  checksum: string;
}

/** A row of the table `fact`. */
export interface StoredFact {
  name: string;
  value: string;
  checksum: string;
}

/** True when the row is as it was written. */
export function isWholeRow({ key, ordinal, open, state, data, updated_at, checksum }: StoredRow): boolean {
  return fits(checksum, key, ordinal, open, state, data, updated_at);
}

/** True when the command is as it was written. */
export function isWholeCommand({ id, data, updated_at, checksum }: StoredCommand): boolean {
  return fits(checksum, id, data, updated_at);
}

/** True when the fact is as it was written. */
export function isWholeFact({ name, value, checksum }: StoredFact): boolean {
  return fits(checksum, name, value);
}
