/**
 * Returns a full-jitter delay in milliseconds: uniform in [0, min(cap, base x 2^attempt)). `random` is in [0, 1),
 * `attempt` counts from 0.
 */
export function fullJitter(
  options: { attempt: number; baseMs: number; capMs: number; random: number },
): number {
  const { attempt, baseMs, capMs, random } = options;
  return random * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 40));
}
