/** Above this many cells the table of the line diff is not worth its memory; both values are shown whole. */
const MAX_CELLS = 4_000_000;

/** Shows a value completely and with sorted keys, so that equal values give equal text. */
export function format(value: unknown): string {
  return Deno.inspect(value, {
    depth: Infinity,
    sorted: true,
    trailingComma: true,
    compact: false,
    iterableLimit: Infinity,
    strAbbreviateSize: Infinity,
    breakLength: 100,
    colors: false,
  });
}

/** Returns the lines of both texts: `-` only in the actual one, `+` only in the expected one. */
export function diffText(actual: string, expected: string): string {
  const a = actual.split("\n");
  const b = expected.split("\n");
  if (a.length * b.length > MAX_CELLS) {
    return [
      ...a.map((line) => `-   ${line}`),
      ...b.map((line) => `+   ${line}`),
    ].join("\n");
  }
  // lengths[i][j]: longest common subsequence of a from i and b from j.
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] = a[i] === b[j]
        ? lengths[(i + 1) * width + j + 1]! + 1
        : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
    }
  }
  const out: string[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(`    ${a[i]}`);
      i++;
      j++;
    } else if (
      j >= b.length ||
      (i < a.length &&
        lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!)
    ) {
      out.push(`-   ${a[i++]}`);
    } else {
      out.push(`+   ${b[j++]}`);
    }
  }
  return out.join("\n");
}

/** The body of an equality failure: what stands on which side, line by line. */
export function diffValues(actual: unknown, expected: unknown): string {
  const bothText = typeof actual === "string" && typeof expected === "string" &&
    (actual.includes("\n") || expected.includes("\n"));
  const [a, b] = bothText
    ? [escapeLines(actual as string), escapeLines(expected as string)]
    : [format(actual), format(expected)];
  return `\n    [Diff] - Actual / + Expected\n\n${diffText(a, b)}\n`;
}

/** Keeps line breaks, shows other control characters: `a\tb` against `a b` must be visible. */
function escapeLines(text: string): string {
  return text.split("\n").map((line) => JSON.stringify(line).slice(1, -1).replaceAll('\\"', '"')).join("\n");
}
