import { stripAnsi } from "./style.ts";

/** Returns rows as aligned columns for a terminal; the first row is the heading. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, stripAnsi(cell).length));
  }
  return rows.map((row) =>
    row.map((cell, i) =>
      i === row.length - 1 ? cell : cell + " ".repeat(widths[i]! - stripAnsi(cell).length + 2)
    )
      .join("").trimEnd() + "\n"
  ).join("");
}
