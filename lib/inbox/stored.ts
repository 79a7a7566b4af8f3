import type { Message } from "../protocol/message.ts";
import { checksum, fits } from "./checksum.ts";
import type { JournalRow } from "./contract.ts";

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

/** A row of the table `body`. */
export interface StoredContent {
  key: string;
  text: string;
  /** Names the file of a large text, else it is empty. */
  file: string;
  /** Of key and text; empty when the text is not kept. */
  checksum: string;
  /** The message without its text, as JSON. Versions 1 to 3 had it in `data` of the row. */
  envelope?: string;
  envelope_checksum?: string;
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

/** What `data` holds: what is in no column, and of that what is not as it is with most rows. */
type Data = Pick<JournalRow, "state" | "receivedAt"> & Partial<Omit<JournalRow, "state" | "receivedAt">>;

/** Returns a row as it is stored; the message is stored beside it. */
export function storedOf(row: JournalRow, open: 0 | 1): StoredRow {
  const data: Data = { state: row.state, receivedAt: row.receivedAt };
  if (row.attempt !== 1) data.attempt = row.attempt;
  if (row.generation !== 0) data.generation = row.generation;
  if (row.redelivery !== 0) data.redelivery = row.redelivery;
  if (row.handed === true) data.handed = true;
  if (row.failures !== 0) data.failures = row.failures;
  if (row.acked) data.acked = true;
  if (row.reply !== null) data.reply = row.reply;
  if (row.shed) data.shed = true;
  const { key, messageId: ordinal, updatedAt: updated_at } = row;
  const { state } = row.state;
  const text = JSON.stringify(data);
  const sum = checksum(key, ordinal, open, state, text, updated_at);
  return { key, ordinal, open, state, data: text, updated_at, checksum: sum };
}

/** Returns the row that was stored, of any version; `message` is where versions 1 to 3 kept it, else null. */
export function rowOf({ key, ordinal, data, updated_at }: StoredRow): JournalRow {
  const kept = JSON.parse(data) as Data & { message?: Message | null };
  const row: JournalRow = {
    key,
    storeId: key.slice(0, key.lastIndexOf("/")),
    messageId: ordinal,
    attempt: kept.attempt ?? 1,
    generation: kept.generation ?? 0,
    redelivery: kept.redelivery ?? 0,
    failures: kept.failures ?? 0,
    state: kept.state,
    acked: kept.acked ?? false,
    reply: kept.reply ?? null,
    message: kept.message ?? null,
    shed: kept.shed ?? false,
    receivedAt: kept.receivedAt,
    updatedAt: updated_at,
  };
  if (kept.handed === true) row.handed = true;
  return row;
}

/** True when the row is as it was written. */
export function isWholeRow({ key, ordinal, open, state, data, updated_at, checksum }: StoredRow): boolean {
  return fits(checksum, key, ordinal, open, state, data, updated_at);
}

/** True when the envelope is there and as it was written. */
export function isWholeEnvelope({ key, envelope, envelope_checksum }: StoredContent): boolean {
  return envelope !== undefined && envelope_checksum === checksum(key, envelope);
}

/** True when the command is as it was written. */
export function isWholeCommand({ id, data, updated_at, checksum }: StoredCommand): boolean {
  return fits(checksum, id, data, updated_at);
}

/** True when the fact is as it was written. */
export function isWholeFact({ name, value, checksum }: StoredFact): boolean {
  return fits(checksum, name, value);
}
