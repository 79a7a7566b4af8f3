import { join } from "@std/path";
import { lines, readAllCapped } from "../base/bytes.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { fetchProblem } from "../base/errors.ts";
import { decodeJson, isRecord } from "../protocol/codec.ts";
import { isControlUrl } from "../protocol/control.ts";
import { adminFileOf } from "./contract.ts";

const ANSWER_BYTES = 1024 * 1024;
const ANSWER_MS = 3_000;

/** A runner of this home that has a control server, or had one when it was killed. */
export interface LocalRunner {
  agentId: string;
  pid: number;
  url: string;
  token: string;
}

/** What a runner answered; a reason when it did not: it may be gone, stopped or stuck. */
export type RunnerAnswer =
  | { ok: true; value: Record<string, unknown> }
  | { ok: false; reason: string };

/** Returns the runners of a home, by agent id. What is no file of ours is passed over. */
export function localRunners(stateDir: string): LocalRunner[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync(stateDir)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return names.flatMap((name) => {
    const found = readAdminFile(adminFileOf(join(stateDir, name)));
    return found === null || found.agentId !== name ? [] : [found];
  });
}

/** Asks a runner for its status; the answer is what `GET /status` says. */
export async function askRunner({ url, token }: LocalRunner): Promise<RunnerAnswer> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    const response = await fetch(`${url}/status`, { headers: { authorization: `Bearer ${token}` }, signal });
    const body = await readAllCapped(response.body, { maxBytes: ANSWER_BYTES, signal });
    const decoded = body.ok ? decodeJson(new TextDecoder().decode(body.bytes), ANSWER_BYTES) : null;
    if (response.status === 200 && decoded?.ok === true && isRecord(decoded.value)) {
      return { ok: true, value: decoded.value };
    }
    return { ok: false, reason: `it answers ${response.status}` };
  } catch (error) {
    return { ok: false, reason: signal.aborted ? "it does not answer" : reasonOf(error) };
  }
}

/**
 * Watches a runner: yields its last events, then every new one, until the run is over. Throws when the runner cannot be
 * reached or goes away without saying so.
 */
export async function* watchRunner(
  { url, token }: LocalRunner,
  clock: Clock = systemClock,
): AsyncGenerator<Record<string, unknown>> {
  const abort = new AbortController();
  // Only until it answers: what it says from then on comes when it comes.
  const cancel = clock.setTimer(ANSWER_MS, () => abort.abort(new Error("it does not answer")));
  const response = await fetch(`${url}/watch`, {
    headers: { authorization: `Bearer ${token}` },
    signal: abort.signal,
  }).finally(cancel);
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(response.status === 429 ? "too many watch it already" : `it answers ${response.status}`);
  }
  for await (const line of lines(response.body, { maxLineBytes: ANSWER_BYTES })) {
    const decoded = line.kind === "line" ? decodeJson(line.text, ANSWER_BYTES) : null;
    if (decoded?.ok === true && isRecord(decoded.value)) yield decoded.value;
  }
}

function readAdminFile(path: string): LocalRunner | null {
  try {
    const { agentId, pid, url, token } = JSON.parse(Deno.readTextFileSync(path)) as Record<string, unknown>;
    return typeof agentId === "string" && typeof pid === "number" && typeof token === "string" &&
        isControlUrl(url)
      ? { agentId, pid, url, token }
      : null;
  } catch {
    return null;
  }
}

function reasonOf(error: unknown): string {
  const why = fetchProblem(error);
  return /refused/i.test(why) ? "nobody listens there any more" : why;
}
