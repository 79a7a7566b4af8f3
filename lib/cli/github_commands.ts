/**
 * Breaks the old command form `##[...]`, which GitHub obeys anywhere in a line, for text that is not printed between
 * guards. Inside JSON it stays the same string.
 */
export function withoutOldCommands(text: string, form: "json" | "text"): string {
  return text.replaceAll("##[", form === "json" ? "#\\u0023[" : "#\u200b#[");
}

/**
 * Breaks every command in what a verb prints: a line of somebody else's text may be one. Our own verbs say none; a run
 * does, and guards what its agent says instead.
 */
export function withoutCommands(text: string): string {
  // GitHub takes a carriage return for the end of a line as well, and passes over white space before a command.
  return withoutOldCommands(
    text.replace(/(^|[\r\n])([^\S\r\n]*)::/g, "$1$2:\u200b:"),
    text.startsWith("{") ? "json" : "text",
  );
}
