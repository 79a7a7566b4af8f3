import { readAllCapped } from "../base/bytes.ts";
import { fetchProblem } from "../base/errors.ts";
import { decodeJson, isRecord } from "../protocol/codec.ts";
import type { ToolResult, ToolSpec } from "../protocol/tools.ts";
import type { ControlAccess } from "./control_file.ts";

const ANSWER_BYTES = 4 * 1024 * 1024;
/** A little more than the runner takes at most. */
const DEADLINE_MS = 200_000;

/**
 * Has the runner carry a tool call out. Rejects only with the signal's reason: a runner that is gone or refuses is a
 * result for the model.
 */
export async function postTool(
  { url, toolToken }: ControlAccess,
  call: { name: ToolSpec["name"]; args: unknown },
  signal: AbortSignal,
): Promise<ToolResult> {
  if (toolToken === null) return failed("this session's runner has no relay");
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const either = AbortSignal.any([signal, deadline]);
  try {
    const response = await fetch(`${url}/tool/${call.name}`, {
      method: "POST",
      redirect: "error",
      headers: { authorization: `Bearer ${toolToken}`, "content-type": "application/json" },
      body: JSON.stringify(call.args),
      signal: either,
    });
    const body = await readAllCapped(response.body, { maxBytes: ANSWER_BYTES, signal: either });
    const decoded = body.ok ? decodeJson(new TextDecoder().decode(body.bytes), ANSWER_BYTES) : null;
    const value = decoded?.ok === true && isRecord(decoded.value) ? decoded.value : {};
    if (response.status === 200 && typeof value.text === "string") {
      return { text: value.text, isError: value.isError === true };
    }
    return failed(refusal(response.status, typeof value.error === "string" ? value.error : ""));
  } catch (error) {
    signal.throwIfAborted();
    return failed(
      deadline.aborted ? "the runner did not answer in time" : `the runner is gone: ${fetchProblem(error)}`,
    );
  }
}

function refusal(status: number, error: string): string {
  switch (status) {
    case 429:
      return `${error}; wait a little before the next call`;
    case 413:
      return "the arguments are too long; put the text into a file and name it";
    default:
      return `the runner refused the call: ${error === "" ? status : error}`;
  }
}

function failed(text: string): ToolResult {
  return { text, isError: true };
}
