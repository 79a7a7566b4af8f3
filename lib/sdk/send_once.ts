import type { SendInput, SendResult } from "../protocol/message.ts";
import type { CallResult, RelayHttp } from "./contract.ts";

/** Sends a message that has an idempotency key: when the answer was lost it is sent again, which the key makes safe. */
export async function sendOnce(
  http: Pick<RelayHttp, "send">,
  input: SendInput & { idempotencyKey: string },
  signal?: AbortSignal,
): Promise<CallResult<SendResult>> {
  const first = await http.send(input, signal);
  return !first.ok && first.kind === "unknown" ? await http.send(input, signal) : first;
}
