/** Colours text, or leaves it as it is when the reader wants none. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  green(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
}

/** Returns the style for a terminal with or without colour. */
export function styleFor(color: boolean): Style {
  const wrap = (open: number, close: number) => (text: string) =>
    color ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: wrap(1, 22),
    dim: wrap(2, 22),
    green: wrap(32, 39),
    red: wrap(31, 39),
    yellow: wrap(33, 39),
  };
}

/** Returns the text without colours, for measuring. */
export function stripAnsi(text: string): string {
  // deno-lint-ignore no-control-regex -- the escape character is what this looks for
  return text.replace(/\x1b\[[0-9;]*m/g, "");
}
