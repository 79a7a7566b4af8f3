import { RunnerError, shown } from "../../base/errors.ts";
import type { ProviderLaunch } from "../contract.ts";
import { findTranscript } from "./transcript.ts";

/** How a conversation is begun or taken up again. */
export interface ConversationStart {
  kind: "new" | "resume";
  sessionId: string;
}

/**
 * Returns the conversation that a start goes on with. One that never had a message has no transcript and cannot be
 * resumed: a new one begins. Throws `E_PROVIDER_CMD` when it is one that the person named.
 */
export async function conversationFor(
  launch: Pick<ProviderLaunch, "resume" | "opening" | "conversation" | "env" | "cwd">,
): Promise<ConversationStart> {
  const { resume, opening, conversation, env, cwd } = launch;
  if (resume !== null && await findTranscript(env, cwd, resume) !== null) {
    return { kind: "resume", sessionId: resume };
  }
  if (resume !== null && opening && conversation === resume) {
    throw new RunnerError("E_PROVIDER_CMD", `claude has no conversation "${shown(resume)}"`, {
      hint: "use --conversation new, or last",
    });
  }
  return { kind: "new", sessionId: crypto.randomUUID() };
}
