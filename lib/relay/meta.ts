import { shown } from "../base/errors.ts";

/** Largest `meta` kept of a registration and of a status, in characters of JSON. */
const META_LIMIT = 8 * 1024;
const REASON_LIMIT = 500;
const WORD_LIMIT = 64;
const WORDS = 16;

/** What others rely on, and how it is kept; undefined leaves it out. */
const MEMBERS: Readonly<Record<string, (value: unknown) => unknown>> = {
  busyReasons: (value) =>
    Array.isArray(value) && value.length <= WORDS && value.every(isWord) ? value : undefined,
  reason: (value) => typeof value === "string" ? shown(value, REASON_LIMIT - 1) : undefined,
  queued: count,
  dead: count,
  delivery: word,
  provider: word,
  runnerId: word,
  approvalMode: word,
  cwd: (value) => typeof value === "string" ? shown(value, 4_096) : undefined,
};

/**
 * What is kept of what an agent says of itself beside its status. It is shown to whoever asks, so the members that others
 * read have their type or are left out, and so is what goes beyond the bound: an agent is not refused for it.
 */
export function keptMeta(meta: Record<string, unknown>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  let size = 2;
  for (const [name, given] of Object.entries(meta)) {
    const value = Object.hasOwn(MEMBERS, name) ? MEMBERS[name]!(given) : given;
    if (value === undefined) continue;
    const more = JSON.stringify(name).length + JSON.stringify(value).length + 2;
    if (size + more > META_LIMIT) continue;
    size += more;
    kept[name] = value;
  }
  return kept;
}

function count(value: unknown): unknown {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? value : undefined;
}

function word(value: unknown): unknown {
  return isWord(value) ? value : undefined;
}

/** A short text that is what it looks like. */
function isWord(value: unknown): boolean {
  return typeof value === "string" && value.length <= WORD_LIMIT && shown(value, WORD_LIMIT) === value;
}
