/** What labels, agent ids, tags and capabilities look like (S-11). Refused otherwise, never cleaned silently. */
export const IDENTIFIER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** A parsed target. */
export type Target =
  | { kind: "agent"; value: string }
  | { kind: "broadcast" }
  | { kind: "label" | "tag" | "cap"; value: string };

/** Reads a target; null when it is none. */
export function parseTarget(text: string): Target | null {
  if (text === "broadcast") return { kind: "broadcast" };
  const colon = text.indexOf(":");
  if (colon < 0) return IDENTIFIER.test(text) ? { kind: "agent", value: text } : null;
  const kind = text.slice(0, colon);
  const value = text.slice(colon + 1);
  if ((kind === "label" || kind === "tag" || kind === "cap") && IDENTIFIER.test(value)) {
    return { kind, value };
  }
  return null;
}
