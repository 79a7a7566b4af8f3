/** Number of single-character edits (also of swapped neighbours) between two words. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        last[j]! + 1,
        row[j - 1]! + 1,
        last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
        swap ? beforeLast[j - 2]! + 1 : Infinity,
      );
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/**
 * Returns up to `max` candidates a person may have meant, nearest first: a third of the word may differ, and a
 * word that the candidate begins with counts as near.
 */
export function nearMisses(word: string, candidates: Iterable<string>, max = 3): string[] {
  const wanted = word.toLowerCase().slice(0, 128);
  const limit = Math.max(1, Math.floor(wanted.length / 3));
  const scored: { candidate: string; score: number }[] = [];
  for (const candidate of new Set(candidates)) {
    const other = candidate.toLowerCase().slice(0, 128);
    const starts = wanted.length >= 2 && other.startsWith(wanted);
    const score = starts ? 0.5 : editDistance(wanted, other);
    if (score <= limit) scored.push({ candidate, score });
  }
  return scored.sort((a, b) => a.score - b.score || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, max).map(({ candidate }) => candidate);
}
