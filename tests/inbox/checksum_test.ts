import { assert, assertEquals } from "@std/assert";
import { checksum, fits, shaChecksum } from "../../lib/inbox/checksum.ts";
import { SeededRandom } from "../support/random.ts";

const COLUMNS = [
  "store/17",
  17,
  1,
  "done",
  JSON.stringify({ text: "a row's data, ü€😀".repeat(20) }),
  1_800_000_000_000,
];

Deno.test("a checksum notices every flipped bit of every column, where columns end, and their order", () => {
  const sum = checksum(...COLUMNS);
  let flips = 0;
  for (const [at, column] of COLUMNS.entries()) {
    const text = String(column);
    for (let i = 0; i < text.length; i++) {
      for (let bit = 0; bit < 16; bit++) {
        const flipped = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ (1 << bit)) +
          text.slice(i + 1);
        assert(!fits(sum, ...COLUMNS.with(at, flipped)), `bit ${bit} of character ${i} of column ${at}`);
        flips++;
      }
    }
  }
  assert(flips > 5_000, `${flips} flips`);
  assert(!fits(sum, ...COLUMNS.with(0, "store/171").with(1, 7)));
  assert(!fits(checksum("ab", "c"), "a", "bc"));
  assert(!fits(checksum("", "a"), "a", ""));
  assert(!fits(checksum("a"), "a", ""));
  assert(!fits(checksum("a", "b"), "b", "a"));
  assert(fits(sum, ...COLUMNS), "positive control");
});

Deno.test("a checksum is another one for every one of many rows that are nearly the same", () => {
  const random = new SeededRandom(7);
  const sums = new Set<string>();
  for (let id = 0; id < 100_000; id++) {
    sums.add(checksum(`store/${id}`, id, id % 2, "done", "{}", 1_800_000_000_000));
  }
  assertEquals(sums.size, 100_000);
  const text = "x".repeat(200);
  for (let i = 0; i < 100_000; i++) {
    const at = random.int(0, 180);
    sums.add(checksum(text.slice(0, at) + random.next() + text.slice(at + random.int(0, 19))));
  }
  // Some of the random texts are the same text.
  assert(sums.size > 199_990, `${sums.size}`);
  // Both halves count: each is another one for nearly every row by itself.
  const half = (part: (sum: string) => string) => new Set([...sums].map(part)).size;
  assert(Math.min(half((sum) => sum.slice(0, 7)), half((sum) => sum.slice(7))) > 199_900);
});

Deno.test("a row of an earlier version fits by its SHA-256, and by nothing else", () => {
  const old = shaChecksum(...COLUMNS);
  assertEquals(shaChecksum("abc", 1), "mzygm22EIf7mFuvg");
  assert(fits(old, ...COLUMNS));
  assert(!fits(old, ...COLUMNS.with(1, 18)));
  assert(!fits(old.slice(0, 15), ...COLUMNS));
  assert(!fits("", ...COLUMNS));
});
