import type { ProviderAdapter } from "../../providers/contract.ts";
import { RunnerError } from "../../base/errors.ts";

/** Loads a provider's adapter for one run; only that one gets into memory. */
export async function loadAdapter(provider: string): Promise<ProviderAdapter> {
  switch (provider) {
    case "claude":
      return (await import("../../providers/claude/adapter.ts")).claudeAdapter;
    case "codex":
      return (await import("../../providers/codex/adapter.ts")).createCodexAdapter();
    case "echo":
      return (await import("../../providers/echo/adapter.ts")).echoAdapter;
    default:
      throw new RunnerError("E_PROVIDER", `unknown provider "${provider}"`);
  }
}
