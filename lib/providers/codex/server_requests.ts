import { UNKNOWN_METHOD } from "./rpc.ts";

/**
 * Answers a request of the app-server when nobody can be asked (R-20, S-13): approvals are declined, so that the model
 * goes on without them, and never left open, which would block the turn for ever (measured, 0.169.0).
 */
export function declineRequest(method: string): unknown {
  switch (method) {
    case "item/commandExecution/requestApproval":
    case "item/fileChange/requestApproval":
      return { decision: "decline" };
    case "item/permissions/requestApproval":
      return { permissions: {}, scope: "turn" };
    case "item/tool/requestUserInput":
      return { answers: {} };
    case "mcpServer/elicitation/request":
      return { action: "decline", content: null, _meta: null };
    case "item/tool/call":
      return { success: false, contentItems: [{ type: "inputText", text: "this tool is not served here" }] };
    case "applyPatchApproval":
    case "execCommandApproval":
      return { decision: "denied" };
    default:
      return UNKNOWN_METHOD;
  }
}
