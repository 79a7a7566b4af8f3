/**
 * Breaks the old command form `##[...]`, which GitHub obeys anywhere in a line, for text that is not printed between
 * guards. Inside JSON it stays the same string.
 */
export function withoutOldCommands(text: string, form: "json" | "text"): string {
  return text.replaceAll("##[", form === "json" ? "#\\u0023[" : "#\u200b#[");
}
