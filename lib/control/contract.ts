import { join } from "@std/path";

/** What the agent's side tells the runner through the control server. */
export interface ControlEvents {
  /** `POST /status`: a hint only, the process is the truth. */
  statusHint(status: "idle" | "busy" | "offline" | "error"): void;
  /**
   * `POST /hook/<event>`: a hook of the agent. The answer becomes the hook's output. `incarnation` is that of the start
   * whose settings name the hook, null when the sender does not know it.
   */
  hook(
    event: string,
    body: Record<string, unknown>,
    incarnation: number | null,
  ): Promise<Record<string, unknown>>;
  /** `POST /shutdown`: the operator's request to drain. */
  shutdown(): void;
}

/** What a control token may be used for. */
export type ControlScope = "hook" | "monitor" | "tool" | "admin";

/** The file in an agent's private directory that tells its side where the control server is. */
export function controlFileOf(dir: string): string {
  return join(dir, "control.json");
}

/** The file beside it for the operator's side, which also names the runner's process. */
export function adminFileOf(dir: string): string {
  return join(dir, "admin.json");
}
