import { INCARNATION_HEADER } from "../../protocol/control.ts";
import type { HookEvent, ProviderLaunch } from "../contract.ts";

/**
 * Events that Claude Code posts to the runner. None comes for Esc, and `SessionEnd` comes for `/clear` too, so they are
 * occasions to look at Claude's own files, not the status itself. Every one costs the agent up to
 * {@linkcode HOOK_TIMEOUT_S} while the runner hangs: no event per tool call is among them.
 */
const EVENTS = [
  "UserPromptSubmit",
  "Stop",
  "StopFailure",
  "PermissionRequest",
  "Notification",
  "SessionEnd",
] as const;
/** What a hung runner may cost the agent per event (S-17). */
const HOOK_TIMEOUT_S = 1;

/** Settings that make Claude Code (2.1.330, also 2.1.197) post its events. The token is literal: the file is 0600. */
export function hookSettings({ control, incarnation }: Pick<ProviderLaunch, "control" | "incarnation">): {
  hooks: Record<string, unknown[]>;
} {
  const hooks = EVENTS.map((name) => [name, [{
    hooks: [{
      type: "http",
      url: `${control.url}/hook/${name}`,
      timeout: HOOK_TIMEOUT_S,
      headers: { authorization: `Bearer ${control.hookToken}`, [INCARNATION_HEADER]: String(incarnation) },
    }],
  }]]);
  return { hooks: Object.fromEntries(hooks) as Record<string, unknown[]> };
}

/** What a hook says; `poke`: something changed, look. */
export type HookFact = { kind: "prompt"; text: string } | { kind: "poke" };

/** Reads a hook. Never throws, whatever the body holds. */
export function readHook({ name, body }: HookEvent): HookFact {
  return name === "UserPromptSubmit" && typeof body.prompt === "string"
    ? { kind: "prompt", text: body.prompt }
    : { kind: "poke" };
}
