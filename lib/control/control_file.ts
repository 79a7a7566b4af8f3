import { messageOf } from "../base/errors.ts";
import { decodeJson, isRecord } from "../protocol/codec.ts";
import { isControlUrl } from "../protocol/control.ts";

const FILE_CHARS = 8 * 1024;

/** What the agent's side may know of its runner. */
export interface ControlAccess {
  url: string;
  hookToken: string;
  monitorToken: string;
  /** Null when the agent has no tools. */
  toolToken: string | null;
}

/** Reads the file that `AGENT_RELAY_CONTROL_FILE` names; a reason when there is none: helpers of the agent never fail. */
export async function readControlFile(
  path: string | undefined,
): Promise<{ ok: true; access: ControlAccess } | { ok: false; reason: string }> {
  if (path === undefined || path === "") return { ok: false, reason: "no runner started this session" };
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
  const decoded = decodeJson(text, FILE_CHARS);
  const value = decoded.ok && isRecord(decoded.value) ? decoded.value : {};
  const { url, token, monitorToken, toolToken } = value;
  if (!isControlUrl(url) || typeof token !== "string" || typeof monitorToken !== "string") {
    return { ok: false, reason: "not a control file" };
  }
  return {
    ok: true,
    access: {
      url,
      hookToken: token,
      monitorToken,
      toolToken: typeof toolToken === "string" ? toolToken : null,
    },
  };
}
