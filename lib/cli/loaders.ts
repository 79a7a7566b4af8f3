import type { Verb } from "./contract.ts";

/**
 * One dynamic import per implementation, so that a verb loads only its own modules: `runner version` must not
 * pay for the SQLite store.
 */
export const LOADERS = {
  run: async (): Promise<Verb> => (await import("./verbs/run.ts")).run,
  send: async (): Promise<Verb> => (await import("./verbs/send.ts")).run,
  status: async (): Promise<Verb> => (await import("./verbs/status.ts")).run,
  logs: async (): Promise<Verb> => (await import("./verbs/logs.ts")).run,
  attach: async (): Promise<Verb> => (await import("./verbs/attach.ts")).run,
  agents: async (): Promise<Verb> => (await import("./verbs/agents.ts")).run,
  receipt: async (): Promise<Verb> => (await import("./verbs/receipt.ts")).run,
  dead: async (): Promise<Verb> => (await import("./verbs/dead.ts")).run,
  stop: async (): Promise<Verb> => (await import("./verbs/lifecycle.ts")).stop,
  restart: async (): Promise<Verb> => (await import("./verbs/lifecycle.ts")).restart,
  prune: async (): Promise<Verb> => (await import("./verbs/prune.ts")).run,
  doctor: async (): Promise<Verb> => (await import("./verbs/doctor.ts")).run,
  relay: async (): Promise<Verb> => (await import("./verbs/relay.ts")).run,
  config: async (): Promise<Verb> => (await import("./verbs/config.ts")).run,
  demo: async (): Promise<Verb> => (await import("./verbs/demo.ts")).run,
  echoAgent: async (): Promise<Verb> => (await import("./verbs/echo_agent.ts")).run,
  completions: async (): Promise<Verb> => (await import("./verbs/completions.ts")).run,
  complete: async (): Promise<Verb> => (await import("./verbs/complete.ts")).run,
  hook: async (): Promise<Verb> => (await import("./verbs/hook.ts")).run,
  monitor: async (): Promise<Verb> => (await import("./verbs/monitor.ts")).run,
  mcp: async (): Promise<Verb> => (await import("./verbs/mcp.ts")).run,
  help: async (): Promise<Verb> => (await import("./verbs/help.ts")).run,
  version: async (): Promise<Verb> => (await import("./verbs/version.ts")).run,
} as const satisfies Record<string, () => Promise<Verb>>;
