/** What the agent's side tells the runner through the control server. */
export interface ControlEvents {
  /** `POST /status`: a hint only, the process is the truth. */
  statusHint(status: "idle" | "busy" | "offline" | "error"): void;
  /** `POST /hook/<event>`: a hook of the agent. The answer becomes the hook's output. */
  hook(event: string, body: Record<string, unknown>): Promise<Record<string, unknown>>;
  /** `POST /shutdown`: the operator's request to drain. */
  shutdown(): void;
}

/** What a control token may be used for. */
export type ControlScope = "hook" | "admin";
