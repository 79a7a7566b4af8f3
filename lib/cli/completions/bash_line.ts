/** A command line as far as it is typed. */
export interface TypedLine {
  /** Words without their quoting; the first is the program, the last is the one at the cursor and may be empty. */
  words: string[];
  /** The last word is what a redirection goes to or comes from. */
  redirected: boolean;
}

/**
 * Splits a bash command line that ends at the cursor. bash's own words (`COMP_WORDS`) are cut at colons and equals
 * signs, as COMP_WORDBREAKS says, and do not tell whether there was a space. Nothing is expanded.
 */
export function splitBashLine(line: string): TypedLine {
  const words: string[] = [];
  let word: string | null = null;
  let quote: "" | "'" | '"' = "";
  let redirected = false;
  const end = () => {
    if (word !== null && !redirected) words.push(word);
    if (word !== null) redirected = false;
    word = null;
  };
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (quote === "" && /\s/.test(char)) end();
    else if (quote === "" && /[<>]/.test(char)) {
      // The number of a file descriptor, and the & of &>, belong to the operator.
      if (word !== null && /^(?:\d+|&)$/.test(word)) word = null;
      end();
      while (/[<>&|]/.test(line[i + 1] ?? "")) i++;
      redirected = true;
    } else if (char === "\\" && quote !== "'") {
      const next = line[++i] ?? "";
      if (next !== "\n") word = (word ?? "") + next;
    } else if (quote === "" ? char === "'" || char === '"' : char === quote) {
      quote = quote === "" ? char as "'" | '"' : "";
      word ??= "";
    } else word = (word ?? "") + char;
  }
  return { words: [...words, word ?? ""], redirected };
}
